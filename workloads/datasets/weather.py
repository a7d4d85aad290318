"""The weather behind the storms: fields of correlated noise that drift, joined at opposite edges."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from workloads.datasets.counter import Counter, Floats, Integers


@dataclass(frozen=True, kw_only=True)
class Background:
    """Noise in ``channels`` channels, each of mean 0 and variance about 1; the first two are the winds.

    The power of a field falls with the wave number k as (1 + (k · ``length`` / 2π)²)^-2: smooth below ``length``
    pixels. The winds are those of a stream function, free of sources, as large-scale winds nearly are; the other
    channels share a part of it (winds blow along the lines of equal pressure), and each has a little noise at every
    pixel.
    """

    height: int
    width: int
    channels: int
    length: float = 12.0
    shared: float = 0.4
    grain: float = 0.2

    def generate(self, counter: Counter, sequences: Integers, frames: Integers) -> Floats:
        """Fields (n, height, width, channels) for frames (n,) of sequences (n,)."""
        distinct, own = np.unique(sequences, return_inverse=True)
        fields = self.channels - 1  # the stream function gives two
        white = np.fft.rfft2(counter.normal("weather", distinct, fields, self.height, self.width))
        north, east = self._waves
        white *= 1.0 / (1.0 + (north**2 + east**2) * (self.length / (2 * math.pi)) ** 2)
        white[..., 0, 0] = 0.0
        white[..., (np.abs(north) >= math.pi) | (east >= math.pi)] = 0.0  # waves that cannot drift by parts of a pixel
        drift = counter.normal("drift", sequences, 2) * 0.5 + (0.0, 1.0)
        moved = (drift * frames[:, np.newaxis])[:, :, np.newaxis, np.newaxis]
        red = white[own] * np.exp(-1j * (north * moved[:, 0] + east * moved[:, 1]))[:, np.newaxis]
        stream, rest = red[:, :1], self._unit(red)
        rest[:, 1:] *= math.sqrt(1 - self.shared**2)
        rest[:, 1:] += self.shared * rest[:, :1]
        winds = [self._unit(-1j * north * stream), self._unit(1j * east * stream)]
        numbers = sequences * 2**20 + frames  # the grain does not drift: it is drawn anew for each frame
        result = counter.normal("grain", numbers, self.height, self.width, self.channels)
        result *= self.grain
        smooth = np.concatenate([*winds, rest[:, 1:]], axis=1)
        result += math.sqrt(1 - self.grain**2) * np.moveaxis(smooth, 1, -1)
        return result

    @property
    def _waves(self) -> tuple[Floats, Floats]:
        """Wave numbers in radians per pixel to the north (height, 1) and to the east (1, width // 2 + 1)."""
        north: Floats = (2 * math.pi * np.fft.fftfreq(self.height)).astype(np.float64)
        east: Floats = (2 * math.pi * np.fft.rfftfreq(self.width)).astype(np.float64)
        return north[:, np.newaxis], east[np.newaxis]

    def _unit(self, spectrum: npt.NDArray[np.complex128]) -> Floats:
        """The fields of a spectrum, each scaled to variance 1."""
        fields = np.fft.irfft2(spectrum, s=(self.height, self.width))
        scaled: Floats = fields / fields.std(axis=(-2, -1), keepdims=True)
        return scaled


def offsets(middles: Floats, *, height: int, width: int) -> tuple[Floats, Floats]:
    """How far north and east of middles (n, 2) each pixel lies, the shorter way around: (n, height, width) each."""
    north = (np.arange(height) - middles[:, :1] + height / 2) % height - height / 2
    east = (np.arange(width) - middles[:, 1:] + width / 2) % width - width / 2
    shape = (len(middles), height, width)
    return np.broadcast_to(north[:, :, np.newaxis], shape), np.broadcast_to(east[:, np.newaxis, :], shape)
