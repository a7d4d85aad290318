"""What must hold between the parameters of a machine, beyond each being well formed."""

from __future__ import annotations

from collections.abc import Iterator

from sim.document import Document
from sim.machine.network_convert import topology_spec
from sim.machine.network_schema import NetworkKeys
from sim.machine.network_spec import DragonflySpec, FatTreeSpec, TorusSpec, TwoLevelTreeSpec
from sim.machine.parameter import parameters
from sim.machine.roofline_schema import RooflineKeys
from sim.machine.schema import MachineFile, ProcessorKeys
from sim.machine.site_schema import StorageKeys
from sim.problems import Problem

FP64_BYTES = 8


def contradictions(file: MachineFile, *, document: Document) -> Iterator[Problem]:
    """Every pair of parameters that no machine can have together, as problems where the user wrote one of them."""
    if file.power.kind != file.processor.kind:
        expected = f"{file.processor.kind}, as processor.kind is"
        yield document.problem(("power", "kind"), value=file.power.kind, expected=expected)
    broken = [(keys, expected) for keys, holds, expected in _rules(file) if not holds]
    if broken:
        values = {parameter.key: parameter.text for parameter in parameters(file)}
        for keys, expected in broken:
            blamed = min(keys, key=lambda key: _distance(key, document=document))
            origin = document.origin(tuple(blamed.split(".")))
            yield Problem(file=origin.file, line=origin.line, key=keys[0], value=values[keys[0]], expected=expected)


def _distance(key: str, *, document: Document) -> int:
    """How far from the user a value was written: 0 on the command line, 1 in the file named, 2 in a base of it."""
    origin = document.origin(tuple(key.split(".")))
    return 0 if origin.setting else 1 if origin.file == document.file else 2


def _rules(file: MachineFile) -> Iterator[tuple[tuple[str, ...], bool, str]]:
    """The keys a rule is about, whether it holds, and the rule as "expected ..." of the first key."""
    if not isinstance(file.processor, RooflineKeys):
        yield from _chip_rules(file.processor)
    yield from _topology_rules(file.network)
    yield from _storage_rules(file.storage)
    link = file.network.link
    one_way = link.node_bandwidth.value
    yield (
        ("network.link.node_duplex_bandwidth", "network.link.node_bandwidth"),
        one_way <= link.node_duplex_bandwidth.value <= 2 * one_way,
        f"between one and two times network.link.node_bandwidth ({one_way / 1e9:.4g} GB/s), both directions together",
    )


def _chip_rules(processor: ProcessorKeys) -> Iterator[tuple[tuple[str, ...], bool, str]]:
    """The same, of a chip of core groups."""
    cpe, dma, mesh, memory = processor.cpe, processor.dma, processor.mesh, processor.memory
    vector = cpe.vector_lanes.value * FP64_BYTES
    yield (
        ("processor.cpe.ldm", "processor.cpe.vector_lanes"),
        cpe.ldm.value % vector == 0,
        f"a multiple of {vector} B, one vector of processor.cpe.vector_lanes fp64 values",
    )
    if mesh.remote is not None:
        yield (
            ("processor.mesh.remote.buffer", "processor.cpe.ldm"),
            mesh.remote.buffer.value < cpe.ldm.value,
            f"less than processor.cpe.ldm ({cpe.ldm.value} B)",
        )
    yield (
        ("processor.mesh.transfer",),
        mesh.transfer.value % FP64_BYTES == 0,
        f"a multiple of {FP64_BYTES} B, one fp64 value",
    )
    power_of_two = dma.line.value & (dma.line.value - 1) == 0
    yield (
        ("processor.dma.line",),
        power_of_two,
        "a power of two, because lines are counted from addresses",
    )
    yield (
        ("processor.dma.partial_put_block", "processor.dma.line"),
        dma.partial_put_block.value <= dma.line.value,
        f"at most processor.dma.line ({dma.line.value} B)",
    )
    yield (
        ("processor.dma.put_granule", "processor.dma.line"),
        not power_of_two or dma.line.value % dma.put_granule.value == 0,
        f"a part of processor.dma.line ({dma.line.value} B)",
    )
    rate = dma.line.value / dma.line_time.value
    yield (
        ("processor.dma.line_time", "processor.dma.line", "processor.memory.bandwidth"),
        rate <= memory.bandwidth.value,
        f"lines no faster than processor.memory.bandwidth: {rate / 1e9:.4g} GB/s is above "
        f"{memory.bandwidth.value / 1e9:.4g} GB/s; change both",
    )
    yield (
        ("processor.memory.alignment",),
        memory.alignment.value & (memory.alignment.value - 1) == 0,
        "a power of two, because addresses are aligned to it",
    )


def _storage_rules(storage: StorageKeys) -> Iterator[tuple[tuple[str, ...], bool, str]]:
    """The same, of storage: nothing that one process gets is more than what it comes through."""
    process, forwarding = storage.process_bandwidth.value, storage.forwarding_bandwidth.value
    array = storage.bandwidth.value / storage.arrays.value
    yield (
        ("storage.process_bandwidth", "storage.bandwidth", "storage.arrays"),
        process <= array,
        f"at most what one of {storage.arrays.value} arrays gives ({array / 1e9:.4g} GB/s)",
    )
    yield (
        ("storage.process_bandwidth", "storage.forwarding_bandwidth"),
        process <= forwarding,
        f"at most storage.forwarding_bandwidth ({forwarding / 1e9:.4g} GB/s)",
    )


def _topology_rules(network: NetworkKeys) -> Iterator[tuple[tuple[str, ...], bool, str]]:
    """The same, of the network's topology."""
    nodes = network.nodes.value
    described = topology_spec(network.topology)
    if isinstance(described, TwoLevelTreeSpec):
        yield (
            ("network.topology.supernode_nodes", "network.nodes"),
            described.supernode_nodes <= nodes,
            f"at most network.nodes ({nodes})",
        )
    elif isinstance(described, FatTreeSpec):
        room = described.subtree_nodes(described.levels)
        yield (
            ("network.nodes", "network.topology.levels", "network.topology.switch_fanout"),
            nodes <= room,
            f"at most {room:,}, the nodes below the top of the tree; more levels or a larger switch_fanout make room",
        )
    elif isinstance(described, TorusSpec):
        yield (
            ("network.nodes", "network.topology.dimensions"),
            nodes <= described.places,
            f"at most {described.places:,}, the product of network.topology.dimensions",
        )
    elif isinstance(described, DragonflySpec):
        yield (
            ("network.nodes", "network.topology.router_global_links", "network.topology.group_routers"),
            nodes <= described.most_nodes,
            f"at most {described.most_nodes:,}: {described.group_links} global links of a group reach as many others",
        )
