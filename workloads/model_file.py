"""A model file alone as a workload: it answers; its training can be timed, but there is nothing to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from nnlib.layers.layer import ShapeError
from nnlib.models.build import build_model
from nnlib.models.schema import FileKeys, file_keys
from nnlib.optim.rate import LearningRate
from nnlib.optim.sgd import SGD
from sim.problems import BadInput, Problem
from workloads.spec import ModelSpec, Recipe, Workload

LOSSES: Final = ("cross_entropy", "mean_squared_error")
"""What a model is taken to learn by whose file does not say it."""


def workload_of_file(path: Path, *, shapes: Mapping[str, int], batch: int, trained: bool = False) -> Workload:
    """The model of a file over inputs as the file has them, ``batch`` samples at a time on a node.

    ``shapes``: lengths of axes that the file leaves open. ``trained``: with a loss for its first output and momentum,
    as its training is timed. Raises BadInput when there is no such file.
    """
    if not path.is_file():
        raise BadInput([Problem(file=str(path), key="", value=None, expected="an ONNX file that exists")])
    keys = FileKeys(file=path.name, shapes=dict(shapes))
    return Workload(
        name=path.stem,
        title=path.name,
        model=_with_loss(keys, path.parent) if trained else _model(keys, path.parent),
        data=None,
        recipe=Recipe(
            batch_per_node=batch,
            optimizer=SGD(momentum=0.9 if trained else 0.0),
            learning_rate=LearningRate(base=1.0, at_batch=batch),
            until_accuracy=None,
            max_steps=1,
            evaluate_every=1,
        ),
    )


def _with_loss(keys: FileKeys, folder: Path) -> ModelSpec:
    """The model with the first of :data:`LOSSES` that its output can have; as it is if there is none."""
    for loss in LOSSES:
        learning = {**keys.model_dump(exclude_none=True), "loss": {"type": loss}}
        with suppress(ShapeError):
            return _model(file_keys((loss,)).model_validate(learning), folder)
    return _model(keys, folder)


def _model(keys: FileKeys, folder: Path) -> ModelSpec:
    built = build_model(keys, folder=folder, channels_last=False)
    return ModelSpec(keys=keys.model_dump(exclude_none=True), built=built)
