"""What an element-wise kernel needs to know of its function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from nnlib.precision import DTypeName
from sim.chip.memory import Array
from sim.chip.pipeline.streaming import Body

Numbers: TypeAlias = Sequence[float] | Array
Numerics: TypeAlias = Callable[[Sequence[Array], Sequence[Array], Numbers], object]
"""From the inputs into the outputs, which are other arrays, with hyper-parameters or constants."""


@dataclass(frozen=True)
class Definition:
    """Array names, instructions per vector, flops per element, hyper-parameters in order, and the numbers.

    ``body32``: the instructions in fp32, if others. ``constants``: numbers of the program itself by name, with what
    they are if the kernel does not say; a function has either these or hyper-parameters.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    body: Body
    flops: int
    hyper: tuple[str, ...]
    run: Numerics
    constants: Mapping[str, float] = field(default_factory=dict)
    body32: Body | None = None

    def body_of(self, dtype: DTypeName) -> Body:
        """The instructions per vector in a precision."""
        return self.body if self.body32 is None or dtype == "fp64" else self.body32
