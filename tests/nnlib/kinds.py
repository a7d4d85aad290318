"""All layers and all losses of the library."""

from __future__ import annotations

from nnlib.layers.catalogue import LAYERS
from nnlib.layers.layer import Layer
from nnlib.losses.catalogue import LOSSES
from nnlib.losses.loss import Loss


def every_layer() -> list[type[Layer]]:
    """The layers, quantised ones left out."""
    _ = list(LAYERS.values())
    return sorted(_below(Layer), key=lambda kind: kind.__name__)


def every_loss() -> list[type[Loss]]:
    """The losses."""
    _ = list(LOSSES.values())
    return sorted(_below(Loss), key=lambda kind: kind.__name__)


def _below(kind: type) -> set[type]:
    """Classes of the library's own packages that inherit from ``kind``."""
    found = {each for each in kind.__subclasses__() if each.__module__.startswith(("nnlib.layers.", "nnlib.losses."))}
    return found.union(*map(_below, found))
