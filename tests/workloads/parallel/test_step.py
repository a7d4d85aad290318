"""The time of a step under a strategy: equal to data parallelism where it is that, and to its parts by hand."""

from __future__ import annotations

from functools import cache

import pytest

from nnlib.graph import Graph
from nnlib.kernels.clock import KernelClock
from nnlib.layers.linear import Linear
from nnlib.lowering import lower_gradients
from nnlib.lowering.choice import Choice
from nnlib.lowering.planner import Planner
from nnlib.optim.adam import Adam
from nnlib.optim.clip import ClipByNorm
from nnlib.optim.lamb import LAMB
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.sgd import SGD
from sim.machine.spec import MachineSpec
from sim.network.schemes import Scheme, scheme
from sim.problems import BadInput
from tests.nnlib.batches import classifier
from tests.workloads.parallel.networks import network
from tests.workloads.small import machine, node_timer
from workloads.jobs.node_build import build_node_step
from workloads.jobs.node_step import NodeStep
from workloads.jobs.training_step import StepTiming, time_step
from workloads.mapping import Mapping
from workloads.mapping_file import load_mapping
from workloads.parallel.lowered import LoweredStrategy, lower_strategy
from workloads.parallel.stage_gradients import fullest_shard
from workloads.parallel.step import memory_of, time_strategy
from workloads.parallel.strategy import parse_strategy
from workloads.parallel.strategy_timing import StrategyTiming, strategy_timing_of
from workloads.parallel.tensor import exchanges

pytestmark = pytest.mark.timing

SETTINGS = ("precision=fp64",)


def mapping_of(*settings: str) -> Mapping:
    return load_mapping("default", settings)


@cache
def clock() -> KernelClock:
    return KernelClock(machine().processor)


def scheme_of(*settings: str) -> Scheme:
    mapping = mapping_of(*settings)
    return scheme(mapping.communication, network=machine().network, changed=mapping.communication_choices)


def lowered(
    name: str, text: str, *settings: str, nodes: int, samples: int, spec: MachineSpec | None = None
) -> LoweredStrategy:
    return lower_strategy(
        model=network(name),
        strategy=parse_strategy(text),
        machine=spec or machine(),
        mapping=mapping_of(*settings),
        clock=clock(),
        scheme=scheme_of(*settings),
        nodes=nodes,
        global_batch=nodes * samples,
    )


def timed(
    name: str,
    text: str,
    *settings: str,
    nodes: int = 4,
    samples: int = 16,
    optimizer: Optimizer | None = None,
    clip: ClipByNorm | None = None,
    spec: MachineSpec | None = None,
    seed: int | None = None,
) -> StrategyTiming:
    return time_strategy(
        lowered(name, text, *settings, nodes=nodes, samples=samples, spec=spec),
        optimizer=optimizer or SGD(momentum=0.9),
        scheme=scheme_of(*settings),
        nodes=nodes,
        clip=clip,
        seed=seed,
    )


def data_parallel(
    name: str, *settings: str, nodes: int, samples: int, optimizer: Optimizer
) -> tuple[NodeStep, StepTiming]:
    timer = node_timer(*settings)
    part, mapping = samples // 4, timer.mapping
    choice = Choice(
        library=mapping.library,
        core_groups=4 if mapping.ranks_per_node == 1 else 1,
        planner=Planner(timer.clock),
    )
    program = lower_gradients(model=network(name), batch=part, dtype=mapping.dtype, choice=choice)
    node = build_node_step(timer=timer, program=program, samples=part, optimizer=optimizer)
    return node, time_step(node=node, machine=machine(), mapping=timer.mapping, nodes=nodes)


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("overlap=false",),
        ("gradient_buckets=1 KB",),
        ("ranks_per_node=4", "gradient_buckets=2 KB"),
        ("packing=blobs", "overlap=false"),
        ("communication=stock-mpi",),
        ("ranks_per_node=4", "collective=hierarchical"),
    ],
)
@pytest.mark.parametrize("nodes", [1, 3, 8])
def test_data_parallelism_takes_as_long_as_the_data_parallel_step(settings: tuple[str, ...], nodes: int) -> None:
    """Two ways to the same seconds: the strategy with one stage, one tensor rank and one micro-batch."""
    check_as_data_parallel("mlp", *settings, nodes=nodes)


@pytest.mark.slow
@pytest.mark.parametrize("library", ["swcaffe-2018", "swcaffe-2019", "searched-2019"])
def test_a_strategy_runs_on_the_librarys_kernels_and_communicates_as_it_does(library: str) -> None:
    """With convolutions and batch normalisation, whose statistics the library of 2018 reduces too."""
    check_as_data_parallel("cnn", f"library={library}", nodes=4)


def check_as_data_parallel(name: str, *settings: str, nodes: int) -> None:
    divided = timed(name, "data", *settings, nodes=nodes, samples=8, optimizer=Adam())
    found = divided.timing
    node, expected = data_parallel(name, *settings, nodes=nodes, samples=8, optimizer=Adam())
    assert divided.node.memory == node.memory
    assert (divided.node.flops, divided.node.moved_bytes) == (node.flops, node.moved_bytes)
    assert found.seconds == pytest.approx(expected.seconds, rel=1e-12)
    assert found.communication_seconds == pytest.approx(expected.communication_seconds, rel=1e-9)
    assert found.communication_exposed_seconds == pytest.approx(expected.communication_exposed_seconds, abs=1e-15)
    assert found.shares == pytest.approx(dict(expected.shares), abs=1e-12)
    assert (found.launches, found.gradient_bytes, found.ranks, found.busiest, found.network_bytes) == (
        expected.launches,
        expected.gradient_bytes,
        expected.ranks,
        expected.busiest,
        expected.network_bytes,
    )


STRATEGIES = [
    "tensor=2",
    "pipeline=2,micro_batches=4",
    "tensor=2,pipeline=2",
    "optimizer_sharding",
    "tensor=2,pipeline=2,micro_batches=2,optimizer_sharding",
]


@pytest.mark.slow
@pytest.mark.parametrize("text", STRATEGIES)
@pytest.mark.parametrize("settings", [(), ("ranks_per_node=4", "recompute=true", "persistent_threads=true")])
def test_shares_add_up_to_one(text: str, settings: tuple[str, ...]) -> None:
    found = timed("gpt2", text, *settings, nodes=8, optimizer=LAMB(), clip=ClipByNorm(1.0))
    assert sum(found.timing.shares.values()) == pytest.approx(1, abs=1e-12)
    assert min(found.timing.shares.values()) >= 0
    parts = found.tensor_seconds, found.pipeline_seconds, found.replica_seconds
    assert found.timing.communication_exposed_seconds == pytest.approx(sum(parts), rel=1e-12)
    assert ("pipeline_bubble" in found.timing.shares) == ("pipeline" in text)
    assert sum(found.node.by_part.values()) == pytest.approx(sum(found.node.reasons.values()), rel=1e-12)
    assert strategy_timing_of(found.as_json()) == found


def test_tensor_ranks_wait_for_every_exchange() -> None:
    """Two ranks: 16 samples of 24 channels summed once forward and once backward, and 8 logits gathered."""
    found = timed("mlp", "tensor=2", nodes=2, samples=8)
    layers = exchanges(lowered("mlp", "tensor=2", nodes=2, samples=8).division.graph)
    assert [type(each).__name__ for each in layers] == ["SumOut", "CopyIn", "GatherOut"]
    adding, rate = (
        scheme("autotuned-2019", network=machine().network),
        machine().network.link.node_duplex_bytes_per_second,
    )
    half, part = 16 * 24 // 2 * 8, 16 * 8 // 2 * 8
    exchange, gather = (adding.protocol.seconds(size) + size / (rate / 2) for size in (half, part))
    added = adding.reduction.seconds(half, transfer_seconds=half / (rate / 2))
    assert found.tensor_seconds == pytest.approx(2 * (2 * exchange + added) + gather, rel=1e-9)


@pytest.mark.slow
def test_the_bubble_of_a_pipeline_shrinks_with_more_micro_batches() -> None:
    shares = [timed("mlp", f"pipeline=4,micro_batches={parts}", samples=32).timing.shares for parts in (1, 4, 8)]
    bubbles = [each["pipeline_bubble"] for each in shares]
    assert bubbles[0] > bubbles[1] > bubbles[2] > 0.1


@pytest.mark.slow
def test_sharding_divides_the_optimizers_memory_and_work() -> None:
    whole, shared = (timed("gpt2", text, nodes=8, optimizer=Adam()) for text in ("data", "optimizer_sharding"))
    numbers = network("gpt2").graph.parameter_count
    assert whole.node.memory.optimiser == 2 * 8 * -(-numbers // 4)
    assert shared.node.memory.optimiser == 2 * 8 * -(-numbers // 32)
    assert shared.node.update_seconds < whole.node.update_seconds
    assert shared.node.memory.weights == whole.node.memory.weights


@pytest.mark.slow
def test_stages_and_tensor_ranks_divide_memory() -> None:
    """A stage keeps activations of as many micro-batches as there are stages from it on."""
    whole = timed("gpt2", "data", samples=16).node.memory
    divided = timed("gpt2", "tensor=2,pipeline=2,micro_batches=8", samples=16)
    assert len(divided.stages) == 2
    assert divided.node.memory.weights < whole.weights
    parts = lowered("gpt2", "pipeline=2,micro_batches=8", nodes=2, samples=32)
    few = lowered("gpt2", "pipeline=2,micro_batches=2", nodes=2, samples=8)
    assert (parts.samples, few.samples) == (8, 8)
    memories = [[memory_of(each, stage, SGD()).activations for stage in (0, 1)] for each in (parts, few)]
    assert memories[0] == memories[1]


def test_each_stage_keeps_the_activations_of_one_micro_batch_less_than_the_one_before() -> None:
    """Five equal layers: of micro-batches of 2 samples on a core group each stage keeps 16 numbers a sample."""
    layers = [Linear(f"layer{number}", 16) for number in range(5)]
    found = lower_strategy(
        model=classifier(Graph.chain((16,), layers)),
        strategy=parse_strategy("pipeline=5,micro_batches=8"),
        machine=machine(),
        mapping=mapping_of(),
        clock=clock(),
        scheme=scheme_of(),
        nodes=5,
        global_batch=64,
    )
    kept = [memory_of(found, stage, SGD()).activations for stage in range(5)]
    assert kept[1] - kept[2] == kept[2] - kept[3] == 2 * 16 * 8


@pytest.mark.parametrize(
    ("sizes", "ranks", "fullest"),
    [([4, 4], 2, [4]), ([1, 1, 6], 2, [1, 1, 2]), ([3], 8, [1]), ([2, 2], 3, [2]), ([5, 1], 1, [5, 1])],
)
def test_the_shard_that_touches_most_tensors(sizes: list[int], ranks: int, fullest: list[int]) -> None:
    assert fullest_shard(sizes, ranks) == fullest


@pytest.mark.parametrize(
    ("name", "text", "settings", "expected"),
    [
        ("mlp", "tensor=3", (), "a multiple of 3 ranks"),
        ("mlp", "pipeline=4,micro_batches=7", (), "a divisor of the 64 samples"),
        ("mlp", "tensor=5", ("ranks_per_node=4",), "the largest, 'b', cannot be, as 5 ranks do not divide its 24"),
        ("mlp", "pipeline=16", ("ranks_per_node=4",), "at most 6 stages"),
        ("mlp", "tensor=2", ("precision=int16",), "data with a precision of integers"),
    ],
)
def test_what_a_strategy_does_not_divide_is_refused(
    name: str, text: str, settings: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(BadInput, match=expected):
        lowered(name, text, *settings, nodes=5 if "5" in text else 4, samples=16)
