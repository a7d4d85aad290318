"""Keys of random numbers: a layer's own, and as numbers that every precision holds exactly."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

KEY_NUMBERS: Final = 8
"""Four pieces of 16 bits each for a key and for the number of a sample."""


def step_key(seed: int, step: int) -> int:
    """The 64-bit key of a step of a run with ``seed``."""
    return _hashed(f"{seed}:{step}")


def layer_key(key: int, layer: str) -> int:
    """The 64-bit key of ``layer`` in a run with ``key``: other layers and other runs have others."""
    return _hashed(f"{key}:{layer}")


def key_numbers(key: int, first_sample: int) -> list[float]:
    """A 64-bit key and a sample's number as ``KEY_NUMBERS`` pieces of 16 bits, lowest first."""
    return [float(value >> shift & 0xFFFF) for value in (key, first_sample) for shift in (0, 16, 32, 48)]


def rounding_key(key: int, layer: str, what: str, first_sample: int = 0) -> int:
    """The 64-bit key of rounding one of a layer's tensors; later parts of a batch have keys of their own."""
    own = layer_key(layer_key(key, f"{layer}:rounding"), what)
    return layer_key(own, str(first_sample)) if first_sample else own


def _hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
