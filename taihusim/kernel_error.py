"""How far the numbers that tile programs write are from whole-array operations, on random numbers.

Launches are compared one by one with their kernels' references, which take the same detours as the tiles do: an error
in a transform that both share would not show. Convolutions are compared with the direct sum over taps as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from nnlib.kernels.arranging.embedding import GatherRows
from nnlib.kernels.arranging.sorting import SortTokens
from nnlib.kernels.convolutions.convolution import forward, input_gradient, weight_gradient
from nnlib.kernels.convolutions.plans import Task
from nnlib.kernels.kernel import Parameter, array_dtype, empty_array
from nnlib.kernels.launch import Launch
from nnlib.kernels.sequences.ctc import CtcLoss
from nnlib.kernels.simulation import compute_kernel
from sim.chip.memory import Array
from sim.machine.spec import ProcessorSpec

CHANNELS_LAST: Final = frozenset({"direct", "dma", "explicit", "winograd", "depthwise"})
"""Plans whose arrays lie as the direct convolution's; the others' one kernel has that convolution as its reference."""

LARGEST_INTEGER: Final = 127
"""Random integers are no larger: all formats have them."""


def launches_error(
    launches: Sequence[Launch],
    *,
    processor: ProcessorSpec,
    seed: int = 0,
    task: Task | None = None,
) -> float:
    """The largest relative error, max|a−b| / max|b|, of any array that one core group's launches write.

    ``task``: the pass of a convolution that they do on arrays in its order; their result is then compared with the
    direct convolution in double precision, too. Infinite where a number is missing.
    """
    rng = np.random.default_rng(seed)
    tiles: dict[str, Array] = {}
    for launch in launches:
        for parameter in launch.kernel.parameters():
            name = launch.arrays[parameter.name]
            if name not in tiles and parameter.use == "out":
                tiles[name] = empty_array(launch.kernel, parameter)
            elif name not in tiles:
                tiles[name] = _numbers(parameter, launch, rng)
    whole = {name: array.copy() for name, array in tiles.items()}
    worst = 0.0
    for launch in launches:
        compute_kernel(launch.kernel, processor=processor, data=launch.views(tiles))
        launch.kernel.reference(launch.views(whole))
        for parameter in launch.kernel.parameters():
            if parameter.use != "in":
                name = launch.arrays[parameter.name]
                worst = max(worst, _error(tiles[name], whole[name]))
    if task is None:
        return worst
    result, expected = _direct(task, whole)
    return max(worst, _error(tiles[result].reshape(expected.shape), expected))


def _error(found: Array, expected: Array) -> float:
    """max|a−b| / max|b|. Numbers that neither has do not count; infinite if only one of them has a number."""
    found, expected = found.astype(np.float64), expected.astype(np.float64)  # where differences of integers fit
    has = ~np.isnan(expected)
    if not np.array_equal(has, ~np.isnan(found)):
        return float("inf")
    scale = float(np.max(np.abs(expected), where=has, initial=0.0)) or 1.0
    return float(np.max(np.abs(found - expected), where=has, initial=0.0)) / scale


def _direct(task: Task, arrays: Mapping[str, Array]) -> tuple[str, Array]:
    """The name of what the core group's launches compute, and what it should be, in double precision."""
    convolution = task.share

    def of(name: str) -> Array:
        shapes = {"x": convolution.x_shape, "weight": convolution.weight_shape, "grad_y": convolution.y_shape}
        return arrays[name].reshape(shapes[name]).astype(np.float64)

    match task.which:
        case "forward":
            return "y", forward(convolution, of("x"), of("weight"))
        case "input_gradient":
            return "grad_x", input_gradient(convolution, of("grad_y"), of("weight"))
        case "weight_gradient":
            return "grad_weight", weight_gradient(convolution, of("grad_y"), of("x"))


def _numbers(parameter: Parameter, launch: Launch, rng: np.random.Generator) -> Array:
    """Random numbers that the parameter may have."""
    name, shape, dtype = parameter.name, parameter.shape, array_dtype(launch.kernel, parameter)
    if dtype.kind == "i":
        return rng.integers(-LARGEST_INTEGER, LARGEST_INTEGER + 1, shape).astype(dtype)
    found: Array = rng.standard_normal(shape).astype(dtype)
    if name == "multiplier":  # makes numbers of sums that are about as large as the factors
        found = np.abs(found) / LARGEST_INTEGER
    if name == "labels":
        of_classes = ("logits", "probabilities")
        classes = next(each.shape[-1] for each in launch.kernel.parameters() if each.name in of_classes)
        found[...] = rng.integers(0, classes, shape)
    if name == "tokens" and isinstance(launch.kernel, GatherRows | SortTokens):
        found[...] = rng.integers(0, launch.kernel.picks.rows, shape)
    if name == "targets" and isinstance(launch.kernel, CtcLoss):
        found[...] = rng.integers(1, launch.kernel.classes, shape)
    if name == "log_probs":
        found = -np.abs(found)
    if name in ("hyper", "square", "probabilities"):  # nor are rates, decays and mean squares ever negative
        found = np.abs(found) % 1
    if launch.kernel.name in ("log", "sqrt"):
        found = np.abs(found)
    return found
