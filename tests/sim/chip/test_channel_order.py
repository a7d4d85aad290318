"""A CPE's channel serves its requests in order; CPEs share the engine line by line."""

from __future__ import annotations

from sim.chip.dma_server import Completion, DmaServer

LINE = 10
FOREVER = 1 << 60


def completions(arrivals: list[tuple[int, int, int, int]]) -> list[Completion]:
    """What completes when, of requests (time, CPE, handle, lines)."""
    server, found = DmaServer(), []
    for time, cpe, handle, lines in arrivals:
        while (done := server.advance(time)) is not None:
            found.append(done)
        server.add(time=time, cpe=cpe, handle=handle, lines=lines, quantum=LINE, first=0, channel=0)
    while (done := server.advance(FOREVER)) is not None:
        found.append(done)
    return found


def test_a_short_request_does_not_overtake_a_long_one_of_its_channel() -> None:
    assert completions([(0, 0, 0, 4), (0, 0, 1, 1)]) == [Completion(0, 0, 40), Completion(0, 1, 50)]


def test_another_channel_has_every_other_turn() -> None:
    assert completions([(0, 0, 0, 3), (0, 0, 1, 1), (0, 1, 0, 2)]) == [
        Completion(1, 0, 40),
        Completion(0, 0, 50),
        Completion(0, 1, 60),
    ]


def test_the_next_of_a_channel_goes_behind_who_came_meanwhile() -> None:
    assert completions([(0, 0, 0, 1), (0, 0, 1, 2), (10, 1, 0, 1)]) == [
        Completion(0, 0, 10),
        Completion(1, 0, 20),
        Completion(0, 1, 40),
    ]
