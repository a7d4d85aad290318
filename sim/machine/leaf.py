"""What machine files are made of: sections, and leaves that hold one number each with its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

Value = TypeVar("Value")


class Section(BaseModel):
    """A group of keys of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Leaf(BaseModel, Generic[Value]):
    """One number: ``{value: '64 KiB', source: 'SWDNN17', note: 'optional'}``."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    is_leaf: ClassVar[bool] = True

    value: Value
    source: str = Field(min_length=1)
    note: str = ""

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise ValueError("a mapping with value and source")
        return data
