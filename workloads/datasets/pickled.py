"""Pickles of plain values and arrays of numbers, read without importing or calling anything they name.

A pickle may call any function of any module. Here the few names that NumPy writes for an array stand for objects of
this module that only keep what they are given; every other name is refused.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

RECONSTRUCT = {("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")}
FROM_BUFFER = {("numpy.core.numeric", "_frombuffer"), ("numpy._core.numeric", "_frombuffer")}
DAMAGED = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    OverflowError,
    MemoryError,
    RecursionError,
)
"""What the unpickler raises for bytes that are no pickle."""


class UnsafePickle(Exception):
    """A pickle names something that is neither a plain value nor an array of numbers."""


def load_plain(data: bytes) -> Any:
    """What a pickle holds: None, numbers, text, bytes, lists, tuples, mappings and arrays of numbers in them.

    Text that Python 2 wrote comes as bytes. Raises UnsafePickle, or ValueError when the pickle is damaged.
    """
    try:
        return _to_arrays(_Unpickler(data).load())
    except DAMAGED as error:
        raise ValueError(f"not a whole pickle: {error}") from error


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data), encoding="bytes")
        self._names = _stand_ins()  # of its own: a pickle can set attributes of what it names

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._names:
            raise UnsafePickle(f"the name {module}.{name}")
        return self._names[module, name]

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafePickle("a reference to something outside")


class _Kept:
    """What a pickle says of an array or of a type of numbers."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _stand_ins() -> dict[tuple[str, str], Any]:
    array: type[_Kept] = type("Array", (_Kept,), {})
    kind: type[_Kept] = type("Kind", (_Kept,), {})

    def reconstruct(*arguments: Any) -> _Kept:
        return array(*arguments)

    def from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> _Kept:
        made = array()
        made.state = (1, shape, kind, order == "F", bytes(data))
        return made

    def encode(text: Any, encoding: Any = "utf-8") -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "utf-8"):
            raise UnsafePickle("a call of _codecs.encode other than of text as latin1")
        return text.encode(encoding)

    names: dict[tuple[str, str], Callable[..., Any]] = {
        ("numpy", "ndarray"): array,
        ("numpy", "dtype"): kind,
        ("_codecs", "encode"): encode,
    }
    return names | dict.fromkeys(RECONSTRUCT, reconstruct) | dict.fromkeys(FROM_BUFFER, from_buffer)


def _to_arrays(value: Any) -> Any:
    if isinstance(value, _Kept):
        return _array(value)
    if isinstance(value, dict):
        return {key: _to_arrays(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_to_arrays(each) for each in value]
    return tuple(_to_arrays(each) for each in value) if isinstance(value, tuple) else value


def _array(kept: _Kept) -> npt.NDArray[Any]:
    _, shape, kind, fortran, data = kept.state
    if not (isinstance(kind, _Kept) and isinstance(data, bytes | bytearray)):
        raise UnsafePickle("an array that does not hold numbers")
    code = kind.arguments[0]
    code = code.decode("ascii") if isinstance(code, bytes) else code
    dtype = np.dtype(code)
    if dtype.kind not in "biuf":
        raise UnsafePickle(f"an array of {dtype}")
    if kind.state is not None and kind.state[1] in (">", b">"):
        dtype = dtype.newbyteorder(">")
    if len(data) != dtype.itemsize * math.prod(shape):
        raise ValueError(f"{len(data)} bytes for shape {shape} of {dtype}")
    return np.frombuffer(bytes(data), dtype=dtype).reshape(shape, order="F" if fortran else "C")
