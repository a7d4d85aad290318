"""A workload: what is to be computed, whatever machine it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnlib.model import Model
from nnlib.optim.rate import LearningRate
from workloads.datasets.values import AS_THEY_ARE, Values

if TYPE_CHECKING:  # what is only named here is loaded where a workload has it
    from nnlib.optim.clip import Clip
    from nnlib.optim.optimizers import Optimizer
    from workloads.datasets.generated import Generator
    from workloads.datasets.image_folder import Cut
    from workloads.datasets.names import DatasetName, MeasureName
    from workloads.datasets.storage import StoredSample


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What is computed: ``keys`` of the workload file's section ``model``, with those left out, and what they mean."""

    keys: Mapping[str, Any]
    built: Model


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The data: ``train_size`` and ``test_size`` samples, chosen by ``split_seed``, pixels in ``values``.

    Training images are shifted at random by up to ``max_shift`` pixels and, with ``mirror``, mirrored. ``path`` is the
    file of an archive or the folder of a dataset in files. ``cut``: what becomes of images of any size. ``stored``:
    what a sample takes on storage, if the file says so.
    """

    dataset: DatasetName
    path: str | None
    train_size: int
    test_size: int
    split_seed: int
    max_shift: int
    mirror: bool = False
    values: Values = AS_THEY_ARE
    cut: Cut | None = None
    generator: Generator | None = None
    stored: StoredSample | None = None


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the model is trained: until ``until_accuracy`` (a share of 1) on the test set, at most ``max_steps``.

    ``until_measure`` is the same for what else may be measured; ``measure`` None: as the loss and the data suggest.
    The weight decay is the optimiser's. ``clip`` bounds the gradients before each step. The test set is looked at
    every ``evaluate_every`` steps.
    """

    batch_per_node: int
    optimizer: Optimizer
    learning_rate: LearningRate
    until_accuracy: float | None
    max_steps: int
    evaluate_every: int
    until_measure: float | None = None
    measure: MeasureName | None = None
    clip: Clip | None = None


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is to be computed: the model, the data it learns from, if any, and the recipe of its training."""

    name: str
    title: str
    model: ModelSpec
    data: DataSpec | None
    recipe: Recipe
