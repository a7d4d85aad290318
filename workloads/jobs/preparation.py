"""What the managing cores do to samples before the network takes them, as instructions per number.

An MPE issues one instruction after another here, each waiting for the one before: addresses, loads and conversions of
such loops depend on each other. Latencies are those of the CPEs' pipeline, which has the same instructions and clock.
The host of other devices does so many instructions of any kind in a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from sim.machine.roofline_spec import RooflineSpec
from sim.machine.spec import ProcessorSpec
from workloads.datasets.storage import StoredSample


@dataclass(frozen=True, kw_only=True)
class Instructions:
    """How many instructions of each kind; ``integer`` ones include address arithmetic, stores and the loop's own."""

    integer: int = 0
    integer_multiply: int = 0
    load: int = 0
    floating: int = 0

    def cycles(self, processor: ProcessorSpec) -> int:
        """One after another."""
        pipeline = processor.cpe.pipeline
        return (
            self.integer * pipeline.integer
            + self.integer_multiply * pipeline.integer_multiply
            + self.load * pipeline.load
            + self.floating * pipeline.floating
        )

    def then(self, other: Instructions) -> Instructions:
        """Both, one after the other."""
        return Instructions(
            **{field.name: getattr(self, field.name) + getattr(other, field.name) for field in fields(self)}
        )

    @property
    def count(self) -> int:
        """All of them."""
        return self.integer + self.integer_multiply + self.load + self.floating

    def seconds(self, computing: ProcessorSpec | RooflineSpec) -> float:
        """On an MPE, or on a core of the host."""
        if isinstance(computing, RooflineSpec):
            return self.count / (computing.host.instructions_per_cycle * computing.host.clock_hertz)
        return self.cycles(computing) / computing.clock_hertz


TRANSFORM: Final = Instructions(integer=14, integer_multiply=4, load=3, floating=3)
"""Caffe's transformation of one number of an image: cut out, less a mean, scaled.

The index of the pixel, ((c H + h) W + w) with two offsets, and that of the result take two multiplications each and six
additions together. The pixel, its mean, and the number on its way through memory from an integer to a real register are
loaded; three additions more make addresses, two numbers are stored. Conversion, subtraction and scaling are floating.
Increment, comparison and branch close the loop; what it tests is taken to have been moved out of it.
"""
DECODE: Final = Instructions(integer=25, integer_multiply=2, load=4, floating=0)
"""Decoding one number of a JPEG image, an estimate: Huffman codes, an 8 x 8 inverse cosine transform with about 11
multiplications and 29 additions per 8 numbers and direction, and the colours.
"""
SPECTROGRAM: Final = Instructions(integer=40, load=40, floating=72)
"""One number of a spectrogram of 161 frequencies, an estimate: its part of a real transform of 512 points, 2.5 n log2 n
operations in all, each with less than one load and one address.
"""


def preparation(stored: StoredSample) -> Instructions:
    """Of one number of a stored sample: spectrograms of recordings; of others Caffe's, decoded first if packed."""
    if stored.audio:
        return SPECTROGRAM
    return DECODE.then(TRANSFORM) if stored.packed else TRANSFORM
