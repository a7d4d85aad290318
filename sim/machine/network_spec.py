"""What joins the nodes of a machine, as frozen descriptions in base units, and what makes equal nodes unequal."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, prod
from typing import Literal, TypeAlias


@dataclass(frozen=True, kw_only=True)
class TwoLevelTreeSpec:
    """Supernodes of full bisection, each with ``links_per_switch`` links to every central switch."""

    supernode_nodes: int
    central_switches: int
    links_per_switch: int
    uplink_bytes_per_second: float
    hop_latency_seconds: float
    kind: Literal["two_level_tree"] = "two_level_tree"

    @property
    def uplinks(self) -> int:
        """Links out of each supernode, and as many into it."""
        return self.central_switches * self.links_per_switch

    @property
    def neighbours(self) -> int:
        """Nodes of a supernode."""
        return self.supernode_nodes

    def links_between(self, nodes: int) -> int:
        """Links between ``nodes`` nodes besides the nodes' own, both directions of one counted once."""
        supernodes = -(-nodes // self.supernode_nodes)
        return supernodes * self.uplinks if supernodes > 1 else 0

    def outside_bytes_per_second(self, nodes: int) -> float:
        """What each of ``nodes`` nodes gets when all talk to the outside at once."""
        return self.uplinks * self.uplink_bytes_per_second / min(nodes, self.supernode_nodes)


@dataclass(frozen=True, kw_only=True)
class FatTreeSpec:
    """``levels`` of switches: the lowest with ``switch_nodes`` nodes, each higher one above ``switch_fanout`` below.

    Links up carry 1/``taper`` of what comes from below, at every level.
    """

    levels: int
    switch_nodes: int
    switch_fanout: int
    taper: float
    uplink_bytes_per_second: float
    hop_latency_seconds: float
    kind: Literal["fat_tree"] = "fat_tree"

    def subtree_nodes(self, level: int) -> int:
        """Nodes below a switch of ``level``, counted from 1."""
        return self.switch_nodes * int(self.switch_fanout ** (level - 1))

    def uplinks(self, level: int) -> int:
        """Links up from all nodes below one switch of ``level``."""
        return max(1, round(self.subtree_nodes(level) / self.taper**level))

    @property
    def neighbours(self) -> int:
        """Nodes of a lowest switch."""
        return self.switch_nodes

    def links_between(self, nodes: int) -> int:
        """Links between ``nodes`` nodes besides the nodes' own, both directions of one counted once."""
        subtrees = {level: -(-nodes // self.subtree_nodes(level)) for level in range(1, self.levels)}
        return sum(count * self.uplinks(level) for level, count in subtrees.items() if count > 1)

    def outside_bytes_per_second(self, nodes: int) -> float:
        """What each of ``nodes`` nodes gets when all talk to the outside at once."""
        levels = range(1, self.levels)
        shares = (self.uplinks(level) / min(nodes, self.subtree_nodes(level)) for level in levels)
        return self.uplink_bytes_per_second * min(shares, default=inf)


@dataclass(frozen=True, kw_only=True)
class TorusSpec:
    """A grid of nodes with ``dimensions`` lengths, closed to a ring in each; the first dimension counts fastest."""

    dimensions: tuple[int, ...]
    link_bytes_per_second: float
    hop_latency_seconds: float
    kind: Literal["torus"] = "torus"

    @property
    def places(self) -> int:
        """Nodes that have room."""
        return prod(self.dimensions)

    @property
    def neighbours(self) -> int:
        """Nodes of a ring of the first dimension."""
        return self.dimensions[0]

    def links_between(self, nodes: int) -> int:
        """Links between ``nodes`` nodes besides the nodes' own, both directions of one counted once."""
        return nodes * len(self.dimensions) if nodes > 1 else 0

    def outside_bytes_per_second(self, nodes: int) -> float:
        """What each node gets when all talk to the outside at once: every node has a way of its own."""
        return inf


@dataclass(frozen=True, kw_only=True)
class DragonflySpec:
    """Routers with ``router_nodes`` nodes; ``group_routers`` make a group, joined to each other by local links.

    Each router has ``router_global_links`` links to other groups.
    """

    router_nodes: int
    group_routers: int
    router_global_links: int
    local_bytes_per_second: float
    global_bytes_per_second: float
    hop_latency_seconds: float
    kind: Literal["dragonfly"] = "dragonfly"

    @property
    def group_nodes(self) -> int:
        return self.router_nodes * self.group_routers

    @property
    def group_links(self) -> int:
        """Global links out of a group."""
        return self.group_routers * self.router_global_links

    @property
    def most_nodes(self) -> int:
        """Nodes of as many groups as one group can reach directly, and itself."""
        return self.group_nodes * (self.group_links + 1)

    @property
    def neighbours(self) -> int:
        """Nodes of a group."""
        return self.group_nodes

    def links_between(self, nodes: int) -> int:
        """Links between ``nodes`` nodes besides the nodes' own, both directions of one counted once."""
        groups = -(-nodes // self.group_nodes)
        inside = self.group_routers * (self.group_routers - 1) // 2
        return groups * inside + (groups * self.group_links // 2 if groups > 1 else 0)

    def outside_bytes_per_second(self, nodes: int) -> float:
        """What each of ``nodes`` nodes gets when all talk to the outside at once."""
        return self.group_links * self.global_bytes_per_second / min(nodes, self.group_nodes)


@dataclass(frozen=True, kw_only=True)
class SingleSwitchSpec:
    """All nodes on one switch that passes whatever their links carry."""

    kind: Literal["single_switch"] = "single_switch"
    hop_latency_seconds: float = 0.0

    @property
    def neighbours(self) -> None:
        """All nodes are."""
        return None

    def links_between(self, nodes: int) -> int:
        """None besides the nodes' own."""
        return 0

    def outside_bytes_per_second(self, nodes: int) -> float:
        """No less than a node's own link."""
        return inf


TopologySpec: TypeAlias = TwoLevelTreeSpec | FatTreeSpec | TorusSpec | DragonflySpec | SingleSwitchSpec


@dataclass(frozen=True, kw_only=True)
class LinkSpec:
    """A node's own link: bytes per second one way, and both ways together."""

    node_bytes_per_second: float
    node_duplex_bytes_per_second: float


@dataclass(frozen=True, kw_only=True)
class ProtocolSpec:
    """What the machine's MPI adds to a message: sent at once below the limit, after a handshake from there on.

    ``eager_latency_seconds`` is of a blocking message of a few bytes. The others are of messages that follow one
    another: an MPE does the work of what it sends and receives in turn, and ``rendezvous_gap_seconds`` of each message
    do not overlap with the wire. ``blob_message_seconds`` are added by a library that sends blobs one by
    one, and messages up to ``blob_copy_limit_bytes`` are copied there.
    """

    eager_limit_bytes: int
    eager_latency_seconds: float
    eager_send_seconds: float
    eager_send_seconds_per_byte: float
    eager_receive_seconds: float
    eager_receive_seconds_per_byte: float
    rendezvous_send_seconds: float
    rendezvous_receive_seconds: float
    rendezvous_gap_seconds: float
    blob_message_seconds: float
    blob_copy_limit_bytes: int

    @property
    def eager_seconds_per_byte(self) -> float:
        """Copies of a blocking message, at both ends."""
        return self.eager_send_seconds_per_byte + self.eager_receive_seconds_per_byte

    @property
    def rendezvous_latency_seconds(self) -> float:
        """Of a blocking message: request and answer, then what both ends do."""
        return 2 * self.eager_latency_seconds + self.rendezvous_send_seconds + self.rendezvous_receive_seconds


@dataclass(frozen=True, kw_only=True)
class SharedMemorySpec:
    """What joins the ranks of one node."""

    bytes_per_second: float
    latency_seconds: float


@dataclass(frozen=True, kw_only=True)
class ReductionSpec:
    """Seconds per byte of adding received to own numbers, by who does it, and what it takes to set CPEs to it."""

    mpe_scalar_seconds_per_byte: float
    mpe_simd_seconds_per_byte: float
    core_group_seconds_per_byte: float
    chip_seconds_per_byte: float
    launch_seconds: float


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """``nodes`` nodes joined by a topology."""

    nodes: int
    topology: TopologySpec
    link: LinkSpec
    protocol: ProtocolSpec
    shared_memory: SharedMemorySpec
    reduction: ReductionSpec

    @property
    def supernodes(self) -> int | None:
        """Supernodes of a two-level tree, None in another topology."""
        if isinstance(self.topology, TwoLevelTreeSpec):
            return -(-self.nodes // self.topology.supernode_nodes)
        return None


@dataclass(frozen=True, kw_only=True)
class NoiseSpec:
    """What makes equal ranks unequal.

    ``compute_jitter``: standard deviation of a rank's computing time, as a share of it. The operating system takes a
    core ``system_duration_seconds`` long (on average, if exponential) once in every ``system_period_seconds`` of
    computing. ``slow_nodes`` nodes compute ``slow_node_factor`` times as long; ``slow_links`` links carry
    1/``slow_link_factor`` of what others do.
    """

    compute_jitter: float
    system_period_seconds: float
    system_duration_seconds: float
    system_distribution: Literal["fixed", "exponential"]
    slow_nodes: int
    slow_node_factor: float
    slow_links: int
    slow_link_factor: float
