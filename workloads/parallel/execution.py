"""A batch's loss and gradients computed as a strategy divides them, on virtual ranks, and put together again.

Every rank has its own arrays and nothing else; what it needs of others comes by messages. The result is that of one
rank that computes the micro-batches' parts one after the other
(:meth:`nnlib.model.Model.gradients` with ``together``), up to the order of summation. Layers that mix samples see
those that are computed together, so of batch normalisation the statistics are those of ``together`` samples.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nnlib.batch import Batch
from nnlib.graph import Variables, add_to
from nnlib.layers.layer import Array, Run, Saved
from nnlib.model import Gradients, Model
from workloads.parallel.exchange import Exchange
from workloads.parallel.groups import ArrayGroup, send
from workloads.parallel.pieces import cut, join
from workloads.parallel.pipeline import Stages, Work, one_forward_one_backward
from workloads.parallel.schedules import Collectives
from workloads.parallel.tensor import Division

Held = list[dict[str, Array]]
"""Arrays by name, for each rank of a tensor group."""


@dataclass
class StageState:
    """What the tensor ranks of one stage keep while a batch passes: by micro-batch what backward needs, and sums."""

    variables: Held
    grads: Held
    saved: dict[int, list[dict[str, Saved]]] = field(default_factory=dict)
    outputs: dict[int, Held] = field(default_factory=dict)
    statistics: Held = field(default_factory=list)
    loss: float = 0.0
    most_in_flight: int = 0


@dataclass(frozen=True)
class Replica:
    """The ranks that compute one part of a batch: ``stages`` of ``division``, in micro-batches."""

    division: Division
    stages: Stages
    group: ArrayGroup

    def run(self, variables: Variables, parts: Sequence[tuple[Batch, Array, Run]]) -> list[StageState]:
        """Pass ``parts`` (micro-batch, its samples' shares of the loss, its run) through the pipeline, 1F1B.

        Raises RuntimeError if the stages wait for one another.
        """
        ways = self.division.ways
        whole = [cut(variables, self.division.pieces, ways=ways, rank=rank) for rank in range(ways)]
        states = [
            StageState(
                [self._own(each, stage) for each in whole],
                [{} for _ in range(ways)],
                statistics=[{} for _ in range(ways)],
            )
            for stage in range(self.stages.count)
        ]
        todo = [
            deque(one_forward_one_backward(stages=self.stages.count, stage=stage, micro_batches=len(parts)))
            for stage in range(self.stages.count)
        ]
        arrived: dict[tuple[int, Work], Held] = {}
        while any(todo):
            moved = False
            for stage, work in enumerate(todo):
                while work and self._ready(stage, work[0], arrived):
                    self._do(states, stage, work.popleft(), parts, arrived)
                    moved = True
            if not moved:
                raise RuntimeError(f"the pipeline's stages wait for one another: {[list(each) for each in todo]}")
        return states

    def _own(self, variables: dict[str, Array], stage: int) -> dict[str, Array]:
        names = self.stages.graph.variable_names
        return {full: variables[full] for node in self.stages.nodes(stage) for full in names[node.name].values()}

    def _ready(self, stage: int, work: Work, arrived: Mapping[tuple[int, Work], Held]) -> bool:
        first, last = stage == 0, stage == self.stages.count - 1
        return (first if work.kind == "forward" else last) or (stage, work) in arrived

    def _do(
        self,
        states: list[StageState],
        stage: int,
        work: Work,
        parts: Sequence[tuple[Batch, Array, Run]],
        arrived: dict[tuple[int, Work], Held],
    ) -> None:
        batch, shares, run = parts[work.micro_batch]
        state = states[stage]
        came = arrived.pop((stage, work), [{} for _ in range(self.division.ways)])
        if work.kind == "forward":
            values = [{**batch.inputs, **each} for each in came]
            self._forward(state, stage, work.micro_batch, values, shares, run)
            if stage + 1 < self.stages.count:
                arrived[stage + 1, work] = _sent(values, self.stages.crossing[stage])
            else:
                wanted = self.stages.graph.outputs
                state.outputs[work.micro_batch] = [{name: each[name] for name in wanted} for each in values]
            state.most_in_flight = max(state.most_in_flight, len(state.saved))
        else:
            if stage == self.stages.count - 1:
                came = self._losses(state, work.micro_batch, batch, shares)
            self._backward(state, stage, work.micro_batch, came)
            if stage:
                arrived[stage - 1, work] = _sent(came, self.stages.crossing[stage - 1])

    def _forward(self, state: StageState, stage: int, number: int, values: Held, shares: Array, run: Run) -> None:
        """Compute a stage's nodes on all tensor ranks in step; ``values`` gains their outputs."""
        kept: list[dict[str, Saved]] = [{} for _ in values]
        share = shares.sum()
        for at, node in enumerate(self.stages.nodes(stage), start=self.stages.bounds[stage]):
            if isinstance(node.layer, Exchange):
                (source,) = node.inputs
                found = node.layer.forward_all([each[source] for each in values], self.group)
                for each, value in zip(values, found, strict=True):
                    each[node.name] = value
                continue
            for rank, each in enumerate(values):
                graph = self.division.models[rank].graph
                layer = graph.nodes[at].layer
                own = graph.own(state.variables[rank], node.name)
                each[node.name], saved = layer.forward(own, tuple(each[name] for name in node.inputs), run)
                kept[rank][node.name] = saved
                for name, array in layer.statistics(own, saved).items():
                    add_to(state.statistics[rank], f"{node.name}.{name}", share * array)
        state.saved[number] = kept

    def _losses(self, state: StageState, number: int, batch: Batch, shares: Array) -> Held:
        """The micro-batch's loss, which every tensor rank computes, and its gradients by the network's outputs."""
        found: Held = []
        for model, outputs in zip(self.division.models, state.outputs.pop(number), strict=True):
            loss, grads = model.losses_of(outputs, batch, shares)
            found.append(grads)
        state.loss += loss
        return found

    def _backward(self, state: StageState, stage: int, number: int, pending: Held) -> None:
        """From gradients ``pending`` of a stage's outputs to those of its inputs; parameters' are added up."""
        graph = self.stages.graph
        kept = state.saved.pop(number)
        nodes = self.stages.nodes(stage)
        for at in reversed(range(len(nodes))):
            node, place = nodes[at], self.stages.bounds[stage] + at
            grads = [each.pop(node.name, None) for each in pending]
            if grads[0] is None or node.name not in graph.learned:
                continue
            given = [grad for grad in grads if grad is not None]
            if isinstance(node.layer, Exchange):
                found = node.layer.backward_all(given, self.group)
                for each, value in zip(pending, found, strict=True):
                    add_to(each, node.inputs[0], value)
                continue
            needs = tuple(name in graph.learned for name in node.inputs)
            names = graph.variable_names[node.name]
            for rank, grad in enumerate(given):
                layer = self.division.models[rank].graph.nodes[place].layer
                own = {name: state.variables[rank][full] for name, full in names.items()}
                by_input, by_own = layer.backward(own, kept[rank][node.name], grad, needs)
                for name, value in by_own.items():
                    if name not in node.frozen:
                        add_to(state.grads[rank], names[name], value)
                for name, by in zip(node.inputs, by_input, strict=True):
                    if by is not None and name in graph.learned:
                        add_to(pending[rank], name, by)


@dataclass(frozen=True)
class Execution:
    """A strategy's ranks: ``replicas`` of ``stages`` × tensor ranks, which compute ``together`` samples at a time.

    ``sharded``: each replica gets the sum of its part of the gradients only (:mod:`workloads.parallel.sharding`).
    """

    source: Model
    division: Division
    stages: Stages
    collectives: Collectives
    replicas: int
    micro_batches: int
    together: int
    sharded: bool = False

    def gradients(self, variables: Variables, batch: Batch, weights: Array, run: Run) -> Gradients:
        """Mean loss over the samples' ``weights`` (B,), its gradients, and the statistics after the batch.

        Raises ValueError if replicas and micro-batches do not divide the samples.
        """
        states = self.run(variables, batch, weights, run)
        for replica in states:
            self._sum_tied(replica)
        found: dict[str, Array] = {}
        for stage in range(self.stages.count):
            summed = [self._reduced(states, stage, rank) for rank in range(self.division.ways)]
            found |= join(summed, self.division.pieces, variables)
        parameters = {name: found.get(name, np.zeros_like(variables[name])) for name in self.source.graph.parameters}
        statistics: dict[str, Array] = {}
        for replica in states:
            for state in replica:
                for name, array in join(state.statistics, self.division.pieces, variables).items():
                    add_to(statistics, name, array)
        return Gradients(sum(replica[-1].loss for replica in states), parameters, statistics)

    def run(self, variables: Variables, batch: Batch, weights: Array, run: Run) -> list[list[StageState]]:
        """What each stage of each replica has after its micro-batches, gradients not yet summed over the replicas."""
        parts = self.replicas * self.micro_batches
        if len(batch) % parts:
            raise ValueError(f"{len(batch)} samples for {self.replicas} replicas of {self.micro_batches} micro-batches")
        shares = weights / float(weights.sum(dtype=np.float64))
        size = len(batch) // self.replicas
        micro = size // self.micro_batches
        found = []
        for replica in range(self.replicas):
            pieces = []
            for first in range(replica * size, (replica + 1) * size, micro):
                for begin in range(first, first + micro, self.together):
                    part = slice(begin, min(begin + self.together, first + micro))
                    own = Run(training=run.training, key=run.key, first_sample=run.first_sample + begin)
                    pieces.append((batch.take(part), shares[part], own))
            group = ArrayGroup(self.collectives, self.division.ways)
            found.append(Replica(self.division, self.stages, group).run(variables, pieces))
        return found

    def _sum_tied(self, replica: list[StageState]) -> None:
        """Sum the gradients of a parameter that several stages use over these, which go on with equal weights."""
        for rank in range(self.division.ways):
            users: dict[str, list[dict[str, Array]]] = {}
            for state in replica:
                for name in state.grads[rank]:
                    users.setdefault(name, []).append(state.grads[rank])
            for name, several in users.items():
                if len(several) > 1:
                    total = ArrayGroup(self.collectives, len(several)).all_reduce([grads[name] for grads in several])
                    for grads, each in zip(several, total, strict=True):
                        grads[name] = each

    def _reduced(self, states: list[list[StageState]], stage: int, rank: int) -> dict[str, Array]:
        """The gradients of one stage's tensor rank, summed over the replicas.

        They are packed one behind the other; with sharding each replica gets the sum of its part.
        """
        each = [replica[stage].grads[rank] for replica in states]
        if len(each) == 1 or not each[0]:
            return each[0]
        flat = [packed(grads, each[0]) for grads in each]
        group = ArrayGroup(self.collectives, len(each))
        total = np.concatenate(group.reduce_scatter(flat)) if self.sharded else group.all_reduce(flat)[0]
        return unpacked(total, each[0])


def packed(arrays: Mapping[str, Array], names: Iterable[str]) -> Array:
    """Arrays one behind the other as one vector."""
    return np.concatenate([arrays[name].reshape(-1) for name in names] or [np.zeros(0)])


def unpacked(flat: Array, like: Mapping[str, Array]) -> dict[str, Array]:
    """A packed vector cut into arrays shaped like ``like``."""
    places = np.cumsum([array.size for array in like.values()])[:-1]
    parts = np.split(flat, places)
    return {name: part.reshape(array.shape) for (name, array), part in zip(like.items(), parts, strict=True)}


def _sent(held: Held, names: Sequence[str]) -> Held:
    """What the ranks of another stage have of these arrays, as far as there are any."""
    return [{name: send(each[name]) for name in names if name in each} for each in held]
