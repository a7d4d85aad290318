"""What a mapping's precision means for training and inference: devices, programs, and what cannot be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from nnlib.lowering import lower_forward, lower_gradients
from nnlib.lowering.choice import Choice
from nnlib.program import Program
from sim.problems import BadInput, Problem
from taihusim.setup import Setup

if TYPE_CHECKING:  # who only times need not load what computes, and few networks are in integers
    from nnlib.batch import Arrays
    from nnlib.device import Device


def check_training(setup: Setup) -> None:
    """Raise BadInput for a precision that nothing learns in, or that the backend does not have."""
    _check_backend(setup)
    if setup.mapping.precision == "int8":
        expected = "int16, fp32-fp64, fp32 or fp64: int8 is for inference"
        raise BadInput([_problem(setup, expected)])


def training_device(setup: Setup, *, together: int, seed: int) -> Device:
    """What computes the steps of a run."""
    import numpy as np

    from nnlib.backends import layer_device
    from nnlib.device import CoreGroupDevice
    from nnlib.quantised.device import FixedDevice, StorageDevice

    mapping, processor = setup.mapping, setup.machine.processor
    tiles = mapping.numerics == "tile"
    if mapping.fixed is not None:
        chip = processor if tiles else None
        return FixedDevice(setup.model, mapping.fixed, seed, together, mapping.recompute, chip)
    if tiles:
        arithmetic = np.dtype(np.float64) if mapping.precision == "fp32-fp64" else None
        choice = network_choice(setup)
        return CoreGroupDevice(
            setup.model, together, mapping.dtype, processor, mapping.recompute, arithmetic, choice=choice
        )
    if mapping.precision == "fp32-fp64":
        return StorageDevice(setup.model, together)
    return layer_device(setup.model, backend=mapping.backend, together=together, recompute=mapping.recompute)


def training_program(setup: Setup, *, batch: int, recompute: bool | None = None) -> Program:
    """A step on one core group. ``recompute``: unless it is as the mapping says."""
    mapping, model = setup.mapping, setup.model
    if mapping.fixed is not None:
        from nnlib.quantised.device import fixed_model

        model = fixed_model(model, mapping.fixed)
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
    core_groups = setup.machine.processor.core_groups if shared else 1
    choice = Choice(library=setup.mapping.library, core_groups=core_groups)
    if choice.has_other_plans:
        from nnlib.lowering.planner import Planner

        choice = replace(choice, planner=Planner(setup.clock))
    return choice


def inference_device(setup: Setup, sample: Arrays | None) -> Device:
    """What computes outputs; integers are calibrated on ``sample``."""
    import numpy as np

    from nnlib.backends import layer_device
    from nnlib.device import CoreGroupDevice
    from nnlib.precision.calibration import Calibration
    from nnlib.quantised.device import StorageDevice
    from nnlib.quantised.integer_device import IntegerDevice

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
        arithmetic = np.dtype(np.float64) if mapping.precision == "fp32-fp64" else None
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
    from nnlib.quantised.lower import lower_integer
    from nnlib.quantised.network import integer_shape

    return lower_integer(integer_shape(setup.graph, mapping.integers), batch=batch, alignment=alignment)


def real_layers(setup: Setup) -> list[str]:
    """The layers that infer with real numbers in a precision of integers, as they have no integer form."""
    integers = setup.mapping.integers
    if integers is None:
        return []
    from nnlib.quantised.network import integer_shape

    return list(integer_shape(setup.graph, integers).real_layers)


def _check_backend(setup: Setup) -> None:
    mapping = setup.mapping
    if mapping.backend != "numpy" and mapping.precision not in ("fp64", "fp32"):
        raise BadInput([_problem(setup, f"fp64 or fp32 with the backend {mapping.backend}")])


def _problem(setup: Setup, expected: str) -> Problem:
    return Problem(
        file=f"mapping {setup.mapping.name}", key="precision", value=setup.mapping.precision, expected=expected
    )
