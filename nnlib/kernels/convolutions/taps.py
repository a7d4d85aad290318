"""Which pixels a convolution brings together, along one axis: target index, tap, source index.

The target is what a pass writes pixel by pixel and the source what it reads there; for the weight gradient, which
sums over both, the pixels of ``grad_y`` are called targets and those of ``x`` sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from nnlib.kernels.convolutions.convolution import Convolution, Pass

Dimension: TypeAlias = Literal["rows", "columns"]


@dataclass(frozen=True, kw_only=True)
class Taps:
    """``targets`` and ``sources`` pixels along an axis under ``taps`` taps.

    Of the larger image pixel p and the smaller one's pixel q tap t brings together p = q·stride − padding +
    t·dilation. ``backward``: the larger image is the target, as in the input gradient.
    """

    targets: int
    sources: int
    taps: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    backward: bool = False

    @classmethod
    def of(cls, convolution: Convolution, which: Pass, dimension: Dimension) -> Taps:
        """Along rows or columns of a pass."""
        if dimension == "rows":
            inputs, outputs, taps = convolution.ri, convolution.ro, convolution.kr
        else:
            inputs, outputs, taps = convolution.ci, convolution.co, convolution.kc
        backward = which == "input_gradient"
        return cls(
            targets=inputs if backward else outputs,
            sources=outputs if backward else inputs,
            taps=taps,
            stride=convolution.stride,
            padding=convolution.padding,
            dilation=convolution.dilation,
            backward=backward,
        )

    def source(self, target: int, tap: int) -> int | None:
        """The source pixel that ``tap`` brings to ``target``; None if there is none inside the image."""
        shift = tap * self.dilation - self.padding
        if self.backward:
            source, rest = divmod(target - shift, self.stride)
            if rest:
                return None
        else:
            source = target * self.stride + shift
        return source if 0 <= source < self.sources else None

    def target(self, source: int, tap: int) -> int | None:
        """The target pixel to which ``tap`` brings ``source``; None if there is none inside the image."""
        shift = tap * self.dilation - self.padding
        if self.backward:
            target = source * self.stride + shift
        else:
            target, rest = divmod(source - shift, self.stride)
            if rest:
                return None
        return target if 0 <= target < self.targets else None

    def sources_of(self, target: int) -> tuple[tuple[int, int], ...]:
        """Every (tap, source) of a target, by tap."""
        found = ((tap, self.source(target, tap)) for tap in range(self.taps))
        return tuple((tap, source) for tap, source in found if source is not None)

    def targets_of(self, source: int) -> tuple[tuple[int, int], ...]:
        """Every (tap, target) of a source, by tap."""
        found = ((tap, self.target(source, tap)) for tap in range(self.taps))
        return tuple((tap, target) for tap, target in found if target is not None)

    @property
    def pairs(self) -> int:
        """How many pairs of pixels the taps bring together."""
        return sum(len(self.sources_of(target)) for target in range(self.targets))

    @property
    def period(self) -> int:
        """After so many targets the same taps have a source again; it has moved on by ``advance`` pixels."""
        return self.stride if self.backward else 1

    @property
    def advance(self) -> int:
        """Source pixels from a target to the next but ``period``."""
        return 1 if self.backward else self.stride

    @property
    def steady(self) -> range:
        """The targets that no edge of the source takes a tap from; their taps repeat with ``period``."""
        reach = (self.taps - 1) * self.dilation
        if self.backward:
            first = reach - self.padding - (self.stride - 1)
            last = self.sources * self.stride - 1 - self.padding
        else:
            first = -(-self.padding // self.stride)
            last = (self.sources - 1 + self.padding - reach) // self.stride
        first = max(first, 0)
        return range(first, max(first, min(last + 1, self.targets)))
