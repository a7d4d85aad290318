"""What one rank of each stage launches for a micro-batch, and when its gradients are ready."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from math import prod

from nnlib.parts import Part
from nnlib.program import Launch, Program
from nnlib.segments import segments
from sim.chip.processor import Segment
from workloads.jobs.node_timer import NodeTimer
from workloads.parallel.exchange import Exchange
from workloads.parallel.group_times import GroupTimes
from workloads.parallel.pipeline import Stages
from workloads.parallel.pipeline_times import Seconds


@dataclass(frozen=True)
class Blob:
    """A parameter's gradient of ``elements`` numbers, ready ``ready_seconds`` after the backward pass began."""

    name: str
    elements: int
    ready_seconds: float


@dataclass(frozen=True)
class Message:
    """``elements`` numbers that are sent together, under a parameter's name, at ``ready_seconds`` of the step.

    ``returned``: all replicas need their sum.
    """

    name: str
    elements: int
    ready_seconds: Seconds
    returned: bool = True


@dataclass(frozen=True)
class Bucket:
    """Gradients that are added up in the node together, once the last of them is ready."""

    blobs: tuple[Blob, ...]

    @property
    def elements(self) -> int:
        return sum(blob.elements for blob in self.blobs)

    def messages(self, seconds: Seconds, *, apart: bool) -> list[Message]:
        """What is sent from ``seconds`` on: all together, under the last one's name, or one by one."""
        if apart:
            return [Message(blob.name, blob.elements, seconds) for blob in self.blobs]
        return [Message(self.blobs[-1].name, self.elements, seconds)]


@dataclass
class StageWork:
    """One stage's passes of a micro-batch: launches and what its tensor ranks exchange, in seconds.

    ``by_part``: the launches' seconds by part of a step. ``exchanged_bytes`` are of all ranks of the stage.
    """

    forward: list[Segment] = field(default_factory=list)
    backward: list[Segment] = field(default_factory=list)
    forward_exchange: float = 0.0
    backward_exchange: float = 0.0
    exchanged_bytes: int = 0
    blobs: list[Blob] = field(default_factory=list)
    by_part: dict[Part, float] = field(default_factory=dict)

    @property
    def forward_seconds(self) -> float:
        """The whole forward pass."""
        return sum(segment.seconds for segment in self.forward) + self.forward_exchange

    @property
    def backward_seconds(self) -> float:
        """The whole backward pass."""
        return sum(segment.seconds for segment in self.backward) + self.backward_exchange


def stage_work(
    *,
    timer: NodeTimer,
    program: Program,
    stages: Stages,
    samples: int,
    times: GroupTimes,
) -> list[StageWork]:
    """The work of each stage for micro-batches of ``samples`` samples of a rank, for whose core groups ``program`` is.

    Ranks of a tensor group wait for each exchange. Raises InfeasiblePlan if a kernel finds no tile that fits the LDM.
    """
    found = [StageWork() for _ in range(stages.count)]
    place = {node.name: number for number, node in enumerate(stages.graph.nodes)}
    pending = _Exchanges(stages, samples, times)
    ready: list[dict[str, float]] = [{} for _ in range(stages.count)]
    for launch, segment in timer.program(program):
        number = place.get(launch.layer, len(place))
        stage = stages.of.get(launch.layer, stages.count - 1)
        work = found[stage]
        if launch.phase == "backward":
            pending.backward_down_to(number, found)
            work.backward.append(segment)
            for name in _gradients(launch, stages.graph.parameters):
                ready[stage][name] = work.backward_seconds
        elif launch.phase == "recompute":
            pending.again(found)
            work.backward.append(segment)
        else:
            pending.forward_up_to(number, found)
            work.forward.append(segment)
        work.by_part[launch.part] = work.by_part.get(launch.part, 0.0) + segment.seconds
    pending.forward_up_to(len(place), found)
    pending.backward_down_to(-1, found)
    sizes = {name: prod(shape) for name, shape in stages.graph.parameters.items()}
    for stage, work in enumerate(found):
        work.blobs = [Blob(name, sizes[name], seconds) for name, seconds in ready[stage].items()]
        work.blobs.sort(key=lambda blob: (blob.ready_seconds, blob.elements))
    return found


def node_seconds(*, timer: NodeTimer, program: Program, stages: Stages) -> list[float]:
    """The launches' time of each node, forward and backward, without exchanges: what stages are balanced by."""
    seconds = {node.name: 0.0 for node in stages.graph.nodes}
    last = stages.graph.nodes[-1].name
    for launch, segment in timer.program(program):
        name = launch.layer if launch.layer in seconds else last
        seconds[name] += segment.seconds
    return list(seconds.values())


def exchange_seconds(stages: Stages, *, samples: int, times: GroupTimes) -> list[float]:
    """What tensor ranks of one stage wait for each node's exchanges, forward and backward."""
    graph = stages.graph
    found = []
    for node in graph.nodes:
        seconds = 0.0
        if isinstance(node.layer, Exchange):
            elements = samples * node.layer.exchanged(graph.shapes[node.inputs[0]])
            for kind in (node.layer.forward_kind, node.layer.backward_kind):
                seconds += times.tensor(kind, stage=0, elements=elements)[0] if kind else 0.0
        found.append(seconds)
    return found


def packed(blobs: Sequence[Blob], *, item: int, limit: int) -> list[Bucket]:
    """Gradients in the order in which they become ready, together up to ``limit`` bytes."""
    found: list[Bucket] = []
    some: list[Blob] = []
    for number, blob in enumerate(blobs):
        some.append(blob)
        if sum(each.elements for each in some) * item >= limit or number == len(blobs) - 1:
            found.append(Bucket(tuple(some)))
            some = []
    return found


@dataclass
class _Exchanges:
    """Adds the exchanges of nodes as the launches pass them."""

    stages: Stages
    samples: int
    times: GroupTimes
    forward: int = 0
    backward: int | None = None
    repeated: bool = False

    def again(self, found: list[StageWork]) -> None:
        """Those of nodes that recomputation passes a second time: all but the last segment's."""
        if self.repeated:
            return
        self.repeated = True
        for part in segments(self.stages.graph)[:-1]:
            for node in part:
                if isinstance(node.layer, Exchange) and node.layer.forward_kind:
                    seconds, moved, stage = self._timed(node.layer, node.layer.forward_kind)
                    found[stage].backward_exchange += seconds
                    found[stage].exchanged_bytes += moved

    def forward_up_to(self, number: int, found: list[StageWork]) -> None:
        """Those of nodes before ``number``, going forward, once."""
        nodes = self.stages.graph.nodes
        while self.forward < min(number, len(nodes)):
            layer = nodes[self.forward].layer
            if isinstance(layer, Exchange) and layer.forward_kind:
                seconds, moved, stage = self._timed(layer, layer.forward_kind)
                found[stage].forward_exchange += seconds
                found[stage].exchanged_bytes += moved
            self.forward += 1

    def backward_down_to(self, number: int, found: list[StageWork]) -> None:
        """Those of nodes behind ``number``, going backward, once."""
        nodes = self.stages.graph.nodes
        if self.backward is None:
            self.backward = len(nodes) - 1
        while self.backward > number:
            layer = nodes[self.backward].layer
            if isinstance(layer, Exchange) and layer.backward_kind and layer.name in self.stages.graph.learned:
                seconds, moved, stage = self._timed(layer, layer.backward_kind)
                found[stage].backward_exchange += seconds
                found[stage].exchanged_bytes += moved
            self.backward -= 1

    def _timed(self, layer: Exchange, kind: str) -> tuple[float, int, int]:
        stage = self.stages.of[layer.name]
        graph = self.stages.graph
        (source,) = graph.by_name[layer.name].inputs
        elements = self.samples * layer.exchanged(graph.shapes[source])
        return *self.times.tensor(kind, stage=stage, elements=elements), stage


def _gradients(launch: Launch, parameters: Collection[str]) -> list[str]:
    """The parameters whose gradient, or a part of it where layers share them, is among the arguments."""
    found = []
    for buffer in launch.arguments.values():
        kind, _, name = buffer.partition(":")
        if kind == "part" and name not in parameters:
            name = name.rpartition(":")[0]
        if kind in ("grad", "part") and name in parameters:
            found.append(name)
    return found
