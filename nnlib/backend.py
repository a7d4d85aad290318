"""The name of the library whose numerics compute whole layers."""

from __future__ import annotations

from typing import Literal, TypeAlias

Backend: TypeAlias = Literal["numpy", "torch"]
