"""A table whose entries are loaded when they are asked for: names cost nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any


class LazyTable(Mapping[str, Any]):
    """``places`` says for each key where its value is, as ``MODULE:NAME``."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self.places = places

    def __getitem__(self, key: str) -> Any:
        module, _, name = self.places[key].partition(":")
        return getattr(import_module(module), name)

    def __contains__(self, key: object) -> bool:
        return key in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)
