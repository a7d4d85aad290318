"""Where the rules are that lower a kind of layer or loss: loaded with the first network that has one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Final

ROOMS: Final[Mapping[str, str]] = {"nnlib.layers": "nnlib.lowering", "nnlib.losses": "nnlib.lowering.losses"}
"""Where the rules are for the classes of a package, in files of the same names."""
BASES: Final = ("layer", "loss")
"""Files of what all kinds are."""


def load_rules(kind: type) -> bool:
    """Load the rules for layers or losses of a kind, a class of the library; whether that loaded any."""
    loaded = False
    for each in kind.__mro__:
        package, _, file = each.__module__.rpartition(".")
        if package in ROOMS and file not in BASES:
            rules = f"{ROOMS[package]}.{file}"
            loaded |= rules not in sys.modules
            import_module(rules)
    return loaded
