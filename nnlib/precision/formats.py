"""Number formats: what arrays are stored in, and which of them kernels compute with as floating-point numbers."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np

DTypeName: TypeAlias = Literal["fp64", "fp32"]
PrecisionName: TypeAlias = Literal["fp64", "fp32", "fp32-fp64", "int16", "int8"]
"""How a network is computed; ``fp32-fp64``: stored in fp32, computed with in fp64, rounded when stored."""
IntegerName: TypeAlias = Literal["int16", "int8"]
StorageName: TypeAlias = Literal["fp64", "fp32", "int32", "int16", "int8"]


class NotFloating(TypeError):
    """A kernel that computes with floating-point numbers was given another format."""

    def __init__(self, name: object) -> None:
        super().__init__(
            f"this kernel computes with floating-point numbers ({', '.join(get_args(DTypeName))}), not with {name}: "
            "dequantise first, or take one of the integer kernels"
        )


class _Floating(dict[DTypeName, np.dtype[np.floating]]):
    """By name; an integer format, where only floating-point ones are known, is an error that says so."""

    def __missing__(self, name: object) -> np.dtype[np.floating]:
        if name in get_args(StorageName):
            raise NotFloating(name)
        raise KeyError(name)


DTYPES: Final[dict[DTypeName, np.dtype[np.floating]]] = _Floating(
    {
        "fp64": np.dtype(np.float64),
        "fp32": np.dtype(np.float32),
    }
)
"""The SW26010 computes both at the same peak; fp32 halves the bytes (TACO18 §3.7)."""

STORAGE: Final[MappingProxyType[StorageName, np.dtype[Any]]] = MappingProxyType(
    {
        "fp64": np.dtype(np.float64),
        "fp32": np.dtype(np.float32),
        "int32": np.dtype(np.int32),
        "int16": np.dtype(np.int16),
        "int8": np.dtype(np.int8),
    }
)
"""All formats that an array may be stored in; int32 holds sums of products of the narrower ones."""


def dtype_name(dtype: np.dtype[np.floating]) -> DTypeName:
    """The name of a NumPy dtype. Raises ValueError for one that the kernels do not have."""
    for name, known in DTYPES.items():
        if known == dtype:
            return name
    raise ValueError(f"no kernels for {dtype}; there are {', '.join(DTYPES)}")


def integer_bits(name: StorageName) -> int:
    """Bits of an integer format. Raises ValueError for a floating-point one."""
    dtype = STORAGE[name]
    if dtype.kind != "i":
        raise ValueError(f"{name} is no integer format")
    return 8 * dtype.itemsize


def integer_limits(name: StorageName) -> tuple[int, int]:
    """Smallest and largest number of an integer format. Raises ValueError for a floating-point one."""
    half = 1 << (integer_bits(name) - 1)
    return -half, half - 1
