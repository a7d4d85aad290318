"""The time of a training step: kernels, launches, gradients of core groups and of ranks."""

from __future__ import annotations

from itertools import pairwise

import pytest

from nnlib.graph import Graph
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pointwise.elementwise import BiasAdd, Elementwise, Function, SumCopies
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.kernels.rows.softmax import SoftmaxCrossEntropy
from nnlib.layers.activation import ReLU
from nnlib.layers.linear import Linear
from nnlib.lowering import lower_gradients
from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.clip import Clip, ClipByNorm, ClipByValue
from nnlib.optim.lamb import LAMB
from nnlib.optim.lars import LARS
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.sgd import SGD
from sim.network.allreduce import ALGORITHMS
from tests.nnlib.batches import classifier
from tests.workloads.small import kernel_seconds, machine, node_timer
from workloads.jobs.node_build import build_node_step
from workloads.jobs.node_timer import NodeTimer
from workloads.jobs.training_step import StepTiming, time_step

pytestmark = pytest.mark.timing

LAUNCH = 22e-6
SYNC = 1e-6
ONE_LAYER = Graph.chain((64,), [Linear("linear", 10)])
TWO_LAYERS = Graph.chain((64,), [Linear("hidden", 128), ReLU("relu"), Linear("out", 10)])
GRADIENT = 64 * 10 + 10
"""Numbers in the gradient of ONE_LAYER."""


def timed(
    *settings: str,
    nodes: int = 1,
    graph: Graph = TWO_LAYERS,
    batch: int = 4,
    groups: int = 4,
    optimizer: Optimizer | None = None,
    clip: Clip | None = None,
    timer: NodeTimer | None = None,
) -> StepTiming:
    """``batch`` samples on each of ``groups`` core groups."""
    timer = timer or node_timer(*settings, groups=groups)
    optimizer = optimizer or SGD(momentum=0.9)
    program = lower_gradients(model=classifier(graph), batch=batch, dtype=timer.mapping.precision)
    node = build_node_step(timer=timer, program=program, samples=batch, optimizer=optimizer, clip=clip)
    return time_step(node=node, machine=timer.machine, mapping=timer.mapping, nodes=nodes)


def kernels_by_hand(batch: int) -> list[Kernel]:
    """Forward, loss and backward of ONE_LAYER, as a reader of the model would list them."""
    return [
        Gemm(m=batch, n=10, k=64, dtype="fp64"),
        BiasAdd(rows=batch, channels=10, dtype="fp64"),
        SoftmaxCrossEntropy(rows=batch, classes=10, dtype="fp64"),
        Gemm(m=64, n=10, k=batch, dtype="fp64", transpose_a=True),
        ColumnSum(rows=batch, columns=10, dtype="fp64"),
    ]


def exposed(timing: StepTiming) -> float:
    return timing.communication_exposed_seconds


COPY = 1.78e-9
"""Seconds per byte of short messages, copied at both ends."""


def adding(size: int) -> float:
    """Seconds of adding ``size`` bytes on launched CPEs (three streams, and what is fitted) or on the MPE alone."""
    return min(22e-6 + size * (3 * 4.75 / 128 + 0.175) * 1e-9, size * 3.3e-9)


class TestByHand:
    def test_one_core_group(self) -> None:
        """Five launches and the update: nothing is added between core groups or nodes."""
        timer = node_timer(groups=1)
        timing = timed(graph=ONE_LAYER, timer=timer)
        kernels = [*kernels_by_hand(4), Elementwise("sgd", GRADIENT, "fp64")]
        assert timing.launches == 6
        assert timing.seconds == pytest.approx(6 * LAUNCH + kernel_seconds(timer, *kernels), rel=1e-12)
        assert timing.shares["launch"] * timing.seconds == pytest.approx(6 * LAUNCH, rel=1e-12)
        assert "group_sync" not in timing.shares
        assert exposed(timing) == 0

    def test_four_core_groups_meet_add_and_share_the_update(self) -> None:
        """650 numbers: 163 to add and 163 to update for each of the four."""
        timer = node_timer()
        timing = timed(graph=ONE_LAYER, timer=timer)
        kernels = [*kernels_by_hand(4), SumCopies(4, 163, "fp64"), Elementwise("sgd", 163, "fp64")]
        assert timing.launches == 7
        assert timing.seconds == pytest.approx(7 * LAUNCH + SYNC + kernel_seconds(timer, *kernels), rel=1e-12)
        assert timing.shares["group_sync"] * timing.seconds == pytest.approx(SYNC, rel=1e-12)

    def test_two_nodes_exchange_halves(self) -> None:
        """325 numbers (2,600 B, eager) both ways at once, added, and both ways again."""
        one, two = (timed(graph=ONE_LAYER, nodes=nodes) for nodes in (1, 2))
        exchange = 4.3e-6 + 2600 * COPY + 2600 / 5.28e9
        assert exposed(two) == pytest.approx(2 * exchange + adding(2600), rel=1e-9)
        assert two.seconds == pytest.approx(one.seconds + exposed(two), rel=1e-12)
        assert (two.gradient_bytes, two.ranks) == (5200, 2)

    def test_the_four_ranks_of_one_node_talk_through_memory(self) -> None:
        """Halves, then quarters: the second stage carries half as much. All four move data at a time: 9.9 GB/s / 4."""
        timing = timed("ranks_per_node=4", graph=ONE_LAYER)
        rate = 9.9e9 / 4
        # 650 numbers in four parts: bounds 0, 162, 325, 487, 650; the slowest message of a stage counts
        halves, quarters = 325 * 8, 163 * 8
        expected = sum(2 * (1e-6 + size / rate) + adding(size) for size in (halves, quarters))
        assert exposed(timing) == pytest.approx(expected, rel=1e-9)
        assert timing.ranks == 4

    def test_a_bucket_leaves_while_the_backward_pass_goes_on(self) -> None:
        """One tensor a bucket, two nodes, one core group each: a bucket waits for its gradient and the one before."""
        timer = node_timer("gradient_buckets=1 B", groups=1)
        timing = timed(timer=timer, nodes=2)
        program = lower_gradients(model=classifier(TWO_LAYERS), batch=4, dtype="fp64")
        clock, done = 0.0, {}
        for launch in program.launches:
            clock += LAUNCH + kernel_seconds(timer, launch.kernel)
            done |= dict.fromkeys(launch.arguments.values(), clock)
        finish = 0.0
        for name, size in (("out.weight", 1280), ("out.bias", 10), ("hidden.weight", 8192), ("hidden.bias", 128)):
            half = size // 2 * 8
            latency = 4.3e-6 + half * COPY if half < 4096 else 28.9e-6
            finish = max(finish, done[f"grad:{name}"]) + 2 * (latency + half / 5.28e9) + adding(half)
        assert done["grad:hidden.bias"] == clock < finish
        assert exposed(timing) == pytest.approx(finish - clock, rel=1e-9)


def test_equal_kernels_of_a_program_are_timed_once_and_as_each_by_itself() -> None:
    twins = Graph.chain((64,), [Linear("a", 64), ReLU("b"), Linear("c", 64), ReLU("d"), Linear("out", 10)])
    timer = node_timer()
    program = lower_gradients(model=classifier(twins), batch=4, dtype="fp64")
    kernels = [launch.kernel for launch in program.launches]
    assert len({id(kernel) for kernel in kernels}) == len(set(kernels)) < len(kernels)
    assert list(timer.program(program)) == [(launch, timer.launch(launch.kernel)) for launch in program.launches]
    assert timer.flops(program) == 4 * sum(timer.clock.time(kernel).flops for kernel in kernels)


OPTIMIZERS = {"sgd": SGD(), "lars": LARS(), "adam": Adam(), "adamw": AdamW(), "lamb": LAMB()}


@pytest.mark.parametrize(("name", "launches"), [("sgd", 1), ("adam", 1), ("adamw", 1), ("lars", 12), ("lamb", 13)])
def test_the_launches_of_an_update(name: str, launches: int) -> None:
    """LARS needs two norms and an update for each of the four tensors, LAMB also the direction of all."""
    timing = timed("ranks_per_node=4", graph=TWO_LAYERS, optimizer=OPTIMIZERS[name])
    program = lower_gradients(model=classifier(TWO_LAYERS), batch=4, dtype="fp64")
    assert timing.launches == len(program.launches) + launches


@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize(("clip", "functions"), [(ClipByNorm(1.0), ["scale"]), (ClipByValue(1.0), ["clip_value"])])
def test_clipping_takes_its_time(clip: Clip, functions: list[Function], ranks: int) -> None:
    """By norm: a sum of squares, and core groups that share the work meet before they scale their parts."""
    timer = node_timer(f"ranks_per_node={ranks}")
    without, with_clip = (timed(graph=ONE_LAYER, optimizer=SGD(), timer=timer, clip=each) for each in (None, clip))
    part = 163 if ranks == 1 else GRADIENT
    kernels: list[Kernel] = [Elementwise(function, part, "fp64") for function in functions]
    meetings = 0.0
    if isinstance(clip, ClipByNorm):
        kernels.append(ColumnSum(rows=part, columns=1, dtype="fp64", squared=True))
        meetings = SYNC if ranks == 1 else 0.0
    expected = len(kernels) * LAUNCH + meetings + kernel_seconds(timer, *kernels)
    assert with_clip.launches - without.launches == len(kernels)
    assert with_clip.seconds - without.seconds == pytest.approx(expected, rel=1e-9)
    assert sum(with_clip.shares.values()) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("nodes", [1, 2, 3, 17])
@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize(
    "settings", [(), ("overlap=false",), ("gradient_buckets=4 KB",), ("persistent_threads=true",), ("precision=fp32",)]
)
def test_shares_add_up_to_one(nodes: int, ranks: int, settings: tuple[str, ...]) -> None:
    timing = timed(*settings, f"ranks_per_node={ranks}", nodes=nodes)
    assert sum(timing.shares.values()) == pytest.approx(1, abs=1e-12)
    assert min(timing.shares.values()) >= 0
    assert timing.shares["communication_exposed"] * timing.seconds == pytest.approx(exposed(timing), rel=1e-12)


@pytest.mark.parametrize("collective", ALGORITHMS)
@pytest.mark.parametrize("overlap", ["true", "false"])
def test_one_rank_has_nobody_to_wait_for(collective: str, overlap: str) -> None:
    timing = timed(f"collective={collective}", f"overlap={overlap}", "gradient_buckets=4 KB")
    assert exposed(timing) == timing.shares["communication_exposed"] == 0


@pytest.mark.parametrize("buckets", ["25 MB", "4 KB"])
def test_without_overlap_the_whole_all_reduce_is_exposed(buckets: str) -> None:
    """Its time does not depend on the compute: with kernels of other sizes it stays the same."""
    settings = ("overlap=false", f"gradient_buckets={buckets}")
    small, large = (timed(*settings, nodes=8, batch=batch) for batch in (4, 64))
    assert large.seconds > small.seconds
    assert exposed(small) == pytest.approx(exposed(large), rel=1e-9)
    alone = timed(*settings, batch=4)
    assert small.seconds == pytest.approx(alone.seconds + exposed(small), rel=1e-12)


@pytest.mark.parametrize("nodes", [2, 3, 8, 64])
@pytest.mark.parametrize("ranks", [1, 4])
@pytest.mark.parametrize("buckets", ["25 MB", "20 KB", "4 KB", "1 B"])
def test_overlap_never_costs(nodes: int, ranks: int, buckets: str) -> None:
    settings = (f"ranks_per_node={ranks}", f"gradient_buckets={buckets}")
    with_overlap, without = (timed(*settings, f"overlap={each}", nodes=nodes) for each in ("true", "false"))
    assert with_overlap.seconds <= without.seconds
    if buckets != "25 MB":
        assert exposed(with_overlap) < exposed(without)


def test_the_last_of_many_buckets_is_never_hidden() -> None:
    """It begins when all sums between core groups are done: at least a whole exchange of it is exposed."""
    for threads in ("true", "false"):
        timing = timed(f"persistent_threads={threads}", "gradient_buckets=1 B", nodes=2)
        half = 128 // 2 * 8
        assert exposed(timing) >= 2 * (4.3e-6 + half * COPY + half / 5.28e9) + adding(half)


@pytest.mark.parametrize("threads", ["true", "false"])
def test_one_bucket_has_nothing_to_overlap_with(threads: str) -> None:
    """All gradients in one bucket are there when the backward pass is over."""
    settings = f"persistent_threads={threads}"
    with_overlap, without = (timed(settings, f"overlap={each}", nodes=16) for each in ("true", "false"))
    assert exposed(with_overlap) > 0
    assert with_overlap.seconds == pytest.approx(without.seconds, rel=1e-12)


def test_many_small_buckets_pay_more_latency() -> None:
    one, four = (timed("overlap=false", f"gradient_buckets={size}", nodes=16) for size in ("25 MB", "1 B"))
    assert exposed(four) > exposed(one)
    # each bucket is added between the core groups by a launch of its own
    assert four.launches == one.launches + 3


def test_buckets_are_full_before_they_leave() -> None:
    """Ready in this order: 1,280, 10, 8,192 and 128 numbers of 8 bytes."""
    base = timed().launches
    more = {
        size: timed(f"gradient_buckets={size} B").launches - base for size in (10_240, 10_320, 10_321, 75_856, 75_857)
    }
    assert more == {
        10_240: 2,  # 1,280; 10 + 8,192; 128
        10_320: 2,  # 1,280 + 10; 8,192; 128
        10_321: 1,  # 1,280 + 10 + 8,192 (75,856 B); 128
        75_856: 1,
        75_857: 0,
    }


def test_four_ranks_per_node_add_nothing_in_shared_memory() -> None:
    one, four = (timed(f"ranks_per_node={ranks}", nodes=16) for ranks in (1, 4))
    assert (one.ranks, four.ranks) == (16, 64)
    assert four.launches == one.launches - 1
    assert one.shares["group_sync"] > 0
    assert "group_sync" not in four.shares
    assert one.gradient_bytes == four.gradient_bytes


@pytest.mark.parametrize("ranks", [1, 4])
def test_more_nodes_never_make_a_step_shorter(ranks: int) -> None:
    """Powers of two, which the default collective divides evenly, up to 16 supernodes."""
    times = [timed(f"ranks_per_node={ranks}", nodes=1 << power).seconds for power in range(13)]
    assert all(before < after for before, after in pairwise(times))


@pytest.mark.parametrize("settings", [(), ("ranks_per_node=4",), ("gradient_buckets=1 B",)])
def test_persistent_threads_are_spawned_once_a_step(settings: tuple[str, ...]) -> None:
    """Each launch costs a meeting of the threads instead of a spawn and join."""
    spawned = timed(*settings, "overlap=false")
    persistent = timed(*settings, "overlap=false", "persistent_threads=true")
    assert persistent.launches == spawned.launches
    saved = spawned.launches * LAUNCH - (LAUNCH + spawned.launches * SYNC)
    assert spawned.seconds - persistent.seconds == pytest.approx(saved, rel=1e-9)
    assert (spawned.launch_seconds, persistent.launch_seconds) == (LAUNCH, SYNC)


def test_the_busiest_kernel_is_the_longest_by_itself() -> None:
    """However many launches there are, and whatever a launch costs."""
    graph = Graph.chain((64,), [Linear("small", 8), Linear("large", 1024)])
    timer = node_timer()
    program = lower_gradients(model=classifier(graph), batch=64, dtype="fp64")
    longest = max(program.launches, key=lambda launch: kernel_seconds(timer, launch.kernel))
    for each in (timer, node_timer(spec=machine("processor.mpe.launch=122 us"))):
        timing = timed(graph=graph, batch=64, timer=each)
        assert timing.busiest == f"{longest.kernel.name} of {longest.layer} ({longest.phase})"


def test_a_slower_launch_is_paid_by_every_launch() -> None:
    slow = node_timer(spec=machine("processor.mpe.launch=122 us"))
    before, after = timed(), timed(timer=slow)
    assert after.seconds - before.seconds == pytest.approx(before.launches * 100e-6, rel=1e-9)
