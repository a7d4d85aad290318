"""LU factorisations compute the solution; their time over all steps equals the run of every process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.network.ranks import run as run_schedule
from sim.network.reduction import ReductionCost
from sim.network.schedule import Schedule, Step
from tests.workloads.hpc.lu_cases import clock, costs, machine, matrix
from workloads.hpc.block_times import BlockTimes
from workloads.hpc.durations import Picoseconds
from workloads.hpc.hpl_spec import HplMapping, fitting_leaf, grid_rows
from workloads.hpc.lu_kernels import LuKernels, update_kernel
from workloads.hpc.lu_matrix import permutation
from workloads.hpc.lu_run import LuRun, back_substitute, scaled_residual
from workloads.hpc.lu_timing import losses, time_factorisation
from workloads.hpc.message_pattern import pattern_of
from workloads.hpc.process_grid import blocks_from

choices = st.fixed_dictionaries(
    {
        "broadcast": st.sampled_from(["ring", "ring_modified", "two_rings_modified", "long"]),
        "swap": st.sampled_from(["spread_roll", "binary_exchange"]),
        "swap_overlapped": st.booleans(),
        "lookahead": st.integers(0, 1),
        "process": st.sampled_from(["core_group", "node"]),
        "order": st.sampled_from(["column_major", "row_major"]),
        "persistent_threads": st.booleans(),
        "pivots_eager": st.booleans(),
    }
)


@pytest.mark.slow
@pytest.mark.timing
@settings(max_examples=20, deadline=None)
@given(blocks=st.integers(1, 23), rows=st.integers(1, 4), columns=st.integers(1, 6), chosen=choices)
def test_the_recurrence_over_steps_is_the_run_of_every_process(
    blocks: int, rows: int, columns: int, chosen: dict[str, Any]
) -> None:
    case = costs(blocks=blocks, block=16, rows=rows, columns=columns, **chosen)
    every = LuRun(case)
    every.factorise()
    timing = time_factorisation(case)
    np.testing.assert_array_equal(timing.factorised, every.clocks.max(axis=0))
    assert timing.picoseconds == every.clocks.max() + case.back_substitution
    assert sum(timing.shares.values()) == pytest.approx(1)
    lost = losses(case, timing)
    assert timing.shares["arithmetic_at_peak"] + sum(lost.values()) == pytest.approx(1)
    assert min(lost["broadcast"], lost["panel"]) >= 0


@pytest.mark.timing
def test_losses_are_what_the_run_is_shorter_by_without_their_cause() -> None:
    """The run of every process with messages that take no time, then with panels that take none either."""

    class Free(LuRun):
        def broadcast(self, k: int, *, posted: Picoseconds) -> Picoseconds:
            ready = self.clocks[:, k % self.costs.problem.grid.columns]
            return np.repeat(ready[:, None], self.costs.problem.grid.columns, axis=1)

    class FreeOfPanels(Free):
        def panel(self, k: int) -> None:
            q = k % self.costs.problem.grid.columns
            self.clocks[:, q] = self.clocks[:, q].max()

    case = costs(blocks=23, block=16, rows=3, columns=5, broadcast="ring_modified")
    timing = time_factorisation(case)
    finished = []
    for kind in (LuRun, Free, FreeOfPanels):
        run = kind(case)
        run.factorise()
        finished.append(int(run.clocks.max()))
    lost = losses(case, timing)
    assert lost["broadcast"] == pytest.approx((finished[0] - finished[1]) / timing.picoseconds, rel=1e-12)
    assert lost["panel"] == pytest.approx((finished[1] - finished[2]) / timing.picoseconds, rel=1e-12)
    assert min(lost.values()) > 0


@pytest.mark.timing
def test_a_kernel_that_is_slower_with_fewer_rows_holds_up_its_column() -> None:
    """Small tiles have another plan; the process with a block less may then be the last one."""
    case = costs(blocks=12, block=16, rows=2, columns=3)
    every = LuRun(case)
    every.factorise()
    np.testing.assert_array_equal(time_factorisation(case).factorised, every.clocks.max(axis=0))


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("blocks", "block", "rows", "columns", "chosen"),
    [
        (1, 16, 1, 1, {}),
        pytest.param(9, 8, 1, 4, {}, marks=pytest.mark.slow),
        pytest.param(12, 16, 2, 3, {"lookahead": 0}, marks=pytest.mark.slow),
        (8, 16, 4, 4, {}),
        pytest.param(20, 16, 4, 4, {}, marks=pytest.mark.slow),
        pytest.param(13, 16, 3, 4, {"swap": "binary_exchange", "broadcast": "ring"}, marks=pytest.mark.slow),
        pytest.param(10, 16, 4, 1, {"leaf": 16}, marks=pytest.mark.slow),
    ],
)
def test_it_solves_the_system(blocks: int, block: int, rows: int, columns: int, chosen: dict[str, Any]) -> None:
    case = costs(blocks=blocks, block=block, rows=rows, columns=columns, **chosen)
    system = matrix(case)
    LuRun(case, system).factorise()
    x = back_substitute(system)
    assert scaled_residual(system.matrix, x, system.right) < 16
    np.testing.assert_allclose(x, np.linalg.solve(system.matrix, system.right), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.numeric
def test_the_pivots_are_those_of_partial_pivoting() -> None:
    """On any grid the factors are those of one process, and rows are chosen by the largest number."""
    found = []
    for rows, columns in ((1, 1), (3, 2), (4, 4)):
        case = costs(blocks=6, block=8, rows=rows, columns=columns)
        system = matrix(case, seed=3)
        LuRun(case, system).factorise()
        found.append(np.concatenate([system.panels[k].pivots for k in range(6)]))
        for panel in system.panels.values():
            assert max(np.abs(part).max(initial=0) for part in panel.below) <= 1
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])
    first = np.abs(matrix(costs(blocks=6, block=8, rows=1, columns=1), seed=3).matrix[:, 0]).argmax()
    assert found[0][0] == first


@pytest.mark.numeric
def test_without_pivoting_it_would_fail() -> None:
    """A zero on the diagonal is exchanged away; numbers of the products in the tiles are those of whole products."""
    case = costs(blocks=3, block=16, rows=2, columns=2)
    solutions = []
    for numerics in ("layer", "tile"):
        system = matrix(case, numerics=numerics)
        system.matrix[0, 0] = 0.0
        system.parts[0, 0][0, 0] = 0.0
        LuRun(case, system).factorise()
        solutions.append(back_substitute(system))
    np.testing.assert_allclose(solutions[1], solutions[0], rtol=1e-10)
    assert scaled_residual(system.matrix, solutions[1], system.right) < 16


@pytest.mark.numeric
def test_messages_are_those_that_are_timed() -> None:
    """Agreements and panels to the byte; rows, whose holders the pivots decide, as many as there can be at most."""
    case = costs(blocks=8, block=16, rows=4, columns=2)
    system = matrix(case)
    LuRun(case, system).factorise()
    # two doublings of four processes for each of 128 columns; two rows and four numbers in each message
    assert system.sent["pivot"] == 128 * 2 * 4
    assert system.sent["pivot bytes"] == 128 * 2 * 4 * (4 + 2 * 16) * 8
    sizes = [case.panel_bytes(np.array(case.rows_of(p, k + 1))) for k in range(8) for p in range(4)]
    assert system.sent["panel"] == len(sizes)
    assert system.sent["panel bytes"] == sum(int(each) for each in sizes)
    rows = sum(16 * (16 * (case.problem.blocks - 1 - k) + 1) * 8 for k in range(8))
    assert 0.4 * rows < system.sent["spread bytes"] <= rows
    assert system.sent["roll bytes"] == 3 * rows


def test_grids_have_a_power_of_two_of_rows_unless_they_were_too_flat() -> None:
    assert [grid_rows(processes) for processes in (1, 4, 16, 163_840, 12, 7 * 13, 4 * 37)] == [1, 2, 4, 256, 2, 7, 4]
    assert [fitting_leaf(block, 8) for block in (256, 384, 7, 9)] == [8, 6, 7, 9]


def test_permutation_is_of_exchanges_one_after_the_other() -> None:
    rows = np.arange(10)
    pivots = np.array([7, 4, 7, 5])
    source, place = permutation(np.arange(2, 6), pivots)
    expected = rows.copy()
    for upper, lower in zip(range(2, 6), pivots.tolist(), strict=True):
        expected[[upper, lower]] = expected[[lower, upper]]
    np.testing.assert_array_equal(expected[2:6], source)
    for row, came_from in place.items():
        assert expected[row] == came_from


@given(blocks=st.integers(1, 50), first=st.integers(0, 50), places=st.integers(1, 7))
def test_blocks_are_dealt_out_in_turn(blocks: int, first: int, places: int) -> None:
    for place in range(places):
        expected = sum(number % places == place for number in range(first, blocks))
        if first <= blocks:
            assert blocks_from(first, blocks=blocks, place=place, places=places) == expected


@pytest.mark.timing
@pytest.mark.parametrize(("columns", "block", "count"), [(512, 256, 75), (256, 256, 31), (1, 256, 20), (128, 64, 37)])
def test_times_continued_by_blocks_are_simulated_ones(columns: int, block: int, count: int) -> None:
    processor = machine().processor
    times = BlockTimes(
        clock(),
        lambda rows: update_kernel(columns=columns, rows=rows * block, depth=block, processor=processor),
        steady_from=1 + 128 // block,
    )
    found = int(times.of(np.array([count]))[0])
    assert len(times.ticks) < count
    kernel = update_kernel(columns=columns, rows=count * block, depth=block, processor=processor)
    assert found == round(clock().time(kernel).ticks * 1e9 / processor.clock_hertz)


@pytest.mark.timing
def test_the_update_is_as_fast_as_memory_lets_it() -> None:
    """16 B of each number there and back, 4 B of the lower operand for 512 flops at 27 GB/s: 0.74 ns of 0.69 + ..."""
    kernels = LuKernels(256, HplMapping(), clock())
    seconds = float(kernels.update(np.array(150), np.array(96), np.array(0))) / 1e12
    flops = 2 * 150 * 256 * 96 * 256 * 256
    assert flops / seconds / machine().processor.core_group_cpe_peak_flops == pytest.approx(0.884, abs=0.005)


@pytest.mark.timing
def test_a_pattern_is_a_step_of_a_schedule() -> None:
    """Messages of all process columns at once, as the network runs them."""
    case = costs(blocks=4, block=16, rows=40, columns=16)
    topology = case.messages.topology
    source, destination = case.messages.grid.within_columns(np.arange(40), (np.arange(40) + 3) % 40)
    pattern = pattern_of(topology=topology, protocol=case.messages.protocol, source=source, destination=destination)
    for size in (0, 1, 500, 4095, 4096, 100_000):
        steps = [Step(source, destination, np.zeros(640, dtype=np.int64), np.full(640, size), False, "shift")]
        schedule = Schedule(name="shift", ranks=640, elements=max(size, 1), steps=steps.__iter__)
        result = run_schedule(
            schedule,
            topology=topology,
            protocol=case.messages.protocol,
            reduction=ReductionCost(seconds_per_byte=0.0),
            start=np.zeros(640),
            item_bytes=1,
        )
        assert int(pattern.picoseconds(np.array(size))) == round(result.finish.max() * 1e12)


@pytest.mark.slow
@pytest.mark.timing
def test_choices_do_what_they_should() -> None:
    def seconds(**chosen: Any) -> float:
        return time_factorisation(costs(blocks=40, block=64, rows=4, columns=8, leaf=8, **chosen)).seconds

    base = seconds()
    assert seconds(lookahead=0) > base
    assert seconds(swap="binary_exchange") > base
    assert seconds(swap_overlapped=True) < base
    assert seconds(persistent_threads=False) > base
    assert seconds(pivots_eager=True) < base or base == seconds(pivots_eager=False)
    assert seconds(kernel_fraction=1.0) < base < seconds(kernel_fraction=0.01)


def test_a_run_of_every_process_is_refused_for_many() -> None:
    with pytest.raises(ValueError, match="at most 256"):
        LuRun(costs(blocks=2, block=16, rows=17, columns=16))
