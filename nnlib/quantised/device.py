"""Devices that train and infer in fixed point, or in fp32 with fp64 arithmetic, by the layers' numerics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

import nnlib.quantised.lower_training  # noqa: F401 registers its rules
from nnlib.batch import Arrays, Batch
from nnlib.device import TRAINING, CoreGroupDevice, Device, HostDevice
from nnlib.graph import Variables
from nnlib.layers.layer import Array, Run
from nnlib.layers.randomness import layer_key, step_key
from nnlib.model import Gradients, Model
from nnlib.optim.clip import Clip
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.state import State
from nnlib.precision import DTYPES
from nnlib.quantised.layer import FixedBoundary, StorageBoundary, bounded
from nnlib.quantised.scheme import FixedScheme
from sim.machine.spec import ProcessorSpec

ROUNDINGS = "roundings"
"""Counts the updates in the optimiser's state: every one rounds by random numbers of its own."""


@dataclass(frozen=True)
class FixedDevice:
    """Weights, activations, gradients and the optimiser's numbers are integers times a step, as ``scheme`` says.

    Arrays hold their values in fp64, all of them in the format. Statistics of normalisations are not rounded.
    ``together``: samples of a core group, whose tensors share a step; by default all of a batch.
    ``seed`` decides the random numbers of rounding. ``processor``: of a core group that computes in its tiles.
    """

    original: Model
    scheme: FixedScheme
    seed: int = 0
    together: int | None = None
    recompute: bool = False
    processor: ProcessorSpec | None = None

    @cached_property
    def model(self) -> Model:
        """The network with its numbers rounded."""
        return fixed_model(self.original, self.scheme)

    @cached_property
    def inner(self) -> Device:
        """What computes with real numbers and rounds where layers end."""
        if self.processor is None:
            return HostDevice(self.model, self.together, self.recompute)
        return CoreGroupDevice(self.model, self.together or 1, "fp64", self.processor, self.recompute)

    def gradients(self, *, variables: Variables, batch: Batch, weights: Array, run: Run = TRAINING) -> Gradients:
        inputs = Batch(inputs=self._inputs(batch.inputs), targets=batch.targets)
        return self.inner.gradients(variables=self._variables(variables), batch=inputs, weights=weights, run=run)

    def outputs(self, *, variables: Variables, inputs: Arrays) -> dict[str, Array]:
        return self.inner.outputs(variables=self._variables(variables), inputs=self._inputs(inputs))

    def clip(self, *, clip: Clip, grads: Variables) -> None:
        """Clip the gradients in place."""
        self.inner.clip(clip=clip, grads=grads)

    def update(
        self, *, optimizer: Optimizer, parameters: Variables, grads: Variables, state: State, rate: float
    ) -> None:
        """The optimiser's step, then its numbers and the weights rounded again, in place."""
        scheme = self.scheme
        count = state.setdefault(ROUNDINGS, np.zeros(1))
        count += 1
        key = step_key(self.seed, int(count[0]))
        rounded = {name: scheme.round_tensor(grad, key=layer_key(key, f"g:{name}")) for name, grad in grads.items()}
        worked = parameters
        if scheme.master:
            worked = {name: state.setdefault(f"master:{name}", np.array(array)) for name, array in parameters.items()}
        else:
            for array in parameters.values():
                array[...] = scheme.round_weights(array, nearest=True)
        self.inner.update(optimizer=optimizer, parameters=worked, grads=rounded, state=state, rate=rate)
        for name, array in parameters.items():
            array[...] = scheme.round_weights(worked[name], key=layer_key(key, f"w:{name}"))
        if scheme.master:
            return
        for name, array in state.items():
            if ":" in name:
                array[...] = scheme.round_tensor(array, key=layer_key(key, name))

    def _variables(self, variables: Variables) -> dict[str, Array]:
        """Parameters in their format: those that are there already stay, fresh ones are rounded to nearest."""
        learned = self.original.graph.parameters
        return {
            name: self.scheme.round_weights(array, nearest=True) if name in learned else array
            for name, array in variables.items()
        }

    def _inputs(self, inputs: Arrays) -> Arrays:
        kinds = {each.name: each.integer for each in self.original.graph.inputs}
        return {
            name: array if kinds[name] else self.scheme.round_tensor(array, nearest=True)
            for name, array in inputs.items()
        }


def fixed_model(model: Model, scheme: FixedScheme) -> Model:
    """The model with the numbers of its network rounded to fixed point."""
    return replace(model, graph=bounded(model.graph, FixedBoundary(scheme)))


@dataclass(frozen=True)
class StorageDevice:
    """Arrays in memory are fp32; layers and optimisers compute in fp64 and round what they store."""

    original: Model
    together: int | None = None

    @cached_property
    def model(self) -> Model:
        """The network with its numbers rounded."""
        return replace(self.original, graph=bounded(self.original.graph, StorageBoundary(DTYPES["fp32"])))

    def gradients(self, *, variables: Variables, batch: Batch, weights: Array, run: Run = TRAINING) -> Gradients:
        return self.model.gradients(variables, batch, weights, run=run, together=self.together)

    def outputs(self, *, variables: Variables, inputs: Arrays) -> dict[str, Array]:
        return self.model.graph.predict(variables, inputs)

    def clip(self, *, clip: Clip, grads: Variables) -> None:
        """Clip the gradients in place."""
        clip.apply(grads)

    def update(
        self, *, optimizer: Optimizer, parameters: Variables, grads: Variables, state: State, rate: float
    ) -> None:
        """The optimiser's step in fp64, its numbers and the weights stored in fp32, in place."""
        worked, wide = _widened(parameters), _widened(state)
        optimizer.update(worked, _widened(grads), wide, rate=rate)
        for target, source in ((parameters, worked), (state, wide)):
            for name, array in target.items():
                array[...] = source[name]


def _widened(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array.astype(np.float64) for name, array in arrays.items()}
