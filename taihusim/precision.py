"""What a mapping's precision means for training and inference: devices, programs, and what cannot be."""

from __future__ import annotations

import numpy as np

from nnlib.backends import layer_device
from nnlib.batch import Arrays
from nnlib.device import CoreGroupDevice, Device
from nnlib.lowering import lower_forward, lower_gradients
from nnlib.lowering.choice import Choice
from nnlib.lowering.planner import Planner
from nnlib.model import Model
from nnlib.precision.calibration import Calibration
from nnlib.program import Program
from nnlib.quantised.device import FixedDevice, StorageDevice, fixed_model
from nnlib.quantised.integer_device import IntegerDevice
from nnlib.quantised.lower import lower_integer
from nnlib.quantised.network import integer_shape
from sim.problems import BadInput, Problem
from taihusim.setup import Setup

DOUBLE = np.dtype(np.float64)


def check_training(setup: Setup) -> None:
    """Raise BadInput for a precision that nothing learns in, or that the backend does not have."""
    _check_backend(setup)
    if setup.mapping.precision == "int8":
        expected = "int16, fp32-fp64, fp32 or fp64: int8 is for inference"
        raise BadInput([_problem(setup, expected)])


def training_device(setup: Setup, *, together: int, seed: int) -> Device:
    """What computes the steps of a run."""
    mapping, processor = setup.mapping, setup.machine.processor
    tiles = mapping.numerics == "tile"
    if mapping.fixed is not None:
        chip = processor if tiles else None
        return FixedDevice(setup.model, mapping.fixed, seed, together, mapping.recompute, chip)
    if tiles:
        arithmetic = DOUBLE if mapping.precision == "fp32-fp64" else None
        choice = network_choice(setup)
        return CoreGroupDevice(
            setup.model, together, mapping.dtype, processor, mapping.recompute, arithmetic, choice=choice
        )
    if mapping.precision == "fp32-fp64":
        return StorageDevice(setup.model, together)
    return layer_device(setup.model, backend=mapping.backend, together=together, recompute=mapping.recompute)


def training_program(setup: Setup, *, batch: int, recompute: bool | None = None) -> Program:
    """A step on one core group. ``recompute``: unless it is as the mapping says."""
    mapping = setup.mapping
    model: Model = setup.model if mapping.fixed is None else fixed_model(setup.model, mapping.fixed)
    return lower_gradients(
        model=model,
        batch=batch,
        dtype=mapping.dtype,
        alignment=setup.machine.processor.memory.alignment_bytes,
        recompute=mapping.recompute if recompute is None else recompute,
        choice=network_choice(setup),
    )


def network_choice(setup: Setup) -> Choice:
    """Whose kernels the layers run on; core groups that are ranks of their own share no products."""
    shared = setup.mapping.ranks_per_node == 1
    return Choice(
        library=setup.mapping.library,
        core_groups=setup.machine.processor.core_groups if shared else 1,
        planner=Planner(setup.clock),
    )


def inference_device(setup: Setup, sample: Arrays | None) -> Device:
    """What computes outputs; integers are calibrated on ``sample``."""
    _check_backend(setup)
    mapping, processor, together = setup.mapping, setup.machine.processor, setup.core_group_batch(1)
    tiles = mapping.numerics == "tile"
    if mapping.integers is not None:
        if sample is None:
            raise ValueError("integers need a sample of data to calibrate on")
        calibration = Calibration(method=mapping.calibration)
        chip = processor if tiles else None
        return IntegerDevice(setup.model, mapping.integers, sample, calibration, chip, together)
    if tiles:
        arithmetic = DOUBLE if mapping.precision == "fp32-fp64" else None
        choice = network_choice(setup)
        return CoreGroupDevice(setup.model, together, mapping.dtype, processor, arithmetic=arithmetic, choice=choice)
    if mapping.precision == "fp32-fp64":
        return StorageDevice(setup.model)
    return layer_device(setup.model, backend=mapping.backend)


def inference_program(setup: Setup, *, batch: int) -> Program:
    """A batch on one core group."""
    mapping, alignment = setup.mapping, setup.machine.processor.memory.alignment_bytes
    if mapping.integers is None:
        return lower_forward(
            graph=setup.graph, batch=batch, dtype=mapping.dtype, alignment=alignment, choice=network_choice(setup)
        )
    return lower_integer(integer_shape(setup.graph, mapping.integers), batch=batch, alignment=alignment)


def real_layers(setup: Setup) -> list[str]:
    """The layers that infer with real numbers in a precision of integers, as they have no integer form."""
    integers = setup.mapping.integers
    return [] if integers is None else list(integer_shape(setup.graph, integers).real_layers)


def _check_backend(setup: Setup) -> None:
    mapping = setup.mapping
    if mapping.backend != "numpy" and mapping.precision not in ("fp64", "fp32"):
        raise BadInput([_problem(setup, f"fp64 or fp32 with the backend {mapping.backend}")])


def _problem(setup: Setup, expected: str) -> Problem:
    return Problem(
        file=f"mapping {setup.mapping.name}", key="precision", value=setup.mapping.precision, expected=expected
    )
