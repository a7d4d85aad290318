"""Which pixels the taps of a convolution bring together along one axis, and what its options mean there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import gcd
from typing import TypeAlias

Pair: TypeAlias = int | tuple[int, int]
"""One number for rows and columns, or one for each."""
Padding: TypeAlias = int | tuple[int, int] | tuple[int, int, int, int]
"""Zeros on every side; above and below, left and right; or above, below, left and right."""
Kernel: TypeAlias = tuple[int, int]


def output_size(length: int, kernel: int, stride: int, padding: int) -> int:
    """Output pixels along an axis."""
    return (length + 2 * padding - kernel) // stride + 1


def pair(value: Pair) -> tuple[int, int]:
    """For rows and for columns."""
    return (value, value) if isinstance(value, int) else value


def sides(padding: Padding) -> tuple[tuple[int, int], tuple[int, int]]:
    """Before and behind, of rows and of columns."""
    match padding:
        case int():
            return (padding, padding), (padding, padding)
        case (rows, columns):
            return (rows, rows), (columns, columns)
        case (top, bottom, left, right):
            return (top, bottom), (left, right)


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Along an axis output o and tap t meet input ``o·stride + t·dilation - before``; outside of it there are zeros."""

    inputs: int
    outputs: int
    taps: int
    stride: int = 1
    dilation: int = 1
    before: int = 0

    @property
    def span(self) -> int:
        """Inputs from the first that any output meets to the last, zeros outside among them."""
        return (self.outputs - 1) * self.stride + (self.taps - 1) * self.dilation + 1

    @property
    def inside(self) -> bool:
        """Whether no output meets a zero outside."""
        return self.before <= 0 and self.span - self.before <= self.inputs

    @property
    def met(self) -> tuple[slice, slice]:
        """The inputs that the outputs' span has, and where in the span they are."""
        first = min(max(0, -self.before), self.inputs)
        last = max(first, min(self.inputs, self.span - self.before))
        return slice(first, last), slice(first + self.before, last + self.before)

    def part(self, outputs: slice) -> Reach:
        """For some of the outputs alone."""
        return replace(self, outputs=outputs.stop - outputs.start, before=self.before - outputs.start * self.stride)

    def of_taps(self, taps: slice) -> Reach:
        """For some taps alone, ``taps.start`` the first of them."""
        return replace(self, taps=taps.stop - taps.start, before=self.before - taps.start * self.dilation)

    @property
    def remainders(self) -> int:
        """Remainders of the inputs by the stride."""
        return min(self.stride, self.inputs)

    def phases(self) -> Iterator[Phase]:
        """The gradient of the inputs, which is a convolution of the outputs for each remainder by the stride."""
        common = gcd(self.stride, self.dilation)
        step, dilation = self.stride // common, self.dilation // common
        for first in range(self.remainders):
            place = first + self.before
            start = next(
                (t for t in range(min(step, self.taps)) if (place - t * self.dilation) % self.stride == 0), None
            )
            if start is None:
                continue
            taps = range(start, self.taps, step)
            last = len(taps) - 1
            reach = Reach(
                inputs=self.outputs,
                outputs=len(range(first, self.inputs, self.stride)),
                taps=len(taps),
                dilation=dilation,
                before=last * dilation - (place - start * self.dilation) // self.stride,
            )
            yield Phase(slice(first, None, self.stride), slice(taps[-1], start - 1 if start else None, -step), reach)


@dataclass(frozen=True)
class Phase:
    """The inputs of one remainder, the taps that meet them, last one first, and how they lie to the outputs."""

    inputs: slice
    taps: slice
    reach: Reach


def reaches(
    lengths: tuple[int, int], kernel: Kernel, *, stride: Pair, padding: Padding, dilation: Pair
) -> tuple[Reach, Reach]:
    """Rows and columns of images of ``lengths``. Raises ValueError if the kernel does not fit."""
    found = []
    for length, taps, step, around, apart in zip(
        lengths, kernel, pair(stride), sides(padding), pair(dilation), strict=True
    ):
        room = length + sum(around) - apart * (taps - 1) - 1
        if room < 0:
            raise ValueError(
                f"a kernel of {taps} taps with dilation {apart} does not fit {length} pixels with padding {around}"
            )
        found.append(
            Reach(inputs=length, outputs=room // step + 1, taps=taps, stride=step, dilation=apart, before=around[0])
        )
    rows, columns = found
    return rows, columns
