"""Losses: what a network's outputs are measured by, one file per family."""

from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.losses.ctc import CtcLoss
from nnlib.losses.loss import Loss

__all__ = ["CrossEntropy", "CtcLoss", "Loss"]
