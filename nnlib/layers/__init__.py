"""Layers: shape rules and numerics, one file per family."""

from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import INFERENCE, Layer, Run, ShapeError
from nnlib.layers.linear import Linear
from nnlib.layers.pooling import MaxPool

__all__ = ["INFERENCE", "Conv2d", "Flatten", "Layer", "Linear", "MaxPool", "ReLU", "Run", "ShapeError"]
