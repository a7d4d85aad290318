"""The optimisers: frozen descriptions; their state is a plain dict beside the parameters, updated in place."""

from __future__ import annotations

from typing import TypeAlias

from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.lamb import LAMB
from nnlib.optim.lars import LARS
from nnlib.optim.sgd import SGD

Optimizer: TypeAlias = SGD | LARS | Adam | AdamW | LAMB
