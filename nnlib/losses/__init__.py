"""Losses: what a network's outputs are measured by, one file per family."""

from nnlib.losses.binary_cross_entropy import BinaryCrossEntropy
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.losses.ctc import CtcLoss
from nnlib.losses.dice import Dice
from nnlib.losses.gaussian_kl import GaussianKL
from nnlib.losses.loss import Loss
from nnlib.losses.regression import L1, MeanSquaredError, SmoothL1

__all__ = [
    "L1",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "CtcLoss",
    "Dice",
    "GaussianKL",
    "Loss",
    "MeanSquaredError",
    "SmoothL1",
]
