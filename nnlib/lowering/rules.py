"""Where the rules are that lower a kind of layer or loss: loaded with the first network that has one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Final

ELSEWHERE: Final[Mapping[str, str]] = {
    "nnlib.layers.conv_transpose": "convolution",
    "nnlib.layers.global_pooling": "pooling",
    "nnlib.layers.matmul": "attention",
    "nnlib.layers.prelu": "activation",
    "nnlib.layers.scale": "activation",
    "nnlib.losses.ctc": "sequence",
}
"""Files whose rules are not in a file of their own name, or for losses in that of the losses."""


def load_rules(kind: type) -> bool:
    """Load the rules for layers or losses of a kind, a class of the library; whether that loaded any."""
    loaded = False
    for each in kind.__mro__:
        package, _, file = each.__module__.rpartition(".")
        if package not in ("nnlib.layers", "nnlib.losses") or file in ("layer", "loss"):
            continue
        alike = "losses" if package == "nnlib.losses" else file
        rules = f"nnlib.lowering.{ELSEWHERE.get(each.__module__, alike)}"
        loaded |= rules not in sys.modules
        import_module(rules)
    return loaded
