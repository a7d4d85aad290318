"""Losses of regression lowered."""

from __future__ import annotations

from nnlib.losses.regression import L1, MeanSquaredError, SmoothL1
from nnlib.lowering.losses.numbers import lower_numbers
from nnlib.lowering.site import LossSite, lower_loss_of


@lower_loss_of.register
def _(loss: MeanSquaredError, site: LossSite) -> None:
    lower_numbers(site, "mean_squared_error", counted=False)


@lower_loss_of.register
def _(loss: L1, site: LossSite) -> None:
    lower_numbers(site, "mean_absolute_error", counted=False)


@lower_loss_of.register
def _(loss: SmoothL1, site: LossSite) -> None:
    lower_numbers(site, "smooth_l1", counted=False, constants=(loss.beta,))
