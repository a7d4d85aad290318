"""A network lowered to kernel launches: the driver, and one file of rules per family of layers."""

from nnlib.lowering import (
    activation,
    arrangement,
    attention,
    axis_reduction,
    binary,
    convolution,
    dropout,
    embedding,
    linear,
    losses,
    operand,
    pooling,
    recurrent,
    reparameterise,
    resize,
    sequence,
    softmax,
)
from nnlib.lowering.lower import lower_forward, lower_gradients

__all__ = [
    "activation",
    "arrangement",
    "attention",
    "axis_reduction",
    "binary",
    "convolution",
    "dropout",
    "embedding",
    "linear",
    "losses",
    "lower_forward",
    "lower_gradients",
    "operand",
    "pooling",
    "recurrent",
    "reparameterise",
    "resize",
    "sequence",
    "softmax",
]
