"""What executes a lowered program: the core group's tile programs, or the layers' numerics on the host.

Both give the gradients of a batch; neither knows the other, and no layer or job knows which one runs it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nnlib.graph import Graph
from nnlib.kernels.clock import compute_kernel
from nnlib.kernels.elementwise import Elementwise
from nnlib.kernels.kernel import Arguments, Kernel
from nnlib.kernels.reduction import ColumnSum
from nnlib.lower import INPUT, LOSS, TARGETS
from nnlib.optim import Optimizer, State
from nnlib.precision import DTYPES, dtype_name
from nnlib.program import Program
from nnlib.update import begin_update, needs_norms, state_kinds, update_function, update_hyper
from sim.chip.core_group import CoreGroup
from sim.chip.memory import Array, MemoryArray
from sim.machine.spec import ProcessorSpec

Parameters = Mapping[str, Array]
Labels = NDArray[np.integer]


class Device(Protocol):
    """Computes a batch's loss and gradients, and logits."""

    def gradients(
        self, *, parameters: Parameters, images: Array, labels: Labels, weights: Array
    ) -> tuple[float, dict[str, Array]]:
        """Mean loss over the samples' ``weights`` and its gradients by parameter."""

    def logits(self, *, parameters: Parameters, images: Array) -> Array:
        """The model's outputs, shape (samples, classes)."""

    def update(
        self, *, optimizer: Optimizer, parameters: Parameters, grads: Parameters, state: State, rate: float
    ) -> None:
        """The optimiser's step of size ``rate``, in place."""


@dataclass(frozen=True)
class HostDevice:
    """The layers' numerics, whole arrays at a time."""

    graph: Graph

    def gradients(
        self, *, parameters: Parameters, images: Array, labels: Labels, weights: Array
    ) -> tuple[float, dict[str, Array]]:
        return self.graph.loss_and_gradients(parameters, images, labels, weights)

    def logits(self, *, parameters: Parameters, images: Array) -> Array:
        return self.graph.predict(parameters, images)

    def update(
        self, *, optimizer: Optimizer, parameters: Parameters, grads: Parameters, state: State, rate: float
    ) -> None:
        optimizer.update(parameters, grads, state, rate=rate)


@dataclass(frozen=True)
class CoreGroupDevice:
    """The tile programs: each batch of the lowered size runs on a core group, LDM, DMA, mesh and all.

    ``training`` and ``inference`` are the same graph lowered for the batch of one core group; more samples run as
    more batches, as on more core groups, and their gradients are added in that order.
    """

    graph: Graph
    training: Program
    inference: Program
    processor: ProcessorSpec

    def gradients(
        self, *, parameters: Parameters, images: Array, labels: Labels, weights: Array
    ) -> tuple[float, dict[str, Array]]:
        batch = self.training.buffers[INPUT].shape[0]
        shares = weights / weights.sum()
        loaded = _Loaded(self.training, parameters, self.processor)
        total: dict[str, Array] | None = None
        loss = 0.0
        for first in range(0, len(images), batch):
            part = slice(first, first + batch)
            targets = np.stack([labels[part].astype(shares.dtype), shares[part]], axis=1)
            arrays = loaded.run({INPUT: images[part], TARGETS: targets})
            loss += float(arrays[LOSS].sum())
            if total is None:
                total = {name: arrays[f"grad:{name}"].copy() for name in parameters}
            else:
                for name, grad in total.items():
                    grad += arrays[f"grad:{name}"]
        if total is None:
            raise ValueError("no samples: the gradients of an empty batch are not defined")
        return loss, total

    def logits(self, *, parameters: Parameters, images: Array) -> Array:
        batch = self.inference.buffers[INPUT].shape[0]
        output = self.inference.buffer(self.graph.output).name
        loaded = _Loaded(self.inference, parameters, self.processor)
        outputs = []
        for first in range(0, len(images), batch):
            found = loaded.run({INPUT: images[first : first + batch]})[output]
            outputs.append(found.reshape(batch, *self.graph.output_shape)[: len(images) - first].copy())
        return np.concatenate(outputs)

    def update(
        self, *, optimizer: Optimizer, parameters: Parameters, grads: Parameters, state: State, rate: float
    ) -> None:
        begin_update(optimizer=optimizer, state=state)
        for name, weight in parameters.items():
            self.launch_update(optimizer=optimizer, name=name, weight=weight, grad=grads[name], state=state, rate=rate)

    def launch_update(
        self, *, optimizer: Optimizer, name: str, weight: Array, grad: Array, state: State, rate: float
    ) -> None:
        """One tensor's update by the optimiser's kernels."""
        dtype = dtype_name(weight.dtype)
        norms = tuple(self.sum_of_squares(array) ** 0.5 for array in (weight, grad)) if needs_norms(optimizer) else None
        kernel = Elementwise(update_function(optimizer), weight.size, dtype)
        hyper = update_hyper(optimizer=optimizer, state=state, rate=rate, norms=norms, axes=weight.ndim)
        arrays = {"weight": weight, "gradient": grad, "hyper": np.array(hyper, dtype=weight.dtype)}
        arrays |= {kind: state[f"{kind}:{name}"] for kind in state_kinds(optimizer)}
        flat = {key: np.ascontiguousarray(array).reshape(-1) for key, array in arrays.items()}
        self.execute(kernel, flat)
        for parameter in kernel.parameters():
            if parameter.use != "in":
                arrays[parameter.name][...] = flat[parameter.name].reshape(arrays[parameter.name].shape)

    def sum_of_squares(self, array: Array) -> float:
        """Σ x² of a tensor by its kernel."""
        kernel = ColumnSum(rows=array.size, columns=1, dtype=dtype_name(array.dtype), squared=True)
        total = np.zeros(1, dtype=array.dtype)
        self.execute(kernel, {"x": np.ascontiguousarray(array).reshape(-1, 1), "total": total})
        return float(total[0])

    def execute(self, kernel: Kernel, data: Mapping[str, Array]) -> None:
        """One kernel on arrays, in place."""
        compute_kernel(kernel, processor=self.processor, data=data)


class _Loaded:
    """A program with its buffers in a core group's memory, parameters filled in; it runs for one batch at a time."""

    def __init__(self, program: Program, parameters: Parameters, processor: ProcessorSpec) -> None:
        dtype = DTYPES[program.dtype]
        self.processor = processor
        self.arrays: dict[str, Array] = {}
        self.written: list[str] = []
        memory = {}
        for name, buffer in program.buffers.items():
            if buffer.role == "parameter":
                self.arrays[name] = np.ascontiguousarray(parameters[name], dtype=dtype)
            else:
                self.arrays[name] = np.empty(buffer.shape, dtype=dtype)
                self.written.append(name)
            memory[name] = MemoryArray(
                name=name, shape=buffer.shape, dtype=dtype, address=buffer.address, data=self.arrays[name]
            )
        self.launches: list[tuple[Kernel, Arguments]] = []
        for launch in program.launches:
            arguments = {
                parameter.name: memory[launch.arguments[parameter.name]].reshape(*parameter.shape)
                for parameter in launch.kernel.parameters()
            }
            self.launches.append((launch.kernel, arguments))

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Execute every launch; returns all buffers, valid until the next run.

        Inputs shorter than the batch are filled up with zeros; what no launch has written reads as NaN.
        """
        for name in self.written:
            array = self.arrays[name]
            if name in inputs:
                array[: len(inputs[name])] = inputs[name]
                array[len(inputs[name]) :] = 0
            else:
                array.fill(np.nan)
        for kernel, arguments in self.launches:
            group = CoreGroup(processor=self.processor, numerics=True, timing=False)
            kernel.program(group, arguments)
            group.finish()
        return self.arrays
