"""Times the layers of a network on roofline devices, kernel by kernel.

Each layer is a kernel or a few, and a kernel takes its launch and the longer of its arithmetic and its traffic with
memory. Backward does two products for each product forward: by the weights and by the inputs, the latter only where
some layer before learns. Layers that a framework makes of many kernels go over their arrays as often as the machine
file says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Final

from nnlib.graph import Graph, Node
from nnlib.layers.arrangement import Flatten, Reshape
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.embedding import Embedding
from nnlib.layers.local_response import LocalResponseNorm
from nnlib.layers.recurrent import Recurrent
from nnlib.lowering.site import part_of
from nnlib.model import Model
from nnlib.optim.clip import Clip, ClipByNorm
from nnlib.optim.optimizers import Optimizer
from nnlib.parts import PARTS, Part
from nnlib.precision import DTYPES
from nnlib.update import state_kinds
from sim.machine.roofline_spec import RooflineSpec, Work
from sim.machine.spec import MachineSpec
from workloads.jobs.roofline_recurrent import RecurrentWork
from workloads.mapping import Mapping

WORK_OF: Final[dict[Part, Work]] = {"conv": "convolution", "fc": "fully_connected"}
"""Which efficiency layers have; others have that of others."""


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

    def launch(self, account: Account, *, flops: float, numbers: float, part: Part, label: str, times: int = 1) -> None:
        """A kernel of ``flops`` that moves so many ``numbers`` between memory and device, ``times`` in a row."""
        moved = numbers * self.item
        seconds, arithmetic = self.devices.seconds(
            flops=flops, moved_bytes=moved, work=WORK_OF.get(part, "others"), number=self.mapping.dtype
        )
        reason = "compute" if arithmetic else "memory"
        account.add(seconds=times * self.devices.launch_seconds, reason="launch", part=part, label=label)
        account.add(seconds=times * seconds, reason=reason, part=part, label=label)
        account.launches += times
        account.moved_bytes += times * moved
        account.flops += times * flops

    def forward(self, account: Account, node: Node, *, training: bool) -> None:
        """One layer."""
        if isinstance(node.layer, Reshape | Flatten) or (isinstance(node.layer, Dropout) and not training):
            return
        part, label = part_of(node.layer), f"{node.name} (forward)"
        if isinstance(node.layer, Recurrent):
            work = RecurrentWork.of(node.layer, self.graph.input_shapes(node), samples=self.samples)
            self.launch(account, flops=work.input_flops, numbers=work.input_numbers, part=part, label=label)
            self._steps(account, work, part=part, label=label)
            return
        passes, outputs = self.devices.passes, self._outputs(node)
        if training and isinstance(node.layer, BatchNorm):
            self._kernels(account, passes.batch_norm_forward * outputs, part=part, label=label)
            return
        numbers = self._inputs(node) + outputs + self._weights(node)
        if isinstance(node.layer, LocalResponseNorm):
            numbers = passes.local_response_forward * outputs
        self.launch(account, flops=2.0 * self._products(node), numbers=numbers, part=part, label=label)
        if passes.bias_forward and isinstance(node.layer, Conv1d | Conv2d) and node.layer.bias:
            self.launch(account, flops=0.0, numbers=passes.bias_forward * outputs, part=part, label=label)

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
        wanted, passes = any(name in graph.learned for name in node.inputs), self.devices.passes
        if isinstance(node.layer, Recurrent):
            work = RecurrentWork.of(node.layer, graph.input_shapes(node), samples=self.samples)
            self._steps(account, work, part=part, label=label)
            self.launch(account, flops=work.all_flops - work.input_flops, numbers=work.kept, part=part, label=label)
            for _ in range(1 + wanted):  # by the input's weights, by the input
                self.launch(account, flops=work.input_flops, numbers=work.input_numbers, part=part, label=label)
            return
        if flops:
            if passes.bias_backward and isinstance(node.layer, Conv1d | Conv2d) and node.layer.bias:
                numbers = passes.bias_backward * outputs
                self.launch(account, flops=0.0, numbers=numbers, part=part, label=label)
            if weights:
                self.launch(account, flops=flops, numbers=inputs + outputs + weights, part=part, label=label)
            if wanted:  # layers without weights, such as attention, have the gradients of both factors
                both = flops if weights else 2 * flops
                self.launch(account, flops=both, numbers=inputs + outputs + weights, part=part, label=label)
            return
        if not wanted and not weights:
            return
        if isinstance(node.layer, BatchNorm):
            self._kernels(account, passes.batch_norm_backward * outputs, part=part, label=label)
            return
        # what was kept of the inputs and the gradients of the outputs come, the gradients of the inputs go
        numbers = inputs + outputs + (inputs if wanted else 0) + 2 * weights
        if isinstance(node.layer, LocalResponseNorm):
            numbers = passes.local_response_backward * outputs
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

    def _kernels(self, account: Account, numbers: float, *, part: Part, label: str) -> None:
        """The kernels of a normalisation over the batch, which together move so many numbers."""
        kernels = self.devices.passes.batch_norm_kernels
        self.launch(account, flops=0.0, numbers=numbers / kernels, part=part, label=label, times=kernels)

    def _steps(self, account: Account, work: RecurrentWork, *, part: Part, label: str) -> None:
        """One kernel for each step and direction of a recurrent layer, which reads the recurrent weights again."""
        self.launch(
            account, flops=work.step_flops, numbers=work.step_numbers, part=part, label=label, times=work.launches
        )

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
        if isinstance(node.layer, Embedding):  # of the table only rows are read, as many numbers as come out
            return self._outputs(node)
        return sum(prod(shape) for shape in node.layer.parameter_shapes(self.graph.input_shapes(node)).values())
