"""What is fixed point in training: formats, rounding, and how saturation is counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite

import numpy as np

from nnlib.precision.fixed import FixedPoint, Rounding, rounded, saturated
from nnlib.precision.formats import IntegerName, integer_limits
from nnlib.precision.scale import headroom_step
from sim.chip.memory import Array

DEFAULT_FORMAT = FixedPoint("int16", 8)


@dataclass(eq=False)
class Tally:
    """Numbers rounded so far, those of them that saturated, and sums of products that left 32 bits."""

    rounded: int = 0
    saturated: int = 0
    overflows: int = 0


@dataclass(frozen=True, kw_only=True)
class FixedScheme:
    """Training in fixed point (after Gupta et al. 2015).

    ``weights`` have a fixed step. Activations, gradients and the optimiser's numbers have a step per tensor, the
    smallest power of two at which the largest fits with ``headroom`` bits to spare, so that 32 bits hold sums of their
    products. ``master``: the optimiser works on a copy of the weights in higher precision.
    """

    weights: FixedPoint = DEFAULT_FORMAT
    rounding: Rounding = "stochastic"
    headroom: int = 4
    master: bool = False
    tally: Tally = field(default_factory=Tally, compare=False, repr=False)

    @property
    def storage(self) -> IntegerName:
        return self.weights.storage

    def step_of(self, x: Array) -> float:
        """The step of a tensor of activations or gradients; rounding to it does not change it."""
        return self._step(_largest(x))

    def round_weights(self, x: Array, *, key: int = 0, nearest: bool = False) -> Array:
        """Weights as their format has them; those that are already stay as they are."""
        return self._rounded(x, self.weights.step, _largest(x), key=key, first=0, nearest=nearest)

    def round_tensor(self, x: Array, *, key: int = 0, first: int = 0, nearest: bool = False) -> Array:
        """Activations or gradients under their own step. ``key``, ``first``: see :func:`nnlib.precision.fixed.rounded`.

        Raises FloatingPointError where one is not finite: training has diverged.
        """
        largest = _largest(x)
        if not isfinite(largest):
            raise FloatingPointError("a tensor has numbers that are not finite: no step of fixed point suits it")
        return self._rounded(x, self._step(largest), largest, key=key, first=first, nearest=nearest)

    def check_sums(self, x: Array, unit: float) -> Array:
        """Sums of products of integers in steps of ``unit``, saturated at 32 bits."""
        limit = 2.0**31 * unit
        if _largest(x) < limit:
            return x
        whole, outside = saturated(np.asarray(x / unit, dtype=np.float64), "int32")
        self.tally.overflows += outside
        return (whole * unit).astype(x.dtype)

    def _step(self, largest: float) -> float:
        return headroom_step(largest, self.storage, headroom=self.headroom)

    def _rounded(self, x: Array, step: float, largest: float, *, key: int, first: int, nearest: bool) -> Array:
        scaled = np.multiply(x, 1 / step, dtype=np.float64)
        whole = np.rint(scaled)
        if not nearest and self.rounding == "stochastic" and not (whole == scaled).all():
            whole = rounded(scaled, rounding="stochastic", key=key, first=first)
        self.tally.rounded += x.size
        # one more than the largest may come of rounding it; not-a-number is not below anything
        if not largest * (1 / step) < integer_limits(self.storage)[1]:
            whole, outside = saturated(whole, self.storage)
            self.tally.saturated += outside
        whole *= step
        return whole.astype(x.dtype, copy=False)


def _largest(x: Array) -> float:
    """The largest magnitude; not a number if one is none, 0 of nothing."""
    return float(max(x.max(), -x.min())) if x.size else 0.0
