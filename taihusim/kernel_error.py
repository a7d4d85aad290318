"""How far the numbers that tile programs write are from whole-array operations, on random numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnlib.kernels.clock import compute_kernel
from nnlib.kernels.launch import Launch
from nnlib.precision import DTYPES, DTypeName
from sim.chip.memory import Array
from sim.machine.spec import ProcessorSpec


def launches_error(launches: Sequence[Launch], *, processor: ProcessorSpec, dtype: DTypeName, seed: int = 0) -> float:
    """The largest relative error, max|a−b| / max|b|, of any array that one core group's launches write."""
    rng = np.random.default_rng(seed)
    tiles: dict[str, Array] = {}
    for launch in launches:
        for parameter in launch.kernel.parameters():
            name = launch.arrays[parameter.name]
            if name not in tiles:
                tiles[name] = _numbers(parameter.name, parameter.shape, launch, rng, dtype)
    whole = {name: array.copy() for name, array in tiles.items()}
    worst = 0.0
    for launch in launches:
        compute_kernel(launch.kernel, processor=processor, data=launch.views(tiles))
        launch.kernel.reference(launch.views(whole))
        for parameter in launch.kernel.parameters():
            if parameter.use != "in":
                name = launch.arrays[parameter.name]
                scale = float(np.max(np.abs(whole[name]))) or 1.0
                worst = max(worst, float(np.max(np.abs(tiles[name] - whole[name]))) / scale)
    return worst


def _numbers(name: str, shape: tuple[int, ...], launch: Launch, rng: np.random.Generator, dtype: DTypeName) -> Array:
    """Random numbers that the parameter may have."""
    found: Array = rng.standard_normal(shape).astype(DTYPES[dtype])
    if name == "targets":  # label and weight of each row
        classes = next(each.shape[1] for each in launch.kernel.parameters() if each.name == "logits")
        found[:, 0] = rng.integers(0, classes, shape[0])
    if name in ("hyper", "square"):  # rates, decays and mean squares are never negative
        found = np.abs(found) % 1
    return found
