"""Layers: shape rules and numerics, one file per family, loaded when one of its names is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from nnlib.layers.activation import (
        ELU,
        GELU,
        SELU,
        Abs,
        ClippedReLU,
        Erf,
        Exp,
        HardSigmoid,
        HardSwish,
        LeakyReLU,
        Log,
        Reciprocal,
        ReLU,
        ReLU6,
        Sigmoid,
        SiLU,
        Softplus,
        Sqrt,
        Square,
        Tanh,
    )
    from nnlib.layers.arrangement import Concatenate, Flatten, Pad, Reshape, Select, Slice, Transpose
    from nnlib.layers.attention import DotProductAttention, MultiHeadAttention
    from nnlib.layers.axis_reduction import Expand, Mean, Sum
    from nnlib.layers.binary import Add, Divide, Multiply, Subtract
    from nnlib.layers.conv_transpose import ConvTranspose1d, ConvTranspose2d
    from nnlib.layers.convolution import Conv1d, Conv2d
    from nnlib.layers.dropout import Dropout
    from nnlib.layers.embedding import Embedding, Gather, PositionEmbedding
    from nnlib.layers.global_pooling import AdaptiveAveragePool, AdaptiveMaxPool, GlobalAveragePool, GlobalMaxPool
    from nnlib.layers.layer import INFERENCE, Layer, Run, ShapeError
    from nnlib.layers.linear import Linear
    from nnlib.layers.matmul import MatMul
    from nnlib.layers.normalisation import BatchNorm, GroupNorm, LayerNorm, LocalResponseNorm, RMSNorm
    from nnlib.layers.operand import Operand
    from nnlib.layers.pooling import AveragePool, AveragePool1d, MaxPool, MaxPool1d
    from nnlib.layers.prelu import PReLU
    from nnlib.layers.recurrent import GRU, LSTM, SimpleRecurrent
    from nnlib.layers.reparameterise import Reparameterise
    from nnlib.layers.resize import Upsample
    from nnlib.layers.scale import Scale
    from nnlib.layers.sequence import LastStep, RowConvolution, StridedLengths
    from nnlib.layers.softmax import LogSoftmax, Softmax

FILES: Final[Mapping[str, tuple[str, ...]]] = {
    "activation": (
        "ELU",
        "GELU",
        "SELU",
        "Abs",
        "ClippedReLU",
        "Erf",
        "Exp",
        "HardSigmoid",
        "HardSwish",
        "LeakyReLU",
        "Log",
        "Reciprocal",
        "ReLU",
        "ReLU6",
        "Sigmoid",
        "SiLU",
        "Softplus",
        "Sqrt",
        "Square",
        "Tanh",
    ),
    "arrangement": ("Concatenate", "Flatten", "Pad", "Reshape", "Select", "Slice", "Transpose"),
    "attention": ("DotProductAttention", "MultiHeadAttention"),
    "axis_reduction": ("Expand", "Mean", "Sum"),
    "binary": ("Add", "Divide", "Multiply", "Subtract"),
    "conv_transpose": ("ConvTranspose1d", "ConvTranspose2d"),
    "convolution": ("Conv1d", "Conv2d"),
    "dropout": ("Dropout",),
    "embedding": ("Embedding", "Gather", "PositionEmbedding"),
    "global_pooling": ("AdaptiveAveragePool", "AdaptiveMaxPool", "GlobalAveragePool", "GlobalMaxPool"),
    "layer": ("INFERENCE", "Layer", "Run", "ShapeError"),
    "linear": ("Linear",),
    "matmul": ("MatMul",),
    "normalisation": ("BatchNorm", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"),
    "operand": ("Operand",),
    "pooling": ("AveragePool", "AveragePool1d", "MaxPool", "MaxPool1d"),
    "prelu": ("PReLU",),
    "recurrent": ("GRU", "LSTM", "SimpleRecurrent"),
    "reparameterise": ("Reparameterise",),
    "resize": ("Upsample",),
    "scale": ("Scale",),
    "sequence": ("LastStep", "RowConvolution", "StridedLengths"),
    "softmax": ("LogSoftmax", "Softmax"),
}
"""What is found in which file."""
PLACES: Final[Mapping[str, str]] = {name: file for file, names in FILES.items() for name in names}

__all__ = [
    "ELU",
    "GELU",
    "GRU",
    "INFERENCE",
    "LSTM",
    "SELU",
    "Abs",
    "AdaptiveAveragePool",
    "AdaptiveMaxPool",
    "Add",
    "AveragePool",
    "AveragePool1d",
    "BatchNorm",
    "ClippedReLU",
    "Concatenate",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "Divide",
    "DotProductAttention",
    "Dropout",
    "Embedding",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Gather",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "GroupNorm",
    "HardSigmoid",
    "HardSwish",
    "LastStep",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LocalResponseNorm",
    "Log",
    "LogSoftmax",
    "MatMul",
    "MaxPool",
    "MaxPool1d",
    "Mean",
    "MultiHeadAttention",
    "Multiply",
    "Operand",
    "PReLU",
    "Pad",
    "PositionEmbedding",
    "RMSNorm",
    "ReLU",
    "ReLU6",
    "Reciprocal",
    "Reparameterise",
    "Reshape",
    "RowConvolution",
    "Run",
    "Scale",
    "Select",
    "ShapeError",
    "SiLU",
    "Sigmoid",
    "SimpleRecurrent",
    "Slice",
    "Softmax",
    "Softplus",
    "Sqrt",
    "Square",
    "StridedLengths",
    "Subtract",
    "Sum",
    "Tanh",
    "Transpose",
    "Upsample",
]


def __getattr__(name: str) -> Any:
    """What ``name`` is. Raises AttributeError."""
    if name not in PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{PLACES[name]}"), name)
    return found
