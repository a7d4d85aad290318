"""The optimisers' updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, TypeAlias

import numpy as np

from nnlib.kernels.pointwise.functions.definition import Definition, Numbers
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body

UpdateName: TypeAlias = Literal["sgd", "nesterov", "lars", "adam", "adamw", "lamb_direction", "lamb"]


def _sgd(ins: Sequence[Array], outs: Sequence[Array], hyper: Numbers) -> None:
    weight, grad, velocity = ins
    rate, momentum, decay = hyper
    outs[1][...] = momentum * velocity + (grad + decay * weight)
    outs[0][...] = weight - rate * outs[1]


def _nesterov(ins: Sequence[Array], outs: Sequence[Array], hyper: Numbers) -> None:
    weight, grad, velocity = ins
    rate, momentum, decay = hyper
    step = grad + decay * weight
    outs[1][...] = momentum * velocity + step
    outs[0][...] = weight - rate * (step + momentum * outs[1])


def _lars(ins: Sequence[Array], outs: Sequence[Array], hyper: Numbers) -> None:
    weight, grad, velocity = ins
    rate, momentum, decay, ratio = hyper
    outs[1][...] = momentum * velocity + rate * ratio * (grad + decay * weight)
    outs[0][...] = weight - outs[1]


def _adam(ins: Sequence[Array], outs: Sequence[Array], hyper: Numbers) -> None:
    weight, grad, mean, square = ins
    rate, beta1, beta2, epsilon, decay, correction1, correction2 = hyper
    step = grad + decay * weight
    outs[1][...] = beta1 * mean + (1 - beta1) * step
    outs[2][...] = beta2 * square + (1 - beta2) * step * step
    outs[0][...] = weight - rate / correction1 * outs[1] / (np.sqrt(outs[2] / correction2) + epsilon)


def _adamw(ins: Sequence[Array], outs: Sequence[Array], hyper: Numbers) -> None:
    weight, grad, mean, square = ins
    rate, beta1, beta2, epsilon, decay, correction1, correction2 = hyper
    outs[1][...] = beta1 * mean + (1 - beta1) * grad
    outs[2][...] = beta2 * square + (1 - beta2) * grad * grad
    step = rate / correction1 * outs[1] / (np.sqrt(outs[2] / correction2) + epsilon)
    outs[0][...] = weight * (1 - rate * decay) - step


def _lamb_direction(ins: Sequence[Array], outs: Sequence[Array], hyper: Numbers) -> None:
    weight, grad, mean, square = ins
    beta1, beta2, epsilon, decay, correction1, correction2 = hyper
    outs[1][...] = beta1 * mean + (1 - beta1) * grad
    outs[2][...] = beta2 * square + (1 - beta2) * grad * grad
    outs[0][...] = outs[1] / correction1 / (np.sqrt(outs[2] / correction2) + epsilon) + decay * weight


def _lamb(ins: Sequence[Array], outs: Sequence[Array], hyper: Numbers) -> None:
    weight, direction = ins
    rate, ratio = hyper
    outs[0][...] = weight - rate * ratio * direction


_VELOCITY: Final = ("weight", "gradient", "velocity")
_MOMENTS: Final = ("weight", "gradient", "mean", "square")
_ADAM: Final = ("rate", "beta1", "beta2", "epsilon", "decay", "correction1", "correction2")
UPDATES: Final[Mapping[str, Definition]] = {
    "sgd": Definition(
        _VELOCITY,
        ("weight", "velocity"),
        Body(loads=3, stores=2, arithmetic=3),
        6,
        ("rate", "momentum", "decay"),
        _sgd,
    ),
    "nesterov": Definition(
        _VELOCITY,
        ("weight", "velocity"),
        Body(loads=3, stores=2, arithmetic=4),
        8,
        ("rate", "momentum", "decay"),
        _nesterov,
    ),
    "lars": Definition(
        _VELOCITY,
        ("weight", "velocity"),
        Body(loads=3, stores=2, arithmetic=4),
        7,
        ("rate", "momentum", "decay", "ratio"),
        _lars,
    ),
    # the square root and the division are not pipelined (THESIS T3.2)
    "adam": Definition(
        _MOMENTS, ("weight", "mean", "square"), Body(loads=4, stores=3, arithmetic=9, divides=2), 14, _ADAM, _adam
    ),
    "adamw": Definition(
        _MOMENTS, ("weight", "mean", "square"), Body(loads=4, stores=3, arithmetic=9, divides=2), 14, _ADAM, _adamw
    ),
    "lamb_direction": Definition(
        _MOMENTS,
        ("direction", "mean", "square"),
        Body(loads=4, stores=3, arithmetic=9, divides=2),
        14,
        _ADAM[1:],
        _lamb_direction,
    ),
    "lamb": Definition(
        ("weight", "direction"), ("weight",), Body(loads=2, stores=1, arithmetic=1), 2, ("rate", "ratio"), _lamb
    ),
}
