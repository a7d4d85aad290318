"""Optimisers and the learning rate's course."""

from nnlib.optim.optimizers import LARS, SGD, Adam, Optimizer, State
from nnlib.optim.rate import LearningRate

__all__ = ["LARS", "SGD", "Adam", "LearningRate", "Optimizer", "State"]
