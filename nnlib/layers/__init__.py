"""Layers: shape rules and numerics, one file per family."""

from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.attention import DotProductAttention, MultiHeadAttention
from nnlib.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.layer import INFERENCE, Layer, Run, ShapeError
from nnlib.layers.linear import Linear
from nnlib.layers.matmul import MatMul
from nnlib.layers.pooling import MaxPool

__all__ = [
    "INFERENCE",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "DotProductAttention",
    "Flatten",
    "Layer",
    "Linear",
    "MatMul",
    "MaxPool",
    "MultiHeadAttention",
    "ReLU",
    "Run",
    "ShapeError",
]
