"""A model file alone as a workload: it answers, but has nothing to learn from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from nnlib.models.schema import FileKeys
from nnlib.optim import SGD, LearningRate
from sim.problems import BadInput, Problem
from workloads.spec import ModelSpec, Recipe, Workload

SUFFIX: Final = ".onnx"


def is_model_file(name: str) -> bool:
    """Whether a workload's name is that of a model file."""
    return name.lower().endswith(SUFFIX)


def workload_of_file(path: Path, *, shapes: Mapping[str, int], batch: int) -> Workload:
    """The model of a file over inputs as the file has them, ``batch`` samples at a time on a node.

    ``shapes``: lengths of axes that the file leaves open. Raises BadInput when there is no such file.
    """
    if not path.is_file():
        raise BadInput([Problem(file=str(path), key="", value=None, expected="an ONNX file that exists")])
    return Workload(
        name=path.stem,
        title=path.name,
        model=ModelSpec(keys=FileKeys(file=path.name, shapes=dict(shapes)), folder=path.parent, channels_last=False),
        data=None,
        recipe=Recipe(
            batch_per_node=batch,
            optimizer=SGD(),
            learning_rate=LearningRate(base=1.0, at_batch=batch),
            until_accuracy=None,
            max_steps=1,
            evaluate_every=1,
        ),
    )
