"""The kinds of layers by name, each loaded when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from nnlib.lazy_table import LazyTable

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
    "adaptive_pooling": ("AdaptiveAveragePool", "AdaptiveMaxPool"),
    "arrangement": ("Concatenate", "Flatten", "Pad", "Reshape", "Select", "Slice", "Transpose"),
    "attention": ("DotProductAttention", "MultiHeadAttention"),
    "average_pooling": ("AveragePool", "AveragePool1d"),
    "axis_reduction": ("Expand", "Mean", "Sum"),
    "batch_normalisation": ("BatchNorm",),
    "binary": ("Add", "Divide", "Multiply", "Subtract"),
    "conv_transpose": ("ConvTranspose1d", "ConvTranspose2d"),
    "convolution": ("Conv1d", "Conv2d"),
    "dropout": ("Dropout",),
    "embedding": ("Embedding", "Gather", "PositionEmbedding"),
    "global_pooling": ("GlobalAveragePool", "GlobalMaxPool"),
    "group_normalisation": ("GroupNorm", "LayerNorm", "RMSNorm"),
    "linear": ("Linear",),
    "local_response": ("LocalResponseNorm",),
    "matmul": ("MatMul",),
    "max_pooling": ("MaxPool", "MaxPool1d"),
    "operand": ("Operand",),
    "prelu": ("PReLU",),
    "recurrent": ("GRU", "LSTM", "SimpleRecurrent"),
    "reparameterise": ("Reparameterise",),
    "resize": ("Upsample",),
    "scale": ("Scale",),
    "sequence": ("LastStep", "RowConvolution", "StridedLengths"),
    "softmax": ("LogSoftmax", "Softmax"),
}
"""What is found in which file."""
LAYERS: Final = LazyTable({name: f"nnlib.layers.{file}:{name}" for file, names in FILES.items() for name in names})
