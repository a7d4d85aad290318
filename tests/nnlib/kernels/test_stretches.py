"""Loops over the rows of images cut short stretch by stretch: times and counters are those of the plain simulation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.convolutions.im2col import Col2im, Im2col
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.simulation import simulate
from nnlib.kernels.window import Window
from sim.chip import stretch
from sim.chip.counters import KernelTiming
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec

pytestmark = pytest.mark.timing


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    """With little room in the LDM, so that small images have many rows to go through."""
    return load_machine("sunway_taihulight", ["processor.cpe.ldm=1KiB"]).processor


def both(kernel: Kernel, processor: ProcessorSpec) -> tuple[KernelTiming, KernelTiming]:
    """Cut short, and all simulated; the same but for what is said of the loops."""
    short, plain = simulate(kernel, processor=processor), simulate(kernel, processor=processor, plainly=True)
    assert replace(short, loops=()) == replace(plain, loops=())
    return short, plain


def image(height: int, width: int, channels: int, kernel: tuple[int, int]) -> Window:
    return Window(batch=1, height=height, width=width, channels=channels, kernel=kernel)


def look_sooner(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short loops are looked at, too, and for long."""
    for name, value in (("LEAST_ITERATIONS", 8), ("LEAST_PERIOD", 3), ("PATIENCE", 400), ("PATIENT_SHARE", 1)):
        monkeypatch.setattr(stretch, name, value)


def test_rows_of_one_image_repeat_between_its_edges(processor: ProcessorSpec) -> None:
    short, _ = both(Im2col(image(160, 81, 4, (5, 5)), "fp64"), processor)
    (loop,) = short.loops
    assert (loop.iterations, loop.watched) == (751, True)
    assert loop.simulated < 20


@pytest.mark.slow
def test_stretches_follow_one_another(processor: ProcessorSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """From one edge to the next, and again after it."""
    skipped: list[int] = []
    plain = stretch.Stretches.skip

    def skip(self: stretch.Stretches, iteration: int) -> int:
        skipped.append(plain(self, iteration))
        return skipped[-1]

    monkeypatch.setattr(stretch.Stretches, "skip", skip)
    short, _ = both(Col2im(image(160, 81, 4, (5, 5)), "fp64"), processor)
    assert short.loops[0].simulated < 0.5 * short.loops[0].iterations
    assert sum(each > 0 for each in skipped) > 1


def test_a_loop_that_never_repeats_is_left_alone_after_a_while(
    processor: ProcessorSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_sooner(monkeypatch)
    monkeypatch.setattr(stretch, "PATIENCE", 5)
    looked: list[int] = []
    plain = stretch.relative_state

    def counted(*where: Any, **how: Any) -> Any:
        looked.append(1)
        return plain(*where, **how)

    monkeypatch.setattr(stretch, "relative_state", counted)
    short, _ = both(Im2col(image(96, 40, 4, (3, 3)), "fp64"), processor)
    assert len(looked) == 6
    assert short.loops[0].simulated == short.loops[0].iterations


def test_what_lies_ahead_decides_how_often(processor: ProcessorSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """If rows were taken to be alike up to the end, the time would be another."""
    look_sooner(monkeypatch)
    kernel = Col2im(Window(batch=1, height=128, width=32, channels=8, kernel=(3, 1), padding=1), "fp64")
    short, plain = both(kernel, processor)
    assert short.loops[0].simulated < short.loops[0].iterations

    def to_the_end(self: stretch.Stretches, earlier: int, now: int) -> int:
        return (self.steady.stop - now) // (now - earlier)

    monkeypatch.setattr(stretch.Stretches, "_times", to_the_end)
    assert simulate(kernel, processor=processor).ticks != plain.ticks


@settings(max_examples=25, deadline=None)
@given(
    kind=st.sampled_from([Im2col, Col2im]),
    batch=st.integers(1, 2),
    shape=st.tuples(st.integers(8, 90), st.integers(8, 60), st.sampled_from([1, 3, 4, 8])),
    kernel=st.sampled_from([(1, 1), (3, 3), (5, 2), (1, 7)]),
    stride=st.integers(1, 2),
    padding=st.integers(0, 2),
    dtype=st.sampled_from(["fp32", "fp64"]),
)
def test_no_time_and_no_counter_depends_on_it(
    processor: ProcessorSpec,
    kind: type[Im2col] | type[Col2im],
    batch: int,
    shape: tuple[int, int, int],
    kernel: tuple[int, int],
    stride: int,
    padding: int,
    dtype: Any,
) -> None:
    height, width, channels = shape
    window = Window(batch, height, width, channels, kernel, stride, padding)
    with pytest.MonkeyPatch.context() as monkeypatch:
        look_sooner(monkeypatch)
        both(kind(window, dtype), processor)
