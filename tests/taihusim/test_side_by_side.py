"""Jobs in processes of their own: results in order, words on the way, failures, and an end when it is asked for."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from sim.problems import BadInput, Problem
from taihusim.side_by_side import Say, Stop, processors, side_by_side

pytestmark = pytest.mark.skipif(processors() == 1 and not hasattr(os, "fork"), reason="processes are forked")


def run(jobs: list[Callable[[Say, Stop], Any]], *, processes: int = 2, **how: Any) -> list[Any]:
    how = {"heard": lambda _: None, "finished": lambda _: None, "stop": lambda: False} | how
    return side_by_side(jobs, processes=processes, **how)


def until_told(say: Say, stop: Stop, *, name: str) -> None:
    say(name)
    while not stop():
        time.sleep(0.01)
    raise KeyboardInterrupt(f"{name} stopped")


@pytest.mark.parametrize("processes", [1, 2, 5])
def test_results_come_in_the_order_of_the_jobs(processes: int) -> None:
    words: list[int] = []
    done: list[int] = []

    def job(number: int, say: Say, _: Stop) -> tuple[int, int]:
        say(number)
        return number, os.getpid()

    found = run(
        [partial(job, each) for each in range(5)], processes=processes, heard=words.append, finished=done.append
    )
    assert [number for number, _ in found] == [0, 1, 2, 3, 4]
    assert len({process for _, process in found} | {os.getpid()}) == 6
    assert sorted(words) == [0, 1, 2, 3, 4]
    assert sorted(done) == found


def test_no_more_run_at_a_time_than_may() -> None:
    def job(_: Say, __: Stop) -> tuple[float, float]:
        begin = time.monotonic()
        time.sleep(0.1)
        return begin, time.monotonic()

    spans = run([job] * 5, processes=2)
    for begin, _ in spans:
        assert sum(first <= begin < last for first, last in spans) <= 2


@pytest.mark.parametrize("error", [BadInput([Problem(file="a", key="b", value=1, expected="c")]), OSError(28, "full")])
def test_a_failure_is_raised_as_it_is_and_ends_the_others(error: Exception) -> None:
    def fails(_: Say, __: Stop) -> None:
        time.sleep(0.2)
        raise error

    begin = time.monotonic()
    with pytest.raises(type(error)) as caught:
        run([fails, lambda say, stop: time.sleep(60)])
    assert str(caught.value) == str(error)
    assert "raise error" in caught.value.__notes__[0]
    assert time.monotonic() - begin < 30


def test_a_process_that_dies_is_said() -> None:
    with pytest.raises(RuntimeError, match=r"without a result \(exit code -9\)"):
        run([lambda say, stop: os.kill(os.getpid(), signal.SIGKILL)])


def test_what_cannot_be_sent_is_told_in_words() -> None:
    class Own(Exception):
        pass

    def fails(_: Say, __: Stop) -> None:
        raise Own("no module has it")

    with pytest.raises(RuntimeError, match="Own: no module has it"):
        run([fails])


def test_all_stop_when_it_is_asked_for() -> None:
    words: list[str] = []
    jobs = [partial(until_told, name=name) for name in ("a", "b", "never begun")]
    with pytest.raises(KeyboardInterrupt) as caught:
        run(jobs, heard=words.append, stop=lambda: len(words) == 2)
    assert sorted(words) == ["a", "b"]
    assert sorted(str(caught.value).split("; ")) == ["a stopped", "b stopped"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_one_process_stops_all(number: signal.Signals) -> None:
    def signalled(say: Say, stop: Stop) -> None:
        os.kill(os.getpid(), number)
        until_told(say, stop, name="a")

    with pytest.raises(KeyboardInterrupt) as caught:
        run([signalled, partial(until_told, name="b")])
    assert sorted(str(caught.value).split("; ")) == ["a stopped", "b stopped"]
