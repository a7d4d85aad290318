"""The same sharing of disk arrays with a SimPy process for each reader: slow, plain, the measure of the fast one."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import simpy

from sim.storage.sharing import Number, Readers


class _SharedArray:
    """An array whose transfers are looked at one by one whenever one begins or ends."""

    def __init__(self, env: simpy.Environment, *, array_rate: Number, process_rate: Number) -> None:
        self.env = env
        self.array_rate, self.process_rate = array_rate, process_rate
        self.left: dict[simpy.Event, Number] = {}
        self.looked: Number = 0
        self.changed = env.event()
        env.process(self._serve())

    def transfer(self, size: Number) -> simpy.Event:
        """An event that happens when ``size`` bytes have been read."""
        self._look()
        done = self.env.event()
        self.left[done] = size
        self._wake()
        return done

    @property
    def rate(self) -> Number:
        return min(self.process_rate, self.array_rate / len(self.left))

    def _look(self) -> None:
        if self.left:
            moved = (self.env.now - self.looked) * self.rate
            self.left = {event: left - moved for event, left in self.left.items()}
        self.looked = self.env.now

    def _wake(self) -> None:
        changed, self.changed = self.changed, self.env.event()
        changed.succeed()

    def _serve(self) -> Generator[Any, Any, None]:
        while True:
            if not self.left:
                yield self.changed
                continue
            least = min(self.left.values())
            due = [event for event, left in self.left.items() if left == least]
            next_one = self.env.timeout(least / self.rate)
            yield next_one | self.changed
            if next_one.processed:
                self._look()
                for event in due:  # what is left of them is nothing but rounding
                    del self.left[event]
                    event.succeed()


def finish_seconds(
    readers: Sequence[Readers], *, array_rate: Number, process_rate: Number, latency: Number
) -> list[list[Number]]:
    """When every process of each of ``readers`` is through; the arguments are those of the fast one."""
    env = simpy.Environment()
    arrays: dict[int, _SharedArray] = {}
    finish: list[list[Number]] = [[] for _ in readers]

    def read(number: int) -> Generator[Any, Any, None]:
        yield env.timeout(readers[number].start)
        for name, size in readers[number].pieces:
            yield env.timeout(latency)
            if name not in arrays:
                arrays[name] = _SharedArray(env, array_rate=array_rate, process_rate=process_rate)
            yield arrays[name].transfer(size)
        finish[number].append(env.now)

    for number, reader in enumerate(readers):
        for _ in range(reader.count):
            env.process(read(number))
    env.run()
    return finish
