"""Jobs in processes of their own, several at a time: what they say on the way comes back to the one that waits.

Processes are forked: a job is any function, with all that it refers to. Where the system cannot fork there are none.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Final, TypeVar

from nnlib.ops.processors import allowed_processors

Result = TypeVar("Result")
Say = Callable[[Any], None]
Stop = Callable[[], bool]
Job = Callable[[Say, Stop], Result]

LOOK_SECONDS: Final = 0.1
"""How often the one that waits looks whether it is to stop."""


def processors() -> int:
    """How many processes run at a time: as many as this one may use processors, one where it cannot fork."""
    if sys.platform == "win32" or sys.platform == "darwin" or not hasattr(os, "fork"):
        return 1
    return allowed_processors()


def side_by_side(
    jobs: Sequence[Job[Result]],
    *,
    processes: int,
    heard: Callable[[Any], None],
    finished: Callable[[Result], object],
    stop: Stop,
) -> list[Result]:
    """The results of ``jobs``, begun in their order, ``processes`` at a time.

    ``heard`` is told what jobs say, ``finished`` their results as they come. Once ``stop`` returns true, or a job
    stops, no job is begun any more, those under way are told, and KeyboardInterrupt is raised with what they answer. If
    a job fails the others are ended and its exception is raised; RuntimeError if a process ends without a word.
    """
    results: dict[int, Result] = {}
    answers: list[str] = []
    left = deque(range(len(jobs)))
    running: dict[Connection, tuple[int, BaseProcess]] = {}
    told = False
    try:
        while running or (left and not told):
            if not told and (stop() or answers):
                told = True
                for connection in running:
                    with suppress(OSError):  # it has just ended
                        connection.send(None)
            while left and not told and len(running) < processes:
                number = left.popleft()
                connection, process = _begun(jobs[number])
                running[connection] = number, process
            for ready in wait(list(running), timeout=LOOK_SECONDS):
                assert isinstance(ready, Connection)
                number, process = running[ready]
                kind, what = _word(ready, process)
                if kind == "said":
                    heard(what)
                    continue
                del running[ready]
                process.join()
                if kind == "failed":
                    raise what
                if kind == "stopped":
                    answers.append(what)
                    continue
                results[number] = what
                finished(what)
    finally:
        for _, process in running.values():
            process.kill()
            process.join()
    if told or answers:
        raise KeyboardInterrupt("; ".join(answers))
    return [results[number] for number in range(len(jobs))]


def _word(connection: Connection, process: BaseProcess) -> tuple[str, Any]:
    """What a process says next. Raises RuntimeError if it has ended instead."""
    try:
        kind, what = connection.recv()
    except (EOFError, OSError):
        process.join()
        raise RuntimeError(f"a process has ended without a result (exit code {process.exitcode})") from None
    return kind, what


def _begun(job: Job[Any]) -> tuple[Connection, BaseProcess]:
    """A process that does the job, and where to hear from it."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_do, args=(job, here, there), daemon=True)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    with warnings.catch_warnings():
        # newer Pythons warn of threads, which a forked process does not have: jobs write nothing but to their pipe
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    there.close()
    return here, process


def _do(job: Job[Any], here: Connection, there: Connection) -> None:
    """In the process: the job, and how it ended. Signals ask it to stop, as the one that waits does."""
    here.close()
    asked: list[int] = []
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: asked.append(number))

    def stop() -> bool:
        # the pipe also has something to read when the one that waits is gone
        return bool(asked) or there.poll()

    try:
        there.send(("done", job(lambda what: there.send(("said", what)), stop)))
    except KeyboardInterrupt as interrupt:
        there.send(("stopped", str(interrupt)))
    except BrokenPipeError:
        pass
    except Exception as error:
        error.add_note(traceback.format_exc())
        try:
            there.send(("failed", error))
        except (pickle.PicklingError, TypeError, AttributeError):  # what cannot be sent is told in words
            there.send(("failed", RuntimeError(f"{type(error).__name__}: {error}")))
