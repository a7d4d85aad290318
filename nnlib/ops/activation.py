"""The activations by name: their functions forward and backward, and what backward needs of forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

from nnlib.ops import pointwise, rectifiers, sigmoids
from nnlib.ops.in_blocks import Array

ActivationName: TypeAlias = Literal[
    "relu",
    "leaky_relu",
    "elu",
    "selu",
    "relu6",
    "clipped_relu",
    "hard_sigmoid",
    "hard_swish",
    "sigmoid",
    "tanh",
    "gelu",
    "gelu_tanh",
    "silu",
    "erf",
    "softplus",
    "exp",
    "log",
    "sqrt",
    "square",
    "reciprocal",
    "absolute",
]
"""Element-wise functions of one array without learned numbers."""


@dataclass(frozen=True)
class Activation:
    """``forward(x, **options)`` and ``backward(saved, grad, **options)``, both with ``out``.

    ``saves``: what backward is given of forward. ``options``: numbers by name and their usual values.
    """

    forward: Callable[..., Array]
    backward: Callable[..., Array]
    saves: Literal["input", "output"]
    options: Mapping[str, float] = field(default_factory=dict)


ACTIVATIONS: Final[Mapping[ActivationName, Activation]] = MappingProxyType(
    {
        "relu": Activation(rectifiers.relu_forward, rectifiers.relu_backward, "output"),
        "leaky_relu": Activation(
            rectifiers.leaky_relu_forward, rectifiers.leaky_relu_backward, "input", {"slope": 0.01}
        ),
        "elu": Activation(rectifiers.elu_forward, rectifiers.elu_backward, "output", {"alpha": 1.0}),
        "selu": Activation(rectifiers.selu_forward, rectifiers.selu_backward, "output"),
        "relu6": Activation(rectifiers.relu6_forward, rectifiers.relu6_backward, "output"),
        "clipped_relu": Activation(
            rectifiers.clipped_relu_forward, rectifiers.clipped_relu_backward, "output", {"ceiling": 20.0}
        ),
        "hard_sigmoid": Activation(rectifiers.hard_sigmoid_forward, rectifiers.hard_sigmoid_backward, "output"),
        "hard_swish": Activation(rectifiers.hard_swish_forward, rectifiers.hard_swish_backward, "input"),
        "sigmoid": Activation(sigmoids.sigmoid_forward, sigmoids.sigmoid_backward, "output"),
        "tanh": Activation(sigmoids.tanh_forward, sigmoids.tanh_backward, "output"),
        "gelu": Activation(sigmoids.gelu_forward, sigmoids.gelu_backward, "input"),
        "gelu_tanh": Activation(sigmoids.gelu_tanh_forward, sigmoids.gelu_tanh_backward, "input"),
        "silu": Activation(sigmoids.silu_forward, sigmoids.silu_backward, "input"),
        "erf": Activation(sigmoids.erf_forward, sigmoids.erf_backward, "input"),
        "softplus": Activation(sigmoids.softplus_forward, sigmoids.softplus_backward, "input"),
        "exp": Activation(pointwise.exp_forward, pointwise.exp_backward, "output"),
        "log": Activation(pointwise.log_forward, pointwise.log_backward, "input"),
        "sqrt": Activation(pointwise.sqrt_forward, pointwise.sqrt_backward, "output"),
        "square": Activation(pointwise.square_forward, pointwise.square_backward, "input"),
        "reciprocal": Activation(pointwise.reciprocal_forward, pointwise.reciprocal_backward, "output"),
        "absolute": Activation(pointwise.absolute_forward, pointwise.absolute_backward, "input"),
    }
)
assert set(ACTIVATIONS) == set(get_args(ActivationName))
