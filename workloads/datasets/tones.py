"""Sequences of gliding tones, to be recognised without being told when each begins.

A tone starts in one of a few registers and glides up, or starts higher and glides down the same way: a frame alone does
not show which, only a few frames after one another do. Tones last differently long and follow one another at once or
after a gap; two of the same may follow one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workloads.datasets.counter import Counter, Floats, Integers

BLANK = 0
"""The class of no tone; tones are 1, 2, ..."""
STEPS, SPAN, WIDTH = 3.0, 5.0, 0.8
"""Bins from register to register, bins a tone glides over, and its width in bins. Registers overlap."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Recordings:
    """Frames (n, time, bins) float64, of which the first ``lengths`` (n,) count, the rest being zero, and the tones.

    ``labels`` (n, tones) int64 has ``counts`` (n,) tones in order, then zeros. ``alignment`` (n, time) says which tone
    each frame belongs to, 0 for none: what a recogniser is not told.
    """

    frames: Floats
    lengths: Integers
    labels: Integers
    counts: Integers
    alignment: Integers


@dataclass(frozen=True, kw_only=True)
class Tones:
    """A generator of recordings of ``fewest`` to ``most`` tones, each ``shortest`` to ``longest`` frames long.

    Tone ``1 + 2 r`` rises in register r and ``2 + 2 r`` falls. A tone's amplitude is 1 at its pitch; ``noise`` is the
    standard deviation of what is added to every bin. Raises ValueError when a range is empty.
    """

    registers: int = 4
    fewest: int = 2
    most: int = 6
    shortest: int = 4
    longest: int = 9
    longest_gap: int = 3
    noise: float = 0.25
    seed: int = 0

    def __post_init__(self) -> None:
        if not (1 <= self.fewest <= self.most and 2 <= self.shortest <= self.longest and self.longest_gap >= 0):
            raise ValueError("at least one tone, of at least two frames, and no range that ends before it begins")
        if self.registers < 1 or self.noise < 0:
            raise ValueError("at least one register, and noise that is not negative")

    @property
    def classes(self) -> int:
        """The tones and the blank."""
        return 1 + 2 * self.registers

    @property
    def bins(self) -> int:
        """The frequencies of a frame."""
        return int(STEPS * (self.registers - 1) + SPAN) + 3

    @property
    def time(self) -> int:
        """The frames of the longest recording."""
        return self.longest_gap + self.most * (self.longest + self.longest_gap)

    def generate(self, numbers: Integers) -> Recordings:
        """The recordings of these numbers (n,), each the same whichever come with it."""
        counter = Counter(seed=self.seed)
        numbers = np.asarray(numbers, dtype=np.int64)
        counts = counter.integers("count", numbers, least=self.fewest, below=self.most + 1)
        heard = np.arange(self.most) < counts[:, np.newaxis]
        labels = np.where(heard, counter.integers("tones", numbers, self.most, least=1, below=self.classes), BLANK)
        lasting = counter.integers("lasting", numbers, self.most, least=self.shortest, below=self.longest + 1)
        gaps = counter.integers("gaps", numbers, self.most + 1, below=self.longest_gap + 1)
        ends = np.cumsum(np.where(heard, lasting + gaps[:, : self.most], 0), axis=1)
        lengths = ends[:, -1] + gaps[:, -1]
        first = ends - lasting
        since = np.arange(self.time)[:, np.newaxis] - first[:, np.newaxis]  # (n, time, tones)
        sounding = (since >= 0) & (since < lasting[:, np.newaxis]) & heard[:, np.newaxis]
        alignment = (sounding * labels[:, np.newaxis]).sum(axis=2)
        share = (sounding * since / (lasting - 1)[:, np.newaxis]).sum(axis=2)
        frames = self._pitched(alignment, share)
        frames += self.noise * counter.normal("noise", numbers, self.time, self.bins)
        frames *= (np.arange(self.time) < lengths[:, np.newaxis])[..., np.newaxis]
        return Recordings(frames=frames, lengths=lengths, labels=labels, counts=counts, alignment=alignment)

    def _pitched(self, alignment: Integers, share: Floats) -> Floats:
        """Frames (n, time, bins) without noise, ``share`` of the way along each one's tone."""
        register, falling = np.divmod(alignment - 1, 2)
        pitch = 1.0 + STEPS * register + SPAN * np.where(falling == 1, 1.0 - share, share)
        distance = np.arange(self.bins) - pitch[..., np.newaxis]
        sound: Floats = np.exp(-0.5 * (distance / WIDTH) ** 2) * (alignment != BLANK)[..., np.newaxis]
        return sound
