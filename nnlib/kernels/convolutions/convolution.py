"""What every convolution plan computes: shapes of a two-dimensional convolution, and its numbers by whole arrays.

A plan is a kernel or a row of kernels with its own data order; all agree with the reference here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np

from sim.chip.memory import Array, Shape

Pass: TypeAlias = Literal["forward", "input_gradient", "weight_gradient"]
PASSES: Final[tuple[Pass, ...]] = ("forward", "input_gradient", "weight_gradient")


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """``batch`` images of ``ri`` × ``ci`` pixels and ``ni`` channels under ``no`` filters of ``kr`` × ``kc`` taps.

    ``groups``: channels are divided into so many groups that do not see one another.
    """

    batch: int
    ni: int
    no: int
    ri: int
    ci: int
    kr: int
    kc: int
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        if self.ni % self.groups or self.no % self.groups:
            raise ValueError(f"{self.groups} groups do not divide {self.ni} input and {self.no} output channels")
        if self.ro < 1 or self.co < 1:
            raise ValueError(f"a kernel of {self.kr} × {self.kc} does not fit images of {self.ri} × {self.ci}")

    @property
    def ro(self) -> int:
        """Output rows."""
        return (self.ri + 2 * self.padding - self.dilation * (self.kr - 1) - 1) // self.stride + 1

    @property
    def co(self) -> int:
        """Output columns."""
        return (self.ci + 2 * self.padding - self.dilation * (self.kc - 1) - 1) // self.stride + 1

    @property
    def group_ni(self) -> int:
        return self.ni // self.groups

    @property
    def group_no(self) -> int:
        return self.no // self.groups

    @property
    def flops(self) -> int:
        """Useful operations of any of the three passes; taps that meet only padding count."""
        return 2 * self.batch * self.ro * self.co * self.group_ni * self.no * self.kr * self.kc

    @property
    def inside(self) -> float:
        """The share of taps that meet the image and not its padding."""
        rows = self._met(self.ro, self.ri, self.kr) / (self.ro * self.kr)
        return rows * self._met(self.co, self.ci, self.kc) / (self.co * self.kc)

    def _met(self, outputs: int, inputs: int, taps: int) -> int:
        """How many taps of all outputs along an axis meet the image."""
        shifts = [tap * self.dilation - self.padding for tap in range(taps)]
        return sum(0 <= output * self.stride + shift < inputs for output in range(outputs) for shift in shifts)

    @property
    def x_shape(self) -> Shape:
        """Images, channels last."""
        return self.batch, self.ri, self.ci, self.ni

    @property
    def weight_shape(self) -> Shape:
        """(kr, kc, ni of a group, no)."""
        return self.kr, self.kc, self.group_ni, self.no

    @property
    def y_shape(self) -> Shape:
        """Outputs, channels last."""
        return self.batch, self.ro, self.co, self.no


def forward(convolution: Convolution, x: Array, weight: Array) -> Array:
    """``y`` of shape ``y_shape``."""
    y = np.zeros(convolution.y_shape, dtype=x.dtype)
    padded = _padded(convolution, x)
    for group, tap, pixels in _taps(convolution):
        ins, outs = _channels(convolution, group)
        y[..., outs] += padded[(slice(None), *pixels, ins)] @ weight[(*tap, slice(None), outs)]
    return y


def input_gradient(convolution: Convolution, grad_y: Array, weight: Array) -> Array:
    """Gradient by ``x``."""
    padded = np.zeros(_padded_shape(convolution), dtype=grad_y.dtype)
    for group, tap, pixels in _taps(convolution):
        ins, outs = _channels(convolution, group)
        padded[(slice(None), *pixels, ins)] += grad_y[..., outs] @ weight[(*tap, slice(None), outs)].T
    pad = convolution.padding
    return padded[:, pad : pad + convolution.ri, pad : pad + convolution.ci]


def weight_gradient(convolution: Convolution, grad_y: Array, x: Array) -> Array:
    """Gradient by ``weight``."""
    grad = np.zeros(convolution.weight_shape, dtype=x.dtype)
    padded = _padded(convolution, x)
    for group, tap, pixels in _taps(convolution):
        ins, outs = _channels(convolution, group)
        seen = padded[(slice(None), *pixels, ins)].reshape(-1, convolution.group_ni)
        grad[(*tap, slice(None), outs)] = seen.T @ grad_y[..., outs].reshape(-1, convolution.group_no)
    return grad


def _taps(convolution: Convolution) -> list[tuple[int, tuple[int, int], tuple[slice, slice]]]:
    """Every group and tap, and the padded image's rows and columns that the tap meets."""
    stride, dilation = convolution.stride, convolution.dilation

    def met(tap: int, outputs: int) -> slice:
        return slice(tap * dilation, tap * dilation + (outputs - 1) * stride + 1, stride)

    return [
        (group, (i, j), (met(i, convolution.ro), met(j, convolution.co)))
        for group in range(convolution.groups)
        for i in range(convolution.kr)
        for j in range(convolution.kc)
    ]


def _channels(convolution: Convolution, group: int) -> tuple[slice, slice]:
    ni, no = convolution.group_ni, convolution.group_no
    return slice(group * ni, (group + 1) * ni), slice(group * no, (group + 1) * no)


def _padded_shape(convolution: Convolution) -> Shape:
    pad = 2 * convolution.padding
    return convolution.batch, convolution.ri + pad, convolution.ci + pad, convolution.ni


def _padded(convolution: Convolution, x: Array) -> Array:
    padded = np.zeros(_padded_shape(convolution), dtype=x.dtype)
    pad = convolution.padding
    padded[:, pad : pad + convolution.ri, pad : pad + convolution.ci] = x
    return padded
