"""A network lowered to kernel launches: the driver, and one file of rules per family of layers."""

from nnlib.lowering.lower import lower_forward, lower_gradients

__all__ = ["lower_forward", "lower_gradients"]
