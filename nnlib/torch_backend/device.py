"""The device that computes a network by PyTorch, on the CPU or a GPU."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from nnlib.batch import Arrays, Batch
from nnlib.device import TRAINING
from nnlib.graph import Graph, Variables
from nnlib.layers.layer import INFERENCE, Array, Run
from nnlib.model import Gradients, Model
from nnlib.optim.clip import Clip
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.state import State
from nnlib.torch_backend import (  # noqa: F401  (their rules)
    activations,
    arrangements,
    attentions,
    convolutions,
    losses,
    normalisations,
    poolings,
    products,
    recurrents,
    sequences,
)
from nnlib.torch_backend.host import host_layer, host_loss
from nnlib.torch_backend.rules import LAYER_RULES, LOSS_RULES, RECTIFYING, Place
from nnlib.torch_backend.tensors import Tensor, default_device, to_array, to_tensor


@dataclass(frozen=True)
class TorchDevice:
    """PyTorch's functions and its gradients; results are the host's up to rounding.

    ``together``: samples of a core group, which are one batch where a layer mixes samples; by default all are.
    ``name``: of PyTorch's device.
    """

    model: Model
    together: int | None = None
    name: str = field(default_factory=default_device)

    def gradients(self, *, variables: Variables, batch: Batch, weights: Array, run: Run = TRAINING) -> Gradients:
        """Mean loss over the samples' ``weights`` and its gradients. Raises ValueError for an empty batch."""
        count = len(batch)
        if not count:
            raise ValueError("no samples: the gradients of an empty batch are not defined")
        shares = (weights / weights.sum(dtype=np.float64)).astype(weights.dtype)
        size = (self.together or count) if self.model.graph.mixes_samples else count
        graph = self.model.graph
        leaves = self._variables(variables, graph.parameters, learned=True)
        leaves |= self._variables(variables, graph.statistics, learned=False)
        loss, total = 0.0, dict.fromkeys(graph.parameters)
        statistics: dict[str, Array] = {}
        for first in range(0, count, size):
            part = slice(first, first + size)
            some = Run(training=run.training, key=run.key, first_sample=run.first_sample + first)
            value, grads, new = self._part(leaves, batch.take(part), shares[part], some)
            loss += value
            for name, grad in grads.items():
                before = total[name]
                total[name] = grad if before is None else before + grad
            weight = shares[part].sum()
            for name, array in new.items():
                statistics[name] = weight * array + statistics.get(name, 0)
        found = {
            name: np.zeros_like(variables[name]) if grad is None else to_array(grad) for name, grad in total.items()
        }
        return Gradients(loss, found, statistics)

    def outputs(self, *, variables: Variables, inputs: Arrays) -> dict[str, Array]:
        """The network's outputs by name, samples in front."""
        graph = self.model.graph.inference
        with torch.inference_mode():
            leaves = self._variables(variables, graph.variables, learned=False)
            tensors = {each.name: to_tensor(inputs[each.name], self.name) for each in graph.inputs}
            found, _ = run_graph(graph, leaves, tensors, run=INFERENCE, wanted=graph.outputs)
            return {name: to_array(found[name]) for name in self.model.graph.outputs}

    def update(
        self, *, optimizer: Optimizer, parameters: Variables, grads: Variables, state: State, rate: float
    ) -> None:
        """The optimiser's step of size ``rate``, in place."""
        optimizer.update(parameters, grads, state, rate=rate)

    def clip(self, *, clip: Clip, grads: Variables) -> None:
        """Clip the gradients in place."""
        clip.apply(grads)

    def _variables(
        self, variables: Variables, names: Sequence[str] | Mapping[str, object], *, learned: bool
    ) -> dict[str, Tensor]:
        found = {name: to_tensor(variables[name], self.name) for name in names}
        return {name: tensor.requires_grad_() for name, tensor in found.items()} if learned else found

    def _part(
        self, leaves: Mapping[str, Tensor], batch: Batch, shares: Array, run: Run
    ) -> tuple[float, dict[str, Tensor], dict[str, Array]]:
        """Loss, gradients and statistics of samples that go through the network together."""
        model, graph = self.model, self.model.training
        inputs = {each.name: to_tensor(batch.inputs[each.name], self.name) for each in graph.inputs}
        outputs, statistics = run_graph(graph, leaves, inputs, run=run, wanted=model.wanted)
        loss: Tensor = 0.0
        for term in model.losses:
            taken = tuple(outputs[name] for name in term.outputs)
            target = None if term.target is None else to_tensor(batch.targets[term.target], self.name)
            parts = to_tensor(shares * shares.dtype.type(term.weight), self.name)
            rule = LOSS_RULES.get(type(term).__name__, host_loss)
            loss = loss + rule(term, taken, target, parts)
        names = [name for name in graph.parameters if name in leaves]
        grads = torch.autograd.grad(loss, [leaves[name] for name in names], allow_unused=True)
        by_name = {name: grad for name, grad in zip(names, grads, strict=True) if grad is not None}
        return loss.item(), by_name, {name: to_array(each) for name, each in statistics.items()}


def run_graph(
    graph: Graph, variables: Mapping[str, Tensor], inputs: Mapping[str, Tensor], *, run: Run, wanted: Sequence[str]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The nodes ``wanted`` for a batch, and in training the statistics after it."""
    values = dict(inputs)
    uses = {name: node.name for node in graph.nodes for name in node.inputs}
    statistics: dict[str, Tensor] = {}
    rectified = _rectified(graph, wanted)
    for node in graph.nodes:
        place = Place(
            graph.own(variables, node.name),
            tuple(values[name] for name in node.inputs),
            run,
            rectified=node.name in rectified,
            done=node.inputs[0] in rectified,
        )
        rule = LAYER_RULES.get(type(node.layer).__name__, host_layer)
        values[node.name] = rule(node.layer, place)
        for name, tensor in place.statistics.items():
            statistics[f"{node.name}.{name}"] = tensor
        for name in set(node.inputs):
            if uses[name] == node.name and name not in wanted:
                del values[name]
    return {name: values[name] for name in wanted}, statistics


def _rectified(graph: Graph, wanted: Sequence[str]) -> frozenset[str]:
    """The nodes that a rectifier alone takes and whose rules can rectify on the way, without a tensor more."""
    takers = Counter(name for node in graph.nodes for name in node.inputs)
    found = set()
    for node in graph.nodes:
        before = graph.by_name.get(node.inputs[0])
        if type(node.layer).__name__ != "ReLU" or before is None or before.name in wanted or takers[before.name] > 1:
            continue
        kind = type(before.layer).__name__
        # a sum of one is no new tensor
        if kind in RECTIFYING and (kind != "Add" or len(before.inputs) > 1):
            found.add(before.name)
    return frozenset(found)
