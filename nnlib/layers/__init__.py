"""Layers: shape rules and numerics, one file per family."""

from nnlib.layers.activation import ReLU
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import Layer, ShapeError
from nnlib.layers.linear import Flatten, Linear
from nnlib.layers.pooling import MaxPool

__all__ = ["Conv2d", "Flatten", "Layer", "Linear", "MaxPool", "ReLU", "ShapeError"]
