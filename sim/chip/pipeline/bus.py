"""A row or column bus of the register mesh: broadcasts through send and receive FIFOs, in max-plus arithmetic."""

from __future__ import annotations

from sim.machine.spec import MeshSpec


class Bus:
    """One bus. Times are cycles; a time not known yet, because a CPE has not been simulated so far, is None.

    A word leaves its sender's FIFO when the bus takes it: in order, one per cycle, and not before every receiver
    will have a place when it arrives. It can be taken ``latency`` cycles after that, the receiving instruction's own
    cycle included (sources of the depth and the latency: ``processor.mesh`` of the machine file).
    """

    def __init__(self, *, members: int, mesh: MeshSpec, receive_latency: int) -> None:
        self.depth = mesh.fifo_entries
        self.flight = max(0, mesh.latency_cycles - receive_latency)
        self.offered: list[int] = []
        self.places: list[list[tuple[int, int]]] = []
        self.accepted: list[int] = []
        self.sent_by: list[list[int]] = [[] for _ in range(members)]
        self.queue: list[list[int]] = [[] for _ in range(members)]
        self.taken: list[list[int]] = [[] for _ in range(members)]

    def room(self, sender: int) -> int | None:
        """First cycle in which the sender's FIFO has a free place."""
        own = self.sent_by[sender]
        if len(own) < self.depth:
            return 0
        leaving = own[-self.depth]
        return self.accepted[leaving] if leaving < len(self.accepted) else None

    def send(self, sender: int, cycle: int) -> None:
        """A word enters the sender's FIFO."""
        word = len(self.offered)
        self.offered.append(cycle)
        self.sent_by[sender].append(word)
        self.places.append([(member, len(queue)) for member, queue in enumerate(self.queue) if member != sender])
        for member, _ in self.places[word]:
            self.queue[member].append(word)
        self._accept()

    def arrival(self, receiver: int) -> int | None:
        """First cycle in which the receiver's next word can be taken."""
        position = len(self.taken[receiver])
        queue = self.queue[receiver]
        if position >= len(queue) or queue[position] >= len(self.accepted):
            return None
        return self.accepted[queue[position]] + self.flight

    def take(self, receiver: int, cycle: int) -> None:
        """The receiver takes its next word."""
        self.taken[receiver].append(cycle)
        self._accept()

    def _accept(self) -> None:
        """Work out when the bus takes each word for which that is known by now."""
        while len(self.accepted) < len(self.offered):
            word = len(self.accepted)
            cycle = self.offered[word]
            if self.accepted:
                cycle = max(cycle, self.accepted[-1] + 1)
            for member, position in self.places[word]:
                leaving = position - self.depth
                if leaving < 0:
                    continue
                if leaving >= len(self.taken[member]):
                    return
                cycle = max(cycle, self.taken[member][leaving] - self.flight)
            self.accepted.append(cycle)
