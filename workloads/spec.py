"""A workload: what is to be computed, whatever machine it runs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from nnlib.layers import ShapeError
from nnlib.model import Model
from nnlib.models.build import build_model
from nnlib.models.schema import LayersKeys, ModelKeys
from nnlib.optim import LARS, SGD, Adam, LearningRate, Optimizer
from sim.document import Document, apply_settings, read_document
from sim.named_files import find_file, shipped_files
from sim.problems import BadInput, Problem
from sim.validation import validate
from workloads.schema import DataKeys, DatasetName, RecipeKeys, WorkloadFile

FOLDER = Path(__file__).parent
OPTIMIZERS: Final[Mapping[str, type[Optimizer]]] = MappingProxyType({"sgd": SGD, "lars": LARS, "adam": Adam})


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What is computed, as the workload file's section ``model`` has it."""

    keys: ModelKeys

    def build(self) -> Model:
        """The network and its losses. Raises ShapeError if its layers do not fit together."""
        return build_model(self.keys)


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The data: ``train_size`` and ``test_size`` samples, chosen by ``split_seed``, values multiplied by ``scale``.

    Training images are shifted at random by up to ``max_shift`` pixels. ``path`` is the file of an archive.
    """

    dataset: DatasetName
    path: str | None
    train_size: int
    test_size: int
    split_seed: int
    max_shift: int
    scale: float


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How the model is trained: until ``until_accuracy`` (a share of 1) on the test set, at most ``max_steps``.

    The weight decay is the optimiser's. The test set is looked at every ``evaluate_every`` steps.
    """

    batch_per_node: int
    optimizer: Optimizer
    learning_rate: LearningRate
    until_accuracy: float | None
    max_steps: int
    evaluate_every: int


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is to be computed: the model, the data it learns from and the recipe of its training."""

    name: str
    title: str
    model: ModelSpec
    data: DataSpec
    recipe: Recipe


def list_workloads() -> tuple[str, ...]:
    """The names of the workloads that come with the package."""
    return tuple(shipped_files(FOLDER))


def load_workload(name_or_path: str | Path, overrides: Sequence[str] = (), *, optimizer: str | None = None) -> Workload:
    """The workload of a shipped name or of a file, changed by settings such as ``recipe.until_accuracy=0.9``.

    ``optimizer`` takes the place of the recipe's: as the recipe's alternatives have it, else with its usual values.
    Raises BadInput with every problem found.
    """
    shipped = shipped_files(FOLDER)
    path = find_file(name_or_path, shipped=shipped, noun="workloads")
    document = read_document(path, named=shipped, whole=lambda mapping: "name" in mapping)
    if optimizer is not None:
        document = _with_optimizer(document, optimizer)
    document = apply_settings(document, overrides, model=WorkloadFile, noun="workload")
    file = validate(document, WorkloadFile)
    problems = [
        *_model_problems(document, file.model),
        *_data_problems(document, file.data),
        *_recipe_problems(document, file.recipe),
    ]
    if problems:
        raise BadInput(problems)
    return Workload(
        name=path.stem,
        title=file.title,
        model=ModelSpec(keys=file.model),
        data=_data(document, file.data),
        recipe=_recipe(file.recipe),
    )


def describe(workload: Workload) -> dict[str, Any]:
    """The whole workload as plain data, as a record keeps it."""
    plain = {field.name: getattr(workload, field.name) for field in fields(workload)}
    plain |= {"data": asdict(workload.data), "recipe": asdict(workload.recipe)}
    plain["model"] = workload.model.keys.model_dump(exclude_none=True)
    optimizer = workload.recipe.optimizer
    name = next(each for each, kind in OPTIMIZERS.items() if isinstance(optimizer, kind))
    plain["recipe"]["optimizer"] = {"name": name, **plain["recipe"]["optimizer"]}
    return plain


def _with_optimizer(document: Document, name: str) -> Document:
    """The document whose recipe is that of optimiser ``name``; one that is already there stays as it is."""
    recipe = document.data.get("recipe")
    if not isinstance(recipe, dict) or _optimizer_name(recipe) == name:
        return document
    alternatives = recipe.get("alternatives")
    listed = [each for each in alternatives if isinstance(each, dict)] if isinstance(alternatives, list) else []
    chosen = next((each for each in listed if _optimizer_name(each) == name), {"optimizer": {"name": name}})
    return replace(document, data={**document.data, "recipe": {**recipe, **chosen}})


def _optimizer_name(section: Mapping[str, Any]) -> object:
    optimizer = section.get("optimizer")
    return optimizer.get("name") if isinstance(optimizer, dict) else None


def _data(document: Document, keys: DataKeys) -> DataSpec:
    return DataSpec(
        dataset=keys.dataset,
        path=None if keys.path is None else str(_beside(document, keys.path)),
        train_size=keys.split.train,
        test_size=keys.split.test,
        split_seed=keys.split.seed,
        max_shift=keys.augmentation.max_shift,
        scale=keys.scale,
    )


def _beside(document: Document, path: str) -> Path:
    """A path in a file is relative to that file, a path on the command line to the working folder."""
    origin = document.origin(("data", "path"))
    return Path(path) if origin.setting else Path(origin.file).parent / path


def _recipe(keys: RecipeKeys) -> Recipe:
    values = keys.optimizer.model_dump(exclude={"name"})
    return Recipe(
        batch_per_node=keys.batch_per_node,
        optimizer=OPTIMIZERS[keys.optimizer.name](**values, weight_decay=keys.weight_decay),
        learning_rate=LearningRate(**keys.learning_rate.model_dump()),
        until_accuracy=keys.until_accuracy,
        max_steps=keys.max_steps,
        evaluate_every=keys.evaluate_every,
    )


def _model_problems(document: Document, keys: ModelKeys) -> list[Problem]:
    place = ("model", "layers") if isinstance(keys, LayersKeys) else ("model",)
    try:
        build_model(keys)
    except ShapeError as error:
        return [document.problem(place, expected=f"layers that fit together: {error}")]
    return []


def _data_problems(document: Document, keys: DataKeys) -> list[Problem]:
    place = ("data", "path")
    if keys.dataset == "archive" and keys.path is None:
        return [document.problem(place, expected="the .npz file of the archive, as data.dataset is archive")]
    if keys.dataset != "archive" and keys.path is not None:
        expected = f"no path, as data.dataset is {keys.dataset}"
        return [document.problem(place, expected=expected, value=keys.path)]
    return []


def _recipe_problems(document: Document, keys: RecipeKeys) -> list[Problem]:
    rate = keys.learning_rate
    place = ("recipe", "learning_rate")
    problems = []
    if rate.cap is not None and rate.cap < rate.base:
        expected = f"at least the base learning rate {rate.base}"
        problems.append(document.problem((*place, "cap"), expected=expected, value=rate.cap))
    if rate.schedule != "constant" and rate.decay_steps is None:
        expected = f"a number of steps, as the schedule is {rate.schedule}"
        problems.append(document.problem((*place, "decay_steps"), expected=expected))
    return problems
