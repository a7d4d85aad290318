"""Moving storms in fields of many channels, as in a reanalysis: which pixels belong to a cyclone?

Every system of weather, cyclone or not, has low pressure, moist and warm air and strong winds at the same places: at a
pixel alone they look the same. What tells a cyclone is how its winds lie: they turn around its middle to the left. In
the others they turn to the right, flow out, or meet and part (a saddle). No classifier that looks at one pixel at a
time can tell them apart, so its IoU stays below the cyclones' share of the systems; one that sees more can.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.datasets.counter import Counter, Floats, Integers
from workloads.datasets.weather import Background, offsets

CHANNELS = (
    "u850", "v850", "psl", "tmq", "ubot", "vbot", "t500", "ps",
    "t200", "prect", "ts", "trefht", "qrefht", "z100", "z200", "zbot",
)  # fmt: skip
"""The channels of the CAM5 fields in which storms were sought by deep learning (Kurth et al., SC18), winds first."""
WIND, PRESSURE, MOISTURE, WARMTH = ("u850", "v850"), ("psl", "ps"), ("tmq", "prect", "qrefht"), ("t500", "t200")
NOTHING, CYCLONE, RIVER = 0, 1, 2
CYCLONES = 0.4
"""The share of cyclones among the systems: what a pixel alone cannot tell costs it the rest."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fields:
    """Fields (n, height, width, channels) float64 and what every pixel is, (n, height, width) int64."""

    fields: Floats
    mask: Integers


@dataclass(frozen=True, kw_only=True)
class Storms:
    """A generator of fields of ``height`` × ``width`` pixels, rows from south to north, joined at opposite edges.

    Sample k is frame ``k % frames`` of sequence ``k // frames``: in a sequence the background drifts and every system
    moves at its own pace. There is one system to each square of ``spacing`` pixels; ``strength`` is its wind in
    standard deviations of the background. With ``rivers`` long moist streams are a class of their own, and so are not
    those across which the wind blows. Raises ValueError when a length is too small.
    """

    height: int = 48
    width: int = 48
    channels: int = 16
    frames: int = 4
    spacing: int = 24
    strength: float = 2.0
    rivers: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.height, self.width) < self.spacing or self.spacing < 8:
            raise ValueError("a field is at least one spacing long and wide, a spacing at least 8 pixels")
        if not 4 <= self.channels <= len(CHANNELS) or self.frames < 1:
            raise ValueError(f"there are 4 to {len(CHANNELS)} channels and at least one frame")

    @property
    def classes(self) -> int:
        return 3 if self.rivers else 2

    def generate(self, numbers: Integers) -> Fields:
        """The samples of these numbers (n,), each the same whichever come with it."""
        counter = Counter(seed=self.seed)
        sequences, frames = np.divmod(np.asarray(numbers, dtype=np.int64), self.frames)
        fields = Background(height=self.height, width=self.width, channels=self.channels).generate(
            counter, sequences, frames
        )
        mask = np.zeros(fields.shape[:3], dtype=np.int64)
        if self.rivers:
            self._add_river(fields, mask, counter, sequences, frames)
        for row in range(self.height // self.spacing):
            for column in range(self.width // self.spacing):
                self._add_system(fields, mask, counter, sequences, frames, row=row, column=column)
        return Fields(fields=fields, mask=mask)

    def _add_system(
        self,
        fields: Floats,
        mask: Integers,
        counter: Counter,
        sequences: Integers,
        frames: Integers,
        *,
        row: int,
        column: int,
    ) -> None:
        draws = counter.uniform(f"system {row} {column}", sequences, 9)
        place, pace = draws[:, 0:2] - 0.5, draws[:, 2:4] - 0.5
        cells = self.height / (self.height // self.spacing), self.width / (self.width // self.spacing)
        middles = np.array([row + 0.5, column + 0.5]) * cells + self.spacing * 0.3 * place
        middles += frames[:, np.newaxis] * (
            pace + np.array([0.0, 1.0])
        )  # all are carried east, none far from its neighbours
        north, east = offsets(middles, height=self.height, width=self.width)
        radius = (self.spacing * (0.16 + 0.08 * draws[:, 4]))[:, np.newaxis, np.newaxis]
        amount = (self.strength * (0.8 + 0.4 * draws[:, 5]))[:, np.newaxis, np.newaxis]
        distance, angle = np.hypot(north, east), np.arctan2(north, east)
        bump = np.exp(-0.5 * (distance / radius) ** 2)
        speed = amount * (distance / radius) * math.exp(0.5) * bump
        direction, cyclone = _directions(angle, kind=draws[:, 6], turn=2 * math.pi * draws[:, 7])
        self._add(fields, WIND, 0.0, wind=(speed * np.cos(direction), speed * np.sin(direction)))
        self._add(fields, PRESSURE, -0.7 * amount * bump)
        self._add(fields, MOISTURE, 0.5 * amount * bump)
        self._add(fields, WARMTH, 0.5 * amount * bump)
        mask[cyclone[:, np.newaxis, np.newaxis] & (distance < 1.6 * radius)] = CYCLONE

    def _add_river(
        self, fields: Floats, mask: Integers, counter: Counter, sequences: Integers, frames: Integers
    ) -> None:
        draws = counter.uniform("river", sequences, 7)
        size = min(self.height, self.width)
        middles = draws[:, 0:2] * (self.height, self.width) + frames[:, np.newaxis] * np.array([0.0, 1.0])
        north, east = offsets(middles, height=self.height, width=self.width)
        heading = (2 * math.pi * draws[:, 2])[:, np.newaxis, np.newaxis]
        bend = ((draws[:, 3] - 0.5) * 2.0 / size)[:, np.newaxis, np.newaxis]
        thickness = (self.spacing * (0.08 + 0.05 * draws[:, 4]))[:, np.newaxis, np.newaxis]
        along = east * np.cos(heading) + north * np.sin(heading)
        across = north * np.cos(heading) - east * np.sin(heading) - 0.5 * bend * along**2
        half = 0.4 * size
        end = np.clip((half - np.abs(along)) / thickness, 0.0, 1.0)
        bump = self.strength * end * np.exp(-0.5 * (across / thickness) ** 2)
        river = draws[:, 5] < 0.5
        quarter = np.where(river, 0.0, 0.5 * math.pi)[:, np.newaxis, np.newaxis]
        direction = heading + np.arctan(bend * along) + quarter
        self._add(fields, WIND, 0.0, wind=(bump * np.cos(direction), bump * np.sin(direction)))
        self._add(fields, MOISTURE, bump)
        inside = (np.abs(across) < 1.5 * thickness) & (np.abs(along) < half)
        mask[river[:, np.newaxis, np.newaxis] & inside] = RIVER

    def _add(
        self,
        fields: Floats,
        names: tuple[str, ...],
        amount: Floats | float,
        *,
        wind: tuple[Floats, Floats] | None = None,
    ) -> None:
        if wind is not None:
            for pair in (("u850", "v850"), ("ubot", "vbot")):
                for name, part in zip(pair, wind, strict=True):
                    self._add(fields, (name,), part)
            return
        for name in names:
            if (channel := CHANNELS.index(name)) < self.channels:
                fields[..., channel] += amount


def _directions(angle: Floats, *, kind: Floats, turn: Floats) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Where the wind blows at each angle around the middle (n, height, width), and which systems are cyclones (n,).

    Angles count from east to north, so a turn to the left is a quarter more than the way out.
    """
    cyclone = kind < CYCLONES
    other = np.floor((kind - CYCLONES) / (1 - CYCLONES) * 3)
    quarter = 0.5 * math.pi
    out = angle + np.select([cyclone, other == 0, other == 1], [quarter, -quarter, 0.0], 0.0)[:, np.newaxis, np.newaxis]
    saddle = turn[:, np.newaxis, np.newaxis] - angle
    return np.where((other == 2)[:, np.newaxis, np.newaxis], saddle, out), cyclone
