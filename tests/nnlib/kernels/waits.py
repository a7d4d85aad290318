"""No wait of a kernel may be left out: a program that forgets one is an error by name."""

from __future__ import annotations

import pytest

from nnlib.kernels.clock import place
from nnlib.kernels.kernel import Kernel
from sim.chip.core_group import CoreGroup, Transfer
from sim.chip.errors import ChipError
from sim.machine.spec import ProcessorSpec


class _DropsOneWait(CoreGroup):
    """A core group that forgets the wait for one transfer."""

    forgotten = -1

    def wait(self, *transfers: Transfer) -> None:
        super().wait(*(transfer for transfer in transfers if transfer.number != self.forgotten))


def check_every_wait(kernel: Kernel, processor: ProcessorSpec, *, more_than: int) -> None:
    """Forget each wait in turn; there have to be more than ``more_than``."""

    def to_end(forgotten: int) -> int:
        group = _DropsOneWait(processor=processor, numerics=False)
        group.forgotten = forgotten
        kernel.program(group, place(kernel, alignment=128))
        count = len(group.transfers)
        group.finish()
        return count

    count = to_end(-1)
    assert count > more_than
    for number in range(count):
        with pytest.raises(ChipError):
            to_end(number)
