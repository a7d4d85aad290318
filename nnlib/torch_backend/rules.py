"""How each kind of layer and of loss is computed by PyTorch: rules by the name of the class.

What has no rule is computed by its own numerics on the host, with its own gradient: of the layers and losses of this
library :class:`~nnlib.layers.Gather` and :class:`~nnlib.layers.StridedLengths`, which take integers and check them, and
:class:`~nnlib.losses.CtcLoss` and :class:`~nnlib.losses.Dice`, which leave out positions in their own way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from nnlib.layers.layer import Run
from nnlib.torch_backend.tensors import Tensor


@dataclass(frozen=True)
class Place:
    """What a rule for a layer gets: parameters and statistics, inputs, and what the pass is for.

    ``rectified``: a rectifier is all that takes the output, and its negative numbers may be cleared where they lie, if
    the rule is one of RECTIFYING. ``done``: the rectifier whose input is so has nothing left to do. New statistics come
    into ``statistics``.
    """

    params: Mapping[str, Tensor]
    inputs: tuple[Tensor, ...]
    run: Run
    rectified: bool = False
    done: bool = False
    statistics: dict[str, Tensor] = field(default_factory=dict)

    @property
    def x(self) -> Tensor:
        """The only input."""
        (x,) = self.inputs
        return x


LayerRule: TypeAlias = Callable[[Any, Place], Tensor]
"""From a layer and its place to the output."""
LossRule: TypeAlias = Callable[[Any, tuple[Tensor, ...], Tensor | None, Tensor], Tensor]
"""From a loss, the outputs it takes, target and shares to Σ shares · loss."""

RECTIFYING: Final = frozenset({"BatchNorm", "Conv2d", "Add"})
"""Layers whose rules clear negative numbers if asked: their gradients do not need their outputs."""

LAYER_RULES: Final[dict[str, LayerRule]] = {}
LOSS_RULES: Final[dict[str, LossRule]] = {}
"""Filled by the files of rules when they are imported, and not changed afterwards."""


def layer_rule(*names: str) -> Callable[[LayerRule], LayerRule]:
    """Make a function the rule of the layers of these names."""

    def register(rule: LayerRule) -> LayerRule:
        for name in names:
            LAYER_RULES[name] = rule
        return rule

    return register


def loss_rule(*names: str) -> Callable[[LossRule], LossRule]:
    """Make a function the rule of the losses of these names."""

    def register(rule: LossRule) -> LossRule:
        for name in names:
            LOSS_RULES[name] = rule
        return rule

    return register


def rectify(y: Tensor, place: Place) -> Tensor:
    """A new tensor with its negative numbers cleared, if the place is so."""
    return y.relu_() if place.rectified else y
