"""What a node with roofline devices does in a training step or for a batch, from the network alone.

Each layer is a kernel or a few, and a kernel takes its launch and the longer of its arithmetic and its traffic with
memory. Backward does two products for each product forward: by the weights and by the inputs, the latter only where
some layer before learns. Rectifiers and their like work in place, as they do in Caffe.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Final

from nnlib.graph import Graph, Node
from nnlib.layers.arrangement import Flatten, Reshape
from nnlib.layers.dropout import Dropout
from nnlib.layers.normalisation import BatchNorm
from nnlib.lowering.site import part_of
from nnlib.model import Model
from nnlib.optim import Clip, ClipByNorm, Optimizer
from nnlib.parts import PARTS, Part
from nnlib.precision import DTYPES
from nnlib.update import state_kinds
from sim.machine.roofline_spec import RooflineSpec, Work
from sim.machine.spec import MachineSpec
from workloads.jobs.node_answer import NodeAnswer
from workloads.jobs.node_build import packed_buckets
from workloads.jobs.node_memory import largest_bucket
from workloads.jobs.node_step import Blob, Bucket, NodeMemory, NodeStep
from workloads.mapping import Mapping

WORK_OF: Final[dict[Part, Work]] = {"conv": "convolution", "fc": "fully_connected"}
"""Which efficiency layers have; others have that of others."""
STATISTICS_PASSES: Final = 1
"""How often normalisation over the batch reads its input more than other layers: once for mean and variance."""


@dataclass
class Account:
    """Seconds of a step's kernels on one device, in order, by reason and by part."""

    seconds: float = 0.0
    reasons: dict[str, float] = field(default_factory=lambda: {"compute": 0.0, "memory": 0.0, "launch": 0.0})
    by_part: dict[str, float] = field(default_factory=lambda: dict.fromkeys(map(str, PARTS), 0.0))
    by_label: dict[str, float] = field(default_factory=dict)
    moved_bytes: float = 0.0
    flops: float = 0.0
    launches: int = 0

    def add(self, *, seconds: float, reason: str, part: Part, label: str) -> None:
        """Time of one kernel, or of what goes along with it."""
        self.seconds += seconds
        self.reasons[reason] = self.reasons.get(reason, 0.0) + seconds
        self.by_part[part] += seconds
        if reason != "launch":
            self.by_label[label] = self.by_label.get(label, 0.0) + seconds

    @property
    def busiest(self) -> str:
        """The label with the most time, launches not counted."""
        return max(self.by_label, key=lambda label: self.by_label[label])


@dataclass(frozen=True)
class RooflineTimer:
    """Times layers on the devices of a machine's nodes, ``samples`` on each that has any."""

    devices: RooflineSpec
    mapping: Mapping
    graph: Graph
    samples: int

    @property
    def item(self) -> int:
        """Bytes of a number."""
        return DTYPES[self.mapping.dtype].itemsize

    def launch(self, account: Account, *, flops: float, numbers: float, part: Part, label: str) -> None:
        """One kernel of ``flops`` that moves so many ``numbers`` between memory and device."""
        moved = numbers * self.item
        seconds, arithmetic = self.devices.seconds(
            flops=flops, moved_bytes=moved, work=WORK_OF.get(part, "others"), number=self.mapping.dtype
        )
        launch = self.devices.launch_seconds
        account.add(seconds=launch, reason="launch", part=part, label=label)
        account.add(seconds=seconds, reason="compute" if arithmetic else "memory", part=part, label=label)
        account.launches += 1
        account.moved_bytes += moved
        account.flops += flops

    def forward(self, account: Account, node: Node, *, training: bool) -> None:
        """One layer."""
        if isinstance(node.layer, Reshape | Flatten) or (isinstance(node.layer, Dropout) and not training):
            return
        part = part_of(node.layer)
        reads = self._inputs(node)
        if training and isinstance(node.layer, BatchNorm):
            reads *= 1 + STATISTICS_PASSES
        numbers = reads + self._outputs(node) + self._weights(node)
        self.launch(
            account, flops=2.0 * self._products(node), numbers=numbers, part=part, label=f"{node.name} (forward)"
        )

    def backward(self, account: Account, node: Node) -> None:
        """The same layer's gradients: of its weights, then of its inputs."""
        if isinstance(node.layer, Reshape | Flatten):
            return
        graph, part, label = self.graph, part_of(node.layer), f"{node.name} (backward)"
        flops, inputs, outputs, weights = (
            2.0 * self._products(node),
            self._inputs(node),
            self._outputs(node),
            self._weights(node),
        )
        wanted = any(name in graph.learned for name in node.inputs)
        if flops:
            if weights:
                self.launch(account, flops=flops, numbers=inputs + outputs + weights, part=part, label=label)
            if wanted:  # layers without weights, such as attention, have the gradients of both factors
                both = flops if weights else 2 * flops
                self.launch(account, flops=both, numbers=inputs + outputs + weights, part=part, label=label)
            return
        if not wanted and not weights:
            return
        # what was kept of the inputs and the gradients of the outputs come, the gradients of the inputs go
        passes = 1 + STATISTICS_PASSES if isinstance(node.layer, BatchNorm) else 1
        numbers = passes * (inputs + outputs) + (inputs if wanted else 0) + 2 * weights
        self.launch(account, flops=0.0, numbers=numbers, part=part, label=label)

    def loss(self, account: Account, model: Model) -> None:
        """The losses and their gradients: the outputs are read, then read again and written."""
        for name in model.wanted:
            numbers = 3 * self.samples * prod(self.graph.shapes[name])
            self.launch(account, flops=0.0, numbers=numbers, part="others", label=f"loss of {name}")

    def update(self, account: Account, sizes: list[int], *, optimizer: Optimizer, clip: Clip | None) -> None:
        """Weights and states are read and written, gradients read; parameter by parameter, as frameworks do."""
        states = len(state_kinds(optimizer))
        if clip is not None:
            passes = 3 if isinstance(clip, ClipByNorm) else 2
            self.launch(account, flops=0.0, numbers=passes * sum(sizes), part="others", label="clipping")
        for size in sizes:
            self.launch(account, flops=0.0, numbers=(3 + 2 * states) * size, part="others", label="update")

    def sum_devices(self, account: Account, elements: int, *, machine: MachineSpec, active: int) -> None:
        """The devices of a node exchange and add up their gradients, each its part: a ring over the node's bus."""
        if active == 1:
            return
        moved, shared = self.item * elements * (active - 1) / active, machine.network.shared_memory
        adding = moved * machine.network.reduction.core_group_seconds_per_byte
        seconds = 2 * moved / shared.bytes_per_second + 2 * (active - 1) * shared.latency_seconds + adding
        account.add(seconds=seconds, reason="group_sync", part="others", label="sum of the devices' gradients")

    def touched(self, node: Node) -> int:
        """Numbers that go into a layer and come out of it."""
        return self._inputs(node) + self._outputs(node)

    def _products(self, node: Node) -> int:
        return self.samples * self.graph.multiply_accumulates.get(node.name, 0)

    def _inputs(self, node: Node) -> int:
        return self.samples * sum(prod(shape) for shape in self.graph.input_shapes(node))

    def _outputs(self, node: Node) -> int:
        return self.samples * prod(self.graph.shapes[node.name])

    def _weights(self, node: Node) -> int:
        return sum(prod(shape) for shape in node.layer.parameter_shapes(self.graph.input_shapes(node)).values())


def roofline_step(
    *,
    model: Model,
    machine: MachineSpec,
    devices: RooflineSpec,
    mapping: Mapping,
    samples: int,
    optimizer: Optimizer,
    clip: Clip | None = None,
) -> NodeStep:
    """A step of a node with ``samples`` samples, shared out among its ``devices``."""
    graph, active = model.training, min(devices.devices, samples)
    timer = RooflineTimer(devices, mapping, graph, -(-samples // devices.devices))
    account = Account()
    for node in graph.nodes:
        timer.forward(account, node, training=True)
    timer.loss(account, model)
    forward = account.seconds
    ready: dict[str, float] = {}
    for node in reversed(graph.nodes):
        if node.name in graph.learned:
            timer.backward(account, node)
            own = [f"{node.name}.{name}" for name in node.layer.parameter_shapes(graph.input_shapes(node))]
            for name in [*own, *(full for _, full in node.shared)]:
                if name in graph.parameters:
                    ready[name] = account.seconds
    backward = account.seconds - forward
    blobs = sorted(
        (Blob(name=name, elements=prod(graph.parameters[name]), ready_seconds=when) for name, when in ready.items()),
        key=lambda blob: (blob.ready_seconds, blob.elements),
    )
    buckets = []
    for bucket in packed_buckets(blobs, item=timer.item, limit=mapping.bucket_bytes):
        timer.sum_devices(account, bucket.elements, machine=machine, active=active)
        late = account.seconds - (forward + backward)
        buckets.append(Bucket(elements=bucket.elements, ready_seconds=bucket.ready_seconds + late))
    gradients = account.seconds
    sizes = [blob.elements for blob in blobs]
    timer.update(account, sizes, optimizer=optimizer, clip=clip)
    return NodeStep(
        samples=timer.samples,
        active_core_groups=active,
        forward_seconds=forward,
        backward_seconds=backward,
        gradient_seconds=gradients,
        update_seconds=account.seconds - gradients,
        buckets=tuple(buckets),
        blobs=tuple(blobs),
        reasons=account.reasons,
        by_part=account.by_part,
        memory=roofline_memory(timer, sizes, optimizer=optimizer),
        flops=round(active * account.flops),
        moved_bytes=round(account.moved_bytes),
        busiest=account.busiest,
        launches=account.launches,
        launch_seconds=devices.launch_seconds,
        item_bytes=timer.item,
        statistics=tuple(prod(shape) for shape in graph.statistics.values()),
    )


def roofline_answer(*, model: Model, devices: RooflineSpec, mapping: Mapping, samples: int) -> NodeAnswer:
    """A batch of inference of a node."""
    graph = model.graph.inference
    timer = RooflineTimer(devices, mapping, graph, -(-samples // devices.devices))
    account = Account()
    for node in graph.nodes:
        timer.forward(account, node, training=False)
    arriving = timer.item * sum(prod(each.shape) for each in graph.inputs)
    leaving = timer.item * sum(prod(graph.shapes[name]) for name in graph.outputs)
    weights = timer.item * sum(map(prod, graph.variables.values()))
    widest = max(timer.touched(node) for node in graph.nodes)
    return NodeAnswer(
        seconds=account.seconds,
        reasons=account.reasons,
        input_bytes=arriving,
        output_bytes=leaving,
        memory_bytes=weights + timer.item * widest,
        moved_bytes=round(account.moved_bytes),
        active_core_groups=min(devices.devices, samples),
        core_groups=devices.devices,
        flops=round(min(devices.devices, samples) * account.flops),
        busiest=account.busiest,
        launches=account.launches,
        launch_seconds=devices.launch_seconds,
    )


def roofline_memory(timer: RooflineTimer, sizes: list[int], *, optimizer: Optimizer) -> NodeMemory:
    """Bytes of a device's memory: outputs of layers are kept, and their gradients beside them, as in Caffe.

    Layers in place have neither. The libraries' own room for work is not counted.
    """
    graph, item, samples = timer.graph, timer.item, timer.samples
    kept = sum(prod(graph.shapes[node.name]) for node in graph.nodes if part_of(node.layer) != "activation")
    inputs = samples * sum(prod(each.shape) for each in graph.inputs)
    return NodeMemory(
        weights=item * sum(map(prod, graph.variables.values())),
        gradients=item * sum(sizes),
        optimiser=item * len(state_kinds(optimizer)) * sum(sizes),
        activations=2 * item * samples * kept,
        buffers=2 * item * inputs + largest_bucket(sizes, item=item, limit=timer.mapping.bucket_bytes),
    )
