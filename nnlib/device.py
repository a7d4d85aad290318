"""What executes a lowered program: the core group's tile programs, or the layers' numerics on the host.

Both give the gradients of a batch; neither knows the other, and no layer or job knows which one runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nnlib.batch import Arrays, Batch
from nnlib.graph import Variables, add_to
from nnlib.kernels.kernel import Arguments, Kernel, blank
from nnlib.kernels.simulation import compute_kernel
from nnlib.layers.layer import Run
from nnlib.layers.randomness import key_numbers, layer_key, rounding_key
from nnlib.lowering import lower_forward, lower_gradients
from nnlib.lowering.choice import OWN, Choice
from nnlib.lowering.site import loss_buffer, shares_buffer, target_buffer
from nnlib.model import Gradients, Model
from nnlib.optim.clip import Clip
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.state import State
from nnlib.precision import STORAGE, DTypeName
from nnlib.precision.random import key_numbers as rounding_numbers
from nnlib.program import Program
from nnlib.update import begin_update, clip_gradients, update_tensor
from sim.chip.core_group import CoreGroup
from sim.chip.memory import Array, MemoryArray, Shape
from sim.machine.spec import ProcessorSpec

TRAINING = Run(training=True)


class Device(Protocol):
    """Computes a batch's loss and gradients, and a network's outputs."""

    @property
    def model(self) -> Model:
        """The network and its losses."""

    def gradients(self, *, variables: Variables, batch: Batch, weights: Array, run: Run = TRAINING) -> Gradients:
        """Mean loss over the samples' ``weights`` and its gradients. Raises ValueError for an empty batch."""

    def outputs(self, *, variables: Variables, inputs: Arrays) -> dict[str, Array]:
        """The network's outputs by name, samples in front."""

    def update(
        self, *, optimizer: Optimizer, parameters: Variables, grads: Variables, state: State, rate: float
    ) -> None:
        """The optimiser's step of size ``rate``, in place."""

    def clip(self, *, clip: Clip, grads: Variables) -> None:
        """Clip the gradients in place."""


@dataclass(frozen=True)
class HostDevice:
    """The layers' numerics, whole arrays at a time.

    ``together``: samples of a core group, which are one batch where a layer mixes samples; by default all are.
    ``recompute``: see :meth:`nnlib.model.Model.gradients`.
    """

    model: Model
    together: int | None = None
    recompute: bool = False

    def gradients(self, *, variables: Variables, batch: Batch, weights: Array, run: Run = TRAINING) -> Gradients:
        return self.model.gradients(
            variables, batch, weights, run=run, together=self.together, recompute=self.recompute
        )

    def outputs(self, *, variables: Variables, inputs: Arrays) -> dict[str, Array]:
        return self.model.graph.predict(variables, inputs)

    def update(
        self, *, optimizer: Optimizer, parameters: Variables, grads: Variables, state: State, rate: float
    ) -> None:
        optimizer.update(parameters, grads, state, rate=rate)

    def clip(self, *, clip: Clip, grads: Variables) -> None:
        clip.apply(grads)


@dataclass(frozen=True)
class CoreGroupDevice:
    """The tile programs: ``together`` samples at a time run on a core group, LDM, DMA, mesh and all.

    More samples run as more batches, as on more core groups, and their gradients are added in that order.
    ``arithmetic``: what the kernels compute with, if not in ``dtype``; see :class:`sim.chip.core_group.CoreGroup`.
    ``choice``: whose kernels they are.
    """

    model: Model
    together: int
    dtype: DTypeName
    processor: ProcessorSpec
    recompute: bool = False
    arithmetic: np.dtype[np.floating] | None = None
    choice: Choice = OWN
    programs: dict[tuple[bool, int], Program] = field(default_factory=dict, compare=False, repr=False)

    def gradients(self, *, variables: Variables, batch: Batch, weights: Array, run: Run = TRAINING) -> Gradients:
        if not len(batch):
            raise ValueError("no samples: the gradients of an empty batch are not defined")
        shares = weights / weights.sum()
        found = Gradients(0.0, {}, {})
        loss = 0.0
        for first in range(0, len(batch), self.together):
            part = slice(first, first + self.together)
            some = Run(training=run.training, key=run.key, first_sample=run.first_sample + first)
            loss += self._add_part(found, variables, batch.take(part), shares[part], some)
        zeros = {name: np.zeros_like(variables[name]) for name in self.model.graph.parameters}
        return Gradients(loss, zeros | found.parameters, found.statistics)

    def _add_part(self, sums: Gradients, variables: Variables, batch: Batch, shares: Array, run: Run) -> float:
        """Add a core group's gradients and statistics to ``sums``; returns its loss."""
        program = self.program(len(batch), training=True)
        inputs: dict[str, NDArray[Any]] = dict(batch.inputs)
        inputs |= {target_buffer(name): batch.targets[name] for name in self.model.targets}
        for number, loss in enumerate(self.model.losses):
            inputs[shares_buffer(number)] = (shares * shares.dtype.type(loss.weight))[:, None]
        arrays = Loaded(program, variables, self.processor, self.arithmetic).run(inputs, run)
        for name in self.model.graph.parameters:
            if f"grad:{name}" in arrays:
                add_to(sums.parameters, name, arrays[f"grad:{name}"])
        share = shares.sum()
        for name in self.model.graph.statistics:
            if f"new:{name}" in arrays:
                add_to(sums.statistics, name, share * arrays[f"new:{name}"])
        return sum(float(arrays[loss_buffer(number)].sum()) for number in range(len(self.model.losses)))

    def outputs(self, *, variables: Variables, inputs: Arrays) -> dict[str, Array]:
        count = len(next(iter(inputs.values())))
        graph = self.model.graph
        found: dict[str, list[Array]] = {name: [] for name in graph.outputs}
        for first in range(0, count, self.together):
            some = {name: array[first : first + self.together] for name, array in inputs.items()}
            size = min(self.together, count - first)
            program = self.program(size, training=False)
            arrays = Loaded(program, variables, self.processor, self.arithmetic).run(some, Run())
            for name, parts in found.items():
                parts.append(arrays[program.buffer(name).name].reshape(size, *graph.shapes[name]))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def program(self, batch: int, *, training: bool) -> Program:
        """The network lowered for ``batch`` samples, once."""
        if (training, batch) not in self.programs:
            if training:
                program = lower_gradients(
                    model=self.model, batch=batch, dtype=self.dtype, recompute=self.recompute, choice=self.choice
                )
            else:
                program = lower_forward(graph=self.model.graph, batch=batch, dtype=self.dtype, choice=self.choice)
            self.programs[training, batch] = program
        return self.programs[training, batch]

    def update(
        self, *, optimizer: Optimizer, parameters: Variables, grads: Variables, state: State, rate: float
    ) -> None:
        begin_update(optimizer=optimizer, state=state)
        for name, weight in parameters.items():
            update_tensor(
                optimizer=optimizer,
                name=name,
                weight=weight,
                grad=grads[name],
                state=state,
                rate=rate,
                execute=self.execute,
            )

    def clip(self, *, clip: Clip, grads: Variables) -> None:
        clip_gradients(clip=clip, grads=grads, execute=self.execute)

    def execute(self, kernel: Kernel, data: Mapping[str, Array]) -> None:
        """One kernel on arrays, in place."""
        compute_kernel(kernel, processor=self.processor, data=data, arithmetic=self.arithmetic)


def _rounding_key(run: Run, name: str) -> int:
    """The key of a buffer ``rounding:LAYER:WHAT``."""
    layer, _, what = name.rpartition(":")
    return rounding_key(run.key, layer, what, run.first_sample)


def planar_shape(shape: Shape) -> Shape:
    """Of images (batch, rows, columns, channels) in Caffe's order."""
    return shape[0], shape[-1], *shape[1:-1]


class Loaded:
    """A program with its buffers in a core group's memory, parameters and statistics filled in."""

    def __init__(
        self,
        program: Program,
        variables: Variables,
        processor: ProcessorSpec,
        arithmetic: np.dtype[np.floating] | None = None,
    ) -> None:
        self.program = program
        self.processor = processor
        self.arithmetic = arithmetic
        self.arrays: dict[str, Array] = {}
        self.memory: dict[str, MemoryArray] = {}
        for name, buffer in program.buffers.items():
            dtype = STORAGE[buffer.dtype]
            if buffer.role == "parameter":
                self.arrays[name] = np.ascontiguousarray(variables[name], dtype=dtype)
            else:
                self.arrays[name] = blank(buffer.shape, dtype)
            self.memory[name] = MemoryArray(
                name=name, shape=buffer.shape, dtype=dtype, address=buffer.address, data=self.arrays[name]
            )

    def run(self, inputs: Arrays, run: Run) -> dict[str, Array]:
        """Execute every launch; returns all buffers. What no launch has written reads as NaN."""
        for name, buffer in self.program.buffers.items():
            if buffer.role != "input":
                continue
            kind, _, layer = name.partition(":")
            if kind == "key":
                self.arrays[name][...] = key_numbers(layer_key(run.key, layer), run.first_sample)
            elif kind == "rounding":
                self.arrays[name][...] = rounding_numbers(_rounding_key(run, layer))
            elif kind == "ones":
                self.arrays[name][...] = 1
            elif buffer.layout == "planar":
                self.arrays[name].reshape(planar_shape(buffer.shape))[...] = np.moveaxis(inputs[name], -1, 1)
            else:
                self.arrays[name][...] = inputs[name].reshape(buffer.shape)
        for launch in self.program.launches:
            group = CoreGroup(processor=self.processor, numerics=True, timing=False, arithmetic=self.arithmetic)
            launch.kernel.program(group, self._arguments(launch.kernel, launch.arguments))
            group.finish()
        return self.arrays

    def _arguments(self, kernel: Kernel, buffers: Mapping[str, str]) -> Arguments:
        return {
            parameter.name: self.memory[buffers[parameter.name]].reshape(*parameter.shape)
            for parameter in kernel.parameters()
        }
