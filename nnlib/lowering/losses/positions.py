"""Shares are spread over positions, and the positions' losses added up for each sample."""

from __future__ import annotations

from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.pointwise.spread_shares import SpreadShares
from nnlib.kernels.reducing.axis_reduction import AxisReduce
from nnlib.lowering.site import LossSite


def weights_of(site: LossSite, *, positions: int, parts: int, counted: bool) -> str:
    """The buffer (batch, parts) of what a position of each part counts.

    ``counted``: only positions with a target that is not negative.
    """
    if positions == 1:
        return site.shares
    weights = site.buffer("weights", (site.batch, parts))
    if not counted:
        site.launch(SpreadShares(site.batch, parts, site.dtype, positions), shares=site.shares, weights=weights)
        return weights
    assert site.target is not None
    valid = site.buffer("valid", (site.batch, positions))
    counts = site.buffer("counts", (site.batch, 1))
    site.launch(Elementwise("not_negative", site.batch * positions, site.dtype), x=site.target, y=valid)
    site.launch(AxisReduce("sum", site.batch, positions, 1, site.dtype), x=valid, y=counts)
    spread = SpreadShares(site.batch, parts, site.dtype, counted=True)
    site.launch(spread, shares=site.shares, counts=counts, weights=weights)
    return weights


def losses_of(site: LossSite, parts: int) -> str:
    """The buffer of the loss of each part of a sample."""
    return site.losses if parts == 1 else site.buffer("parts", (site.batch, parts))


def add_losses(site: LossSite, parts: int) -> None:
    """Add up the losses of a sample's parts."""
    if parts > 1:
        kernel = AxisReduce("sum", site.batch, parts, 1, site.dtype)
        site.launch(kernel, x=f"{site.name}:parts", y=site.losses)
