"""The models of the library by name, and the functions that build them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from nnlib.model import Model
from nnlib.models.lenet import lenet5

MODELS: Final[Mapping[str, Callable[..., Model]]] = {
    "lenet5": lenet5,
}
"""Each takes keyword arguments only: whole numbers, numbers, words, or tuples of them."""
