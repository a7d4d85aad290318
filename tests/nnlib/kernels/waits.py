"""No wait of a kernel may be left out: a program that forgets one is an error by name."""

from __future__ import annotations

from typing import Final

import pytest

from nnlib.kernels.kernel import Kernel
from nnlib.kernels.simulation import place
from sim.chip.core_group import CoreGroup, Transfer
from sim.chip.errors import ChipError
from sim.machine.spec import ProcessorSpec

ENDS: Final = 3
EVERY: Final = 5


class _DropsOneWait(CoreGroup):
    """A core group that forgets the wait for one transfer."""

    forgotten = -1

    def wait(self, *transfers: Transfer) -> None:
        super().wait(*(transfer for transfer in transfers if transfer.number != self.forgotten))


def check_every_wait(kernel: Kernel, processor: ProcessorSpec, *, more_than: int) -> None:
    """Forget waits in turn, one each time; there have to be more than ``more_than`` in all.

    Of each kind (:attr:`Transfer.label`) the first and last few, where loops begin and end, and every fifth.
    """

    def to_end(forgotten: int) -> list[str]:
        group = _DropsOneWait(processor=processor, numerics=False)
        group.forgotten = forgotten
        kernel.program(group, place(kernel, alignment=128))
        labels = [transfer.label for transfer in group.transfers]
        group.finish()
        return labels

    labels = to_end(-1)
    assert len(labels) > more_than
    kinds: dict[str, list[int]] = {}
    for number, label in enumerate(labels):
        kinds.setdefault(label, []).append(number)
    for numbers in kinds.values():
        for number in sorted({*numbers[:ENDS], *numbers[-ENDS:], *numbers[::EVERY]}):
            with pytest.raises(ChipError):
                to_end(number)
