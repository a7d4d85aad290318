"""Precision: number formats, fixed point, its scales and its calibration."""

from nnlib.precision.formats import (
    DTYPES,
    STORAGE,
    DTypeName,
    IntegerName,
    NotFloating,
    PrecisionName,
    StorageName,
    dtype_name,
    integer_bits,
    integer_limits,
)

__all__ = [
    "DTYPES",
    "STORAGE",
    "DTypeName",
    "IntegerName",
    "NotFloating",
    "PrecisionName",
    "StorageName",
    "dtype_name",
    "integer_bits",
    "integer_limits",
]
