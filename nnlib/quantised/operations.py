"""What a layer does in integers, and its numerics on the host; kernels do the same, to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nnlib.layers.arrangement import Concatenate
from nnlib.layers.conv_transpose import ConvTranspose2d
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.global_pooling import GlobalMaxPool
from nnlib.layers.layer import INFERENCE, Shape
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool, MaxPool1d
from nnlib.precision.fixed import Integers
from nnlib.precision.formats import IntegerName
from nnlib.precision.integer import Sums, check_exact, integer_sum, requantise, sums_of
from nnlib.quantised.scheme import Tally

WeightedLayer = Conv2d | Conv1d | ConvTranspose2d | Linear


@dataclass(frozen=True)
class Ending:
    """How narrow integers are made of sums: with a ReLU, one with a limit that is the largest integer, or without."""

    relu: bool = False
    clipped: bool = False

    def narrow(self, sums: Sums, multiplier: object, storage: IntegerName, tally: Tally) -> Integers:
        """The integers; what saturates is counted."""
        found, outside = requantise(
            sums.values,
            np.asarray(multiplier, dtype=np.float64),
            storage,
            relu=self.relu,
            clipped=self.clipped,
        )
        tally.overflows += sums.overflows
        tally.rounded += found.size
        tally.saturated += outside
        return found


class Operation(Protocol):
    """A layer in integers."""

    def run(self, inputs: Sequence[Integers], storage: IntegerName, tally: Tally) -> Integers:
        """Its integers of those of its inputs."""


@dataclass(frozen=True, eq=False)
class Weighted:
    """A convolution, a linear layer or a mean: ``layer`` without its bias, over samples of the shape ``taken``.

    ``multiplier``: step of the sums over that of the result; ``bias`` is in units of the sums.
    """

    layer: WeightedLayer
    taken: Shape
    given: Shape
    weight: Integers
    bias: NDArray[np.int32]
    multiplier: NDArray[np.float64]
    ending: Ending

    def run(self, inputs: Sequence[Integers], storage: IntegerName, tally: Tally) -> Integers:
        x = inputs[0]
        check_exact(x, self.weight, depth=prod(self.weight.shape[:-1]))
        wide = x.astype(np.float64).reshape(len(x), *self.taken)
        layer = replace(self.layer, bias=False)
        exact, _ = layer.forward({"weight": self.weight.astype(np.float64)}, (wide,), INFERENCE)
        sums = sums_of(np.asarray(exact, dtype=np.float64), self.bias)
        return self.ending.narrow(sums, self.multiplier, storage, tally).reshape(len(x), *self.given)


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum of inputs under one step; of one input the same numbers with another step, rectified perhaps.

    ``scales``: a ratio for each input, then the multiplier at the end; see :func:`nnlib.precision.integer.sum_scales`.
    """

    scales: NDArray[np.float64]
    ending: Ending

    def run(self, inputs: Sequence[Integers], storage: IntegerName, tally: Tally) -> Integers:
        return self.ending.narrow(integer_sum(inputs, self.scales[:-1]), self.scales[-1], storage, tally)


@dataclass(frozen=True, eq=False)
class Joined:
    """Inputs one behind the other, each brought to the step of the result first if it has another."""

    layer: Concatenate
    parts: tuple[Sum | None, ...]

    def run(self, inputs: Sequence[Integers], storage: IntegerName, tally: Tally) -> Integers:
        parts = [
            x if part is None else part.run([x], storage, tally) for part, x in zip(self.parts, inputs, strict=True)
        ]
        return np.concatenate(parts, axis=self.layer.place(parts[0].shape[1:]) + 1)


@dataclass(frozen=True, eq=False)
class Largest:
    """The largest integer under each window."""

    layer: MaxPool | MaxPool1d | GlobalMaxPool

    def run(self, inputs: Sequence[Integers], storage: IntegerName, tally: Tally) -> Integers:
        x = inputs[0]
        found: Integers = self.layer.forward({}, (x,), INFERENCE)[0].astype(x.dtype, copy=False)  # type: ignore[arg-type]
        return found


@dataclass(frozen=True, eq=False)
class Same:
    """The input's integers under the shape ``given``: the layer's work is none, or done already."""

    given: Shape

    def run(self, inputs: Sequence[Integers], storage: IntegerName, tally: Tally) -> Integers:
        return inputs[0].reshape(len(inputs[0]), *self.given)
