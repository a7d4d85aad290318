"""What a launch is for, in the words of published breakdowns of a training step."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

Part: TypeAlias = Literal["conv", "pool", "activation", "fc", "tensor_trans", "bn", "others"]
PARTS: Final[tuple[Part, ...]] = get_args(Part)
"""Convolutions with their columns and biases, pooling, activations, fully connected layers, transforms between data
orders, batch normalisation, and all else: other layers, losses, sums and updates."""
