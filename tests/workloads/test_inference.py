"""The time of a batch of requests on every node, computed by hand."""

from __future__ import annotations

import pytest

from nnlib.kernels.pointwise.elementwise import BiasAdd
from nnlib.kernels.products.gemm import Gemm
from nnlib.lowering import lower_forward
from tests.workloads.small import kernel_seconds, linear_graph, machine, node_timer
from workloads.inference import InferenceTiming, message_seconds, time_inference
from workloads.jobs.node_build import build_node_answer
from workloads.jobs.node_timer import NodeTimer

LAUNCH = 22e-6
SYNC = 1e-6
SLOW_LINK = ("network.link.node_bandwidth=100 MB/s", "network.link.node_duplex_bandwidth=200 MB/s")
GRAPH = linear_graph()
COPY = 1.12e-9 + 0.66e-9
"""Seconds per byte of a short message in the software of both ends."""
HANDSHAKE = 10.95e-6 + 9.35e-6 + 2 * 4.3e-6
"""Software of a long message: both ends' work and two short messages."""
HOP = 1e-6


def timed(timer: NodeTimer, *, batch: int = 16, nodes: int = 1) -> InferenceTiming:
    """16 samples on each node, four on each of its core groups."""
    program = lower_forward(graph=GRAPH, batch=-(-batch // timer.active_core_groups), dtype=timer.mapping.precision)
    node = build_node_answer(timer=timer, program=program, outputs=GRAPH.outputs)
    return time_inference(node=node, network=timer.machine.network, batch=batch, nodes=nodes)


def kernels_by_hand(timer: NodeTimer, *, rows: int = 4) -> float:
    dtype = timer.mapping.precision
    return kernel_seconds(timer, Gemm(m=rows, n=10, k=64, dtype=dtype), BiasAdd(rows=rows, channels=10, dtype=dtype))


class TestMessages:
    """Sizes and rates of Sunway TaihuLight: 10.56 GB/s both ways, 64 uplinks of 6.47 GB/s from 256 nodes."""

    def test_a_node_alone_has_half_of_its_duplex_link(self) -> None:
        seconds = message_seconds(network=machine().network, size=1056, nodes=1)
        assert seconds == pytest.approx(4.3e-6 + 1056 * COPY + HOP + 0.2e-6, rel=1e-12)

    def test_from_the_eager_limit_on_there_is_a_handshake(self) -> None:
        below, at = (message_seconds(network=machine().network, size=size, nodes=1) for size in (4095, 4096))
        assert at - below == pytest.approx(HANDSHAKE - 4.3e-6 - 4095 * COPY + 1 / 5.28e9, rel=1e-9)

    @pytest.mark.parametrize(("nodes", "rate"), [(64, 5.28e9), (78, 5.28e9), (128, 3.235e9), (256, 1.6175e9)])
    def test_nodes_of_a_supernode_share_its_uplinks(self, nodes: int, rate: float) -> None:
        seconds = message_seconds(network=machine().network, size=10**6, nodes=nodes)
        assert seconds == pytest.approx(HANDSHAKE + HOP + 10**6 / rate, rel=1e-12)

    def test_further_supernodes_bring_their_own_uplinks(self) -> None:
        network = machine().network
        times = {message_seconds(network=network, size=10**6, nodes=nodes) for nodes in (256, 257, 40960)}
        assert len(times) == 1


@pytest.mark.timing
def test_a_batch_takes_its_launches_and_its_kernels() -> None:
    timer = node_timer()
    timing = timed(timer)
    computed = 2 * LAUNCH + kernels_by_hand(timer)
    assert timing.seconds == timing.compute_seconds == pytest.approx(computed, rel=1e-12)
    # 16 samples of 64 numbers come (8,192 B), 16 of 10 go (1,280 B, below the eager limit)
    arriving, leaving = HANDSHAKE + HOP + 8192 / 5.28e9, 4.3e-6 + HOP + 1280 * (COPY + 1 / 5.28e9)
    assert timing.link_seconds == pytest.approx(arriving, rel=1e-12)
    assert timing.latency == pytest.approx(arriving + computed + leaving, rel=1e-12)
    assert timing.shares["requests"] == 0
    assert timing.shares["launch"] == pytest.approx(2 * LAUNCH / computed)
    assert (timing.launches, timing.launch_seconds) == (2, LAUNCH)
    assert timing.busiest in ("gemm of linear (forward)", "bias_add of linear (forward)")
    assert (timing.activity.seconds, timing.activity.network_bytes) == (timing.seconds, 8192 + 1280)
    assert timing.activity.compute_seconds == pytest.approx(timing.shares["compute"] * timing.seconds, rel=1e-12)
    # four core groups each read 4 x 64 numbers and 64 x 10 weights at least, and write 4 x 10
    assert timing.activity.memory_bytes >= 4 * 8 * (256 + 640 + 40)


@pytest.mark.timing
def test_a_slow_link_sets_the_pace() -> None:
    timer = node_timer(spec=machine(*SLOW_LINK))
    timing = timed(timer)
    computed = 2 * LAUNCH + kernels_by_hand(timer)
    arriving, leaving = HANDSHAKE + HOP + 8192 / 1e8, 4.3e-6 + HOP + 1280 * (COPY + 1 / 1e8)
    assert arriving > computed
    assert timing.seconds == timing.link_seconds == pytest.approx(arriving, rel=1e-12)
    assert timing.latency == pytest.approx(arriving + computed + leaving, rel=1e-12)
    assert timing.shares["requests"] == pytest.approx(1 - computed / arriving)


@pytest.mark.timing
def test_half_the_bytes_in_single_precision() -> None:
    slow = machine(*SLOW_LINK)
    single = timed(node_timer("precision=fp32", spec=slow))
    # 4,096 B are still at the eager limit
    assert single.link_seconds == pytest.approx(HANDSHAKE + HOP + 4096 / 1e8, rel=1e-12)


@pytest.mark.timing
def test_persistent_threads_are_spawned_once_a_batch() -> None:
    timer = node_timer("persistent_threads=true")
    timing = timed(timer)
    assert timing.compute_seconds == pytest.approx(LAUNCH + 2 * SYNC + kernels_by_hand(timer), rel=1e-12)
    assert timing.launch_seconds == SYNC


@pytest.mark.timing
@pytest.mark.parametrize("nodes", [1, 200, 40960])
@pytest.mark.parametrize("settings", [(), ("persistent_threads=true",), ("precision=fp32",)])
def test_shares_add_up_to_one(nodes: int, settings: tuple[str, ...]) -> None:
    for spec in (machine(), machine(*SLOW_LINK)):
        timing = timed(node_timer(*settings, spec=spec), nodes=nodes)
        assert sum(timing.shares.values()) == pytest.approx(1, abs=1e-12)
        assert min(timing.shares.values()) >= 0


@pytest.mark.timing
def test_nodes_make_no_difference_while_their_links_keep_up() -> None:
    alone, all_nodes = timed(node_timer()), timed(node_timer(), nodes=40960)
    assert all_nodes.seconds == alone.seconds
    assert all_nodes.latency > alone.latency
