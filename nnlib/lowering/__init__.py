"""A network lowered to kernel launches: the driver, and one file of rules per family of layers."""

from nnlib.lowering import activation, arrangement, attention, convolution, linear, losses, pooling
from nnlib.lowering.lower import lower_forward, lower_gradients

__all__ = [
    "activation",
    "arrangement",
    "attention",
    "convolution",
    "linear",
    "losses",
    "lower_forward",
    "lower_gradients",
    "pooling",
]
