"""The generators as stores of samples: names, shapes and ranges of their arrays."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TypeAlias

from nnlib.batch import Arrays
from workloads.datasets.dataset import Field, Labels
from workloads.datasets.masked_text import MaskedText
from workloads.datasets.stores import GeneratedStore
from workloads.datasets.storms import Storms
from workloads.datasets.text import Text
from workloads.datasets.tones import Tones

TEST_FROM = 2**32
"""Number of the first sample to be judged by: far behind all that are learned from."""

Generator: TypeAlias = Storms | Tones | Text | MaskedText


def generated_fields(generator: Generator) -> Mapping[str, Field]:
    """The arrays of a sample: what a network takes first, what it should find last."""
    match generator:
        case Storms():
            image = (generator.height, generator.width)
            return {"fields": Field((*image, generator.channels)), "mask": Field(image, generator.classes)}
        case Tones():
            return {
                "frames": Field((generator.time, generator.bins)),
                "lengths": Field(()),
                "tones": Field((generator.most,), generator.classes - 1),
            }
        case Text():
            symbols = Field((generator.length,), len(generator.symbols))
            return {"tokens": symbols, "next": symbols}
        case MaskedText():
            symbols = Field((generator.length,), len(generator.symbols))
            segments = Field((generator.length,), 2)
            return {"tokens": symbols, "segments": segments, "masked": symbols, "follows": Field((), 2)}


def generated_store(generator: Generator, *, count: int, test: bool) -> GeneratedStore:
    """``count`` samples to learn from or, with ``test``, to be judged by."""
    return GeneratedStore(generate=partial(_arrays, generator), first=TEST_FROM if test else 0, count=count)


def _arrays(generator: Generator, numbers: Labels) -> Arrays:
    match generator:
        case Storms():
            found = generator.generate(numbers)
            return {"fields": found.fields, "mask": found.mask}
        case Tones():
            heard = generator.generate(numbers)
            # tones are 0, 1, ... here and -1 behind the last; the loss knows the number of its blank
            return {"frames": heard.frames, "lengths": heard.lengths, "tones": heard.labels - 1}
        case Text():
            passages = generator.generate(numbers)
            return {"tokens": passages.tokens, "next": passages.targets}
        case MaskedText():
            pairs = generator.generate(numbers)
            names = ("tokens", "segments", "masked", "follows")
            return {name: getattr(pairs, name) for name in names}
