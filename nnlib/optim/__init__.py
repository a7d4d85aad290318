"""Optimisers, the learning rate's course and the clipping of gradients."""

from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.clip import Clip, ClipByNorm, ClipByValue
from nnlib.optim.lamb import LAMB
from nnlib.optim.lars import LARS
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.rate import LearningRate
from nnlib.optim.sgd import SGD
from nnlib.optim.state import State

__all__ = [
    "LAMB",
    "LARS",
    "SGD",
    "Adam",
    "AdamW",
    "Clip",
    "ClipByNorm",
    "ClipByValue",
    "LearningRate",
    "Optimizer",
    "State",
]
