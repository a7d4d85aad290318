"""Conjugate gradients find the direct solution, the same on any number of processes, by the messages that are timed."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from nnlib.kernels.simulation import simulate
from nnlib.kernels.sparse.sparse_rows import COLOURS, NUMBER_BYTES, PassKind, SparseRows, colour_places, neighbours
from sim.network.collectives import collective
from sim.network.topology import Topology
from tests.workloads.hpc.lu_cases import clock, machine
from workloads.hpc.cg_costs import CgCosts, face_sizes
from workloads.hpc.cg_numerics import CgNumerics
from workloads.hpc.cg_spec import HpcgWorkload
from workloads.hpc.conjugate_gradient import ConjugateGradient, flops_per_iteration
from workloads.hpc.hpcg import run_hpcg
from workloads.hpc.process_box import Box, ProcessBox, near_cube

GRID = (8, 16, 8)
SMALL = HpcgWorkload(
    name="small", title="small", points=GRID, levels=2, collective="recursive_doubling", persistent_threads=True
)


def problem(box: Box, *, numerics: Literal["layer", "tile"] = "layer") -> ConjugateGradient:
    """A random right-hand side on GRID, divided over a box of processes, one on each node."""
    z, y, x = (length // each for length, each in zip(GRID, box, strict=True))
    workload = replace(SMALL, points=(z, y, x))
    processes = ProcessBox(box)
    topology = Topology(network=machine().network, nodes=processes.processes)
    right = np.random.default_rng(5).standard_normal(GRID)
    sums = collective("allreduce", workload.collective, topology=topology, elements=1)
    numbers = CgNumerics(workload, processes, sums, machine().processor, right, numerics)
    return ConjugateGradient(CgCosts(workload, processes, topology, clock()), numbers)


@cache
def direct() -> NDArray[np.float64]:
    """By elimination: 26 on the diagonal, -1 for each of up to 26 neighbours."""
    places = list(product(*(range(length) for length in GRID)))
    near = np.array(places)
    distance = np.abs(near[:, None] - near[None]).max(axis=2)
    matrix = np.where(distance == 0, 26.0, np.where(distance == 1, -1.0, 0.0))
    right = np.random.default_rng(5).standard_normal(GRID)
    return np.asarray(np.linalg.solve(matrix, right.ravel()).reshape(GRID))


@pytest.mark.numeric
@pytest.mark.parametrize(
    "box", [(2, 2, 2), *(pytest.param(each, marks=pytest.mark.slow) for each in ((1, 1, 1), (1, 4, 2), (2, 4, 1)))]
)
def test_any_number_of_processes_finds_the_direct_solution(box: Box) -> None:
    found = problem(box)
    iterations = found.solve(40, tolerance=1e-13)
    assert iterations < 25
    assert found.numbers is not None
    np.testing.assert_allclose(found.numbers.solution(), direct(), atol=1e-12)


@pytest.mark.numeric
def test_processes_do_what_one_does_in_every_iteration() -> None:
    """Colours do not depend on the division, so that only sums differ, by rounding."""
    answers = []
    for box in ((1, 1, 1), (2, 2, 2)):
        found = problem(box)
        assert found.solve(3) == 3
        assert found.numbers is not None
        answers.append(found.numbers.solution())
    np.testing.assert_allclose(answers[1], answers[0], atol=1e-15)
    assert np.abs(answers[0] - direct()).max() > 1e-6  # not there yet


@pytest.mark.slow
@pytest.mark.numeric
def test_in_the_tiles_it_is_the_same() -> None:
    answers = []
    for numerics in ("layer", "tile"):
        found = problem((1, 2, 1), numerics=numerics)
        found.solve(2)
        assert found.numbers is not None
        answers.append(found.numbers.solution())
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-12)


@pytest.mark.parametrize("level_shape", [(8, 8, 8), (4, 12, 2)])
def test_messages_are_as_large_as_they_are_timed(level_shape: Box) -> None:
    """All faces, and a colour's, on a box in which every process has one neighbour along each axis."""
    found = problem((2, 2, 2)).numbers
    assert found is not None
    z, y, x = level_shape
    arrays = [np.zeros((z + 2, y + 2, x + 2)) for _ in range(8)]
    found._exchange(arrays)
    assert found.sent["messages"] == 8 * 3
    assert found.sent["bytes"] == 8 * sum(face_sizes(level_shape, colour=False)) * NUMBER_BYTES
    workload = replace(SMALL, points=level_shape, levels=1)
    right = np.zeros(tuple(2 * each for each in level_shape))
    told = CgNumerics(workload, ProcessBox((2, 2, 2)), found.sums, machine().processor, right)
    told._tell(0, 5)
    assert told.sent["messages"] == 4 * 3
    assert told.sent["bytes"] == 4 * sum(face_sizes(level_shape, colour=True)) * NUMBER_BYTES


@pytest.mark.numeric
def test_neighbours_learn_every_point_of_a_colour() -> None:
    """After all colours are told, every layer holds what the neighbours have, corners included."""
    found = problem((2, 2, 2)).numbers
    assert found is not None
    whole = np.pad(np.arange(1.0, 1 + np.prod(GRID)).reshape(GRID), 1)
    z, y, x = found.workload.points
    boxes = [
        whole[a * z : a * z + z + 2, b * y : b * y + y + 2, c * x : c * x + x + 2] for a, b, c in np.ndindex(2, 2, 2)
    ]
    for level, box in zip(found.levels[0], boxes, strict=True):
        level.x[1:-1, 1:-1, 1:-1] = box[1:-1, 1:-1, 1:-1]
    for colour in range(COLOURS):
        found._tell(0, colour)
    for level, box in zip(found.levels[0], boxes, strict=True):
        np.testing.assert_array_equal(level.x, box)


@pytest.mark.numeric
@pytest.mark.parametrize("kind", ["product", "residual"])
@pytest.mark.parametrize("shape", [(2, 2, 2), (8, 6, 4)])
def test_rows_in_the_tiles(kind: PassKind, shape: Box) -> None:
    random = np.random.default_rng(0)
    kernel = SparseRows(kind, shape, 6)
    x = random.standard_normal(kernel.padded)
    arrays: dict[str, NDArray[Any]] = {
        "coefficients": random.standard_normal((kernel.rows, 27)),
        "columns": neighbours(shape, 6),
        "x": x,
        "b": random.standard_normal(kernel.rows),
        "out": np.full(kernel.rows, np.nan),
    }
    kernel.reference(arrays)
    # by definition: the points around each row's own
    around = [
        x[place[0] - 1 : place[0] + 2, place[1] - 1 : place[1] + 2, place[2] - 1 : place[2] + 2].ravel()
        for place in zip(*np.unravel_index(colour_places(shape, 6), kernel.padded), strict=True)
    ]
    expected = (np.array(around) * arrays["coefficients"]).sum(axis=1)
    np.testing.assert_allclose(arrays["out"], expected if kind == "product" else arrays["b"] - expected, rtol=1e-12)


@pytest.mark.timing
def test_a_pass_is_bound_by_memory() -> None:
    """495 B for each row, of which 324 are the matrix, at more than 22 GB/s of the 26.9 of the lines."""
    kernel = SparseRows("smooth", (48, 48, 48), 0)
    timing = simulate(kernel, processor=machine().processor)
    seconds = timing.ticks / 1000 / machine().processor.clock_hertz
    moved = timing.get_bytes + timing.put_bytes
    assert 480 < moved / kernel.rows < 510
    assert 21e9 < moved / seconds < 26.9e9


@pytest.mark.parametrize(
    ("processes", "expected"), [(1, (1, 1, 1)), (12, (2, 2, 3)), (163_840, (40, 64, 64)), (7, (1, 1, 7))]
)
def test_boxes_are_near_cubes(processes: int, expected: Box) -> None:
    assert sorted(near_cube(processes).counts) == sorted(expected)


@pytest.mark.slow
@pytest.mark.timing
def test_the_whole_machine_reaches_a_third_of_a_percent_of_its_peak() -> None:
    """0.3 % of peak in print; the rest is memory's."""
    workload = replace(SMALL, points=(48, 48, 48), levels=3)
    found = run_hpcg(workload, machine=machine(), clock=clock(), nodes=40960)
    assert found.shares["smoother"] > 0.4
    assert sum(found.shares.values()) == pytest.approx(1)
    assert 0.0015 < found.flops_per_second / machine().peak_flops < 0.004
    alone = run_hpcg(workload, machine=machine(), clock=clock(), nodes=1)
    assert alone.seconds < found.seconds < 2 * alone.seconds


def test_operations_of_an_iteration() -> None:
    """Per row: the product, two sweeps there and back and a residual of the finest grid, a sweep of an eighth of it."""
    costs = problem((1, 1, 1)).costs
    rows = 8 * 16 * 8
    assert flops_per_iteration(costs) == rows * (2 * 27 + 12 + 10 * 27) + rows / 8 * 4 * 27
