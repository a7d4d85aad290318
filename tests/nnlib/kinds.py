"""All layers and all losses of the library."""

from __future__ import annotations

from nnlib import layers, losses


def every_layer() -> list[type[layers.Layer]]:
    """The layers, quantised ones left out."""
    _ = [getattr(layers, name) for name in layers.__all__]
    return sorted(_below(layers.Layer), key=lambda kind: kind.__name__)


def every_loss() -> list[type[losses.Loss]]:
    """The losses."""
    return sorted(_below(losses.Loss), key=lambda kind: kind.__name__)


def _below(kind: type) -> set[type]:
    """Classes of the library's own packages that inherit from ``kind``."""
    found = {each for each in kind.__subclasses__() if each.__module__.startswith(("nnlib.layers.", "nnlib.losses."))}
    return found.union(*map(_below, found))
