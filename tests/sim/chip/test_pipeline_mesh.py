"""Scoreboards tied by buses: latency, FIFOs, deadlock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from sim.chip.errors import Deadlock
from sim.chip.pipeline.bus import Bus
from sim.chip.pipeline.instruction import Instruction, integer, load_and_send, receive, send
from sim.chip.pipeline.mesh import MeshRun
from sim.chip.pipeline.scoreboard import Issue
from sim.machine.spec import ProcessorSpec

pytestmark = pytest.mark.timing


def run(processor: ProcessorSpec, *, words: int, sender: Instruction, idle: int = 0) -> tuple[Issue, ...]:
    """The log of CPE (0, 1), which receives what (0, 0) sends on the row, after ``idle`` cycles of its own."""

    def program(row: int, column: int) -> Iterator[Instruction]:
        if row == 0 and column == 0:
            yield from [sender] * words
        elif row == 0:
            for _ in range(idle):
                yield integer("add x", reads=("x",), writes="x")
            for _ in range(words):
                yield receive("getr a", writes="a", bus="row")

    mesh = MeshRun(size=2, program=program, pipeline=processor.cpe.pipeline, mesh=processor.mesh, record=(0, 1))
    mesh.run()
    return mesh.log(row=0, column=1)


def test_a_word_can_be_used_eleven_cycles_after_it_was_sent(processor: ProcessorSpec) -> None:
    log = run(processor, words=2, sender=send("putr a", reads="a", bus="row"))
    taking = processor.cpe.pipeline.register_communication_issue
    assert processor.mesh.latency_cycles == 11
    assert [issue.cycle + taking for issue in log] == [11, 12]
    assert str(log[0].stalls[0]) == "FIFO empty (row) 10"


def test_what_is_loaded_and_sent_comes_a_load_later(processor: ProcessorSpec) -> None:
    log = run(processor, words=1, sender=load_and_send("vldr a", writes="a", address="p", bus="row"))
    assert log[0].cycle + 1 == 11 + processor.cpe.pipeline.vector_load


def sends(processor: ProcessorSpec, *, idle: int) -> list[int]:
    """When each of twelve words enters the sender's FIFO if the receiver starts after ``idle`` cycles."""

    def program(row: int, column: int) -> Iterator[Instruction]:
        if (row, column) == (0, 0):
            yield from [send("putr a", reads="a", bus="row")] * 12
        elif row == 0:
            yield from [integer("add x", reads=("x",), writes="x")] * idle
            yield from [receive("getr a", writes="a", bus="row")] * 12

    mesh = MeshRun(size=2, program=program, pipeline=processor.cpe.pipeline, mesh=processor.mesh, record=(0, 0))
    mesh.run()
    return [issue.cycle for issue in mesh.log(row=0, column=0)]


def test_a_sender_stalls_when_both_fifos_are_full(processor: ProcessorSpec) -> None:
    assert sends(processor, idle=0) == list(range(12))
    # eight places are in the two FIFOs; the ninth word needs the bus to take the fifth, which arrives at a place
    # that the receiver frees in cycle 100, ten cycles after leaving
    assert sends(processor, idle=100) == [*range(8), 90, 91, 92, 93]


def test_a_bus_takes_one_word_per_cycle(processor: ProcessorSpec) -> None:
    bus = Bus(members=3, mesh=processor.mesh, receive_latency=1)
    bus.send(0, 5)
    bus.send(0, 5)
    assert bus.accepted == [5, 6]
    assert bus.arrival(1) == bus.arrival(2) == 15
    assert bus.arrival(0) is None, "a sender does not receive its own words"


def test_a_bus_waits_for_the_slowest_receiver(processor: ProcessorSpec) -> None:
    bus = Bus(members=3, mesh=replace(processor.mesh, fifo_entries=1), receive_latency=1)
    bus.send(0, 0)
    bus.send(0, 1)
    bus.take(1, 20)
    assert bus.accepted == [0], "the other receiver's place is still taken"
    bus.take(2, 30)
    assert bus.accepted == [0, 20]


def test_waiting_for_ever_is_a_deadlock_with_names(processor: ProcessorSpec) -> None:
    def program(row: int, column: int) -> Iterator[Instruction]:
        if (row, column) == (1, 0):
            yield receive("getc b", writes="b", bus="column")

    mesh = MeshRun(size=2, program=program, pipeline=processor.cpe.pipeline, mesh=processor.mesh)
    with pytest.raises(Deadlock, match=r"1 CPEs wait for ever: CPE \(1, 0\) in getc b"):
        mesh.run()
