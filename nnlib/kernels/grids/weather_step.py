"""A time step of a small dynamical core: winds carry all fields, gravity waves and the Earth's rotation move winds.

Fields lie as networks read them, channels last: the first two are the winds to the east and to the north, the third is
the pressure, the others are carried. Points are one apart. In space differences are centred, with as much diffusion as
makes them those against the wind (Courant, Isaacson and Rees 1952), for winds and pressure against the waves too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from nnlib.kernels.blocks import Blocks, Shape, plan_blocks
from nnlib.kernels.kernel import Arguments, Parameter
from nnlib.kernels.streaming import Operand, stream
from nnlib.kernels.window import ItemBox
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body, stream_cycles
from sim.machine.spec import ProcessorSpec

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup

NUMBER_BYTES = 8
WAVES = 3
"""Channels that waves move: the winds and the pressure."""

BAND_BYTES = 2**19
"""Of rows that are stepped together on the host."""


@dataclass(frozen=True)
class Dynamics:
    """``step``: time step; ``wave_speed`` of gravity waves; ``coriolis``: turns of the wind per unit of time.

    Stable while ``step`` times the largest |u| + |v| + 2·``wave_speed`` stays below 1.
    """

    step: float
    wave_speed: float
    coriolis: float


@dataclass(frozen=True)
class WeatherStep:
    """``after`` = a step on from ``before``, both (rows + 2, columns + 2, channels): a layer of neighbours around.

    The layer of ``after`` stays as it is. Raises ValueError for fewer than three channels.
    """

    rows: int
    columns: int
    channels: int
    dynamics: Dynamics

    def __post_init__(self) -> None:
        if self.channels < WAVES:
            raise ValueError(f"two winds and a pressure, got {self.channels} channels")

    @property
    def name(self) -> str:
        return "weather_step"

    @property
    def dtype(self) -> Literal["fp64"]:
        return "fp64"

    def parameters(self) -> tuple[Parameter, ...]:
        shape = (self.rows + 2, self.columns + 2, self.channels)
        return Parameter("before", shape, "in"), Parameter("after", shape, "inout")

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """On the whole grid, some rows at a time, so that what is between stays in the host's cache."""
        before, after = arrays["before"], arrays["after"]
        rows = max(1, BAND_BYTES // (self.columns * self.channels * NUMBER_BYTES))
        for first in range(0, self.rows, rows):
            last = min(first + rows, self.rows)
            after[1 + first : 1 + last, 1:-1] = stepped(before[first : last + 2], self.dynamics)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program: blocks of points with their neighbours. Raises InfeasiblePlan if not even a point fits."""
        blocks = self.blocks(core_group.processor)
        rows, columns = blocks.block
        cpe = core_group.cpe
        body = Body(loads=5, stores=1, arithmetic=14)
        cycles = stream_cycles(cpe=cpe, body=body, elements=rows * columns * self.channels)
        zero = np.zeros((core_group.cpes, 1), dtype=np.int64)

        def run_at(iteration: int, ins: Sequence[Array], outs: Sequence[Array]) -> None:
            outs[0][...] = stepped(ins[0], self.dynamics)

        stream(
            core_group,
            self.name,
            iterations=blocks.iterations,
            inputs=[
                Operand(
                    arguments["before"],
                    (rows + 2, columns + 2, self.channels),
                    lambda i: np.hstack([blocks.origins(i), zero]),
                    None,
                )
            ],
            outputs=[
                Operand(
                    arguments["after"],
                    (rows, columns, self.channels),
                    lambda i: np.hstack([blocks.origins(i) + 1, zero]),
                    None,
                )
            ],
            cycles=blocks.cycles(cycles),
            run_at=run_at,
            flops=flops(self.channels) * self.rows * self.columns,
        )

    def blocks(self, processor: ProcessorSpec) -> Blocks:
        """The points of a CPE at a time; equal blocks, so that none reaches into the layer."""
        plan = plan_blocks(
            kernel=self.name,
            shape=(self.rows, self.columns),
            item_bytes=NUMBER_BYTES,
            boxes=self._boxes,
            processor=processor,
        )
        fitting = tuple(
            next(size for size in range(size, 0, -1) if length % size == 0)
            for size, length in zip(plan.block, plan.shape, strict=True)
        )
        return Blocks(plan.shape, fitting, plan.cpes, plan.seconds)

    def _boxes(self, block: Shape) -> list[ItemBox]:
        rows, columns = block
        return [
            ItemBox((rows + 2, columns + 2, self.channels), self.parameters()[0].shape),
            ItemBox((rows, columns, self.channels), self.parameters()[1].shape),
        ]


def flops(channels: int) -> int:
    """Of a point: 14 for each channel, and what waves and rotation add."""
    return 14 * channels + 10


def stepped(before: Array, dynamics: Dynamics) -> Array:
    """A step on from fields (..., rows + 2, columns + 2, channels), without the layer of neighbours."""
    middle = before[..., 1:-1, 1:-1, :]
    west, east = before[..., 1:-1, :-2, :], before[..., 1:-1, 2:, :]
    south, north = before[..., :-2, 1:-1, :], before[..., 2:, 1:-1, :]
    u, v = middle[..., 0:1], middle[..., 1:2]
    east_slope, north_slope = (east - west) / 2, (north - south) / 2
    change = -u * east_slope - v * north_slope
    waves = np.zeros(before.shape[-1])
    waves[:WAVES] = dynamics.wave_speed
    change += 0.5 * (np.abs(u) + waves) * (east - 2 * middle + west)
    change += 0.5 * (np.abs(v) + waves) * (north - 2 * middle + south)
    change[..., 0] += dynamics.coriolis * v[..., 0] - dynamics.wave_speed * east_slope[..., 2]
    change[..., 1] -= dynamics.coriolis * u[..., 0] + dynamics.wave_speed * north_slope[..., 2]
    change[..., 2] -= dynamics.wave_speed * (east_slope[..., 0] + north_slope[..., 1])
    return np.asarray(middle + dynamics.step * change)
