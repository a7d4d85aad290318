"""Workloads by name or file: read, extended, changed by settings, checked, described."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from nnlib.layers.layer import ShapeError
from nnlib.models.build import build_model
from nnlib.models.schema import LayersKeys, ModelKeys, kinds_in
from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.clip import Clip, ClipByNorm, ClipByValue
from nnlib.optim.lamb import LAMB
from nnlib.optim.lars import LARS
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.rate import LearningRate
from nnlib.optim.sgd import SGD
from sim.document import Document, apply_settings, read_document
from sim.named_files import find_file
from sim.problems import BadInput, Problem
from sim.validation import validate
from workloads.datasets.storage import StoredSample
from workloads.datasets.values import Values
from workloads.hpc.names import is_program
from workloads.schema import (
    ClipKeys,
    CutKeys,
    DataKeys,
    MaskedTextKeys,
    RecipeKeys,
    StormsKeys,
    TextKeys,
    TonesKeys,
    WorkloadFile,
    workload_file,
)
from workloads.shipped import shipped_workloads
from workloads.spec import DataSpec, ModelSpec, Recipe, Workload

if TYPE_CHECKING:  # a data set is loaded when a workload has it
    from workloads.datasets.generated import Generator
    from workloads.datasets.image_folder import Cut

PATHS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "archive": "the .npz file of the archive",
        "mnist": "the folder with the IDX files",
        "cifar10": "the folder with the six files of CIFAR-10",
        "images": "the folder with the folders train and val",
    }
)
"""What ``data.path`` is."""
SHIFTED: Final = frozenset({"digits", "archive", "mnist", "cifar10"})
"""Datasets of images in memory, which may be shifted and mirrored."""
OPTIMIZERS: Final[Mapping[str, type[Optimizer]]] = MappingProxyType(
    {"sgd": SGD, "lars": LARS, "adam": Adam, "adamw": AdamW, "lamb": LAMB}
)


def list_workloads() -> tuple[str, ...]:
    """The names of the networks that come with the package; what are none is listed by :mod:`workloads.hpc.files`."""
    return tuple(name for name in shipped_workloads() if not is_program(name))


def load_workload(name_or_path: str | Path, overrides: Sequence[str] = (), *, optimizer: str | None = None) -> Workload:
    """The workload of a shipped name or of a file, changed by settings such as ``recipe.until_accuracy=0.9``.

    ``optimizer`` takes the place of the recipe's: as the recipe's alternatives have it, else with its usual values.
    Raises BadInput with every problem found.
    """
    shipped = shipped_workloads()
    path = find_file(name_or_path, shipped=shipped, noun="workloads")
    document = read_document(path, named=shipped, whole=lambda mapping: "name" in mapping)
    if "kind" in document.data:
        expected = f"a network; {path.stem} is a program, for taihusim predict and taihusim workload show"
        raise BadInput([document.problem(("kind",), expected=expected, value=document.data["kind"])])
    if optimizer is not None:
        document = _with_optimizer(document, optimizer)
    document, file = _validated(document, overrides)
    problems: list[Problem] = []
    model = _model(document, file.model, problems)
    problems += [*_data_problems(document, file.data), *_recipe_problems(document, file.recipe)]
    if problems or model is None:
        raise BadInput(problems)
    return Workload(
        name=path.stem,
        title=file.title,
        model=model,
        data=_data(document, file.data),
        recipe=_recipe(file.recipe),
    )


def _validated(document: Document, overrides: Sequence[str]) -> tuple[Document, WorkloadFile]:
    """The document with settings, and its keys. Those of all models are made only to say what is wrong."""
    if not any(setting.strip().startswith("model") for setting in overrides):
        few = workload_file(kinds_in(document.data.get("model")))
        with suppress(BadInput):
            changed = apply_settings(document, overrides, model=few, noun="workload")
            return changed, validate(changed, few)
    changed = apply_settings(document, overrides, model=workload_file(), noun="workload")
    return changed, validate(changed, workload_file())


def describe(workload: Workload) -> dict[str, Any]:
    """The whole workload as plain data, as a record keeps it."""
    plain = {field.name: getattr(workload, field.name) for field in fields(workload)}
    plain |= {"data": workload.data and asdict(workload.data), "recipe": asdict(workload.recipe)}
    plain["model"] = workload.model.keys
    optimizer = workload.recipe.optimizer
    name = next(each for each, kind in OPTIMIZERS.items() if isinstance(optimizer, kind))
    plain["recipe"]["optimizer"] = {"name": name, **plain["recipe"]["optimizer"]}
    clip = workload.recipe.clip
    if clip is not None:
        plain["recipe"]["clip"] = {"norm" if isinstance(clip, ClipByNorm) else "value": clip.limit}
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


def _model(document: Document, keys: ModelKeys, problems: list[Problem]) -> ModelSpec | None:
    """The model, or None with its problems added."""
    try:
        built = build_model(keys, folder=_folder(document, ("model", "file")))
    except BadInput as error:
        problems.extend(error.problems)
    except ShapeError as error:
        place = ("model", "layers") if isinstance(keys, LayersKeys) else ("model",)
        problems.append(document.problem(place, expected=f"layers that fit together: {error}"))
    else:
        return ModelSpec(keys=keys.model_dump(exclude_none=True), built=built)
    return None


def _data(document: Document, keys: DataKeys) -> DataSpec:
    return DataSpec(
        dataset=keys.dataset,
        path=None if keys.path is None else str(_folder(document, ("data", "path")) / keys.path),
        train_size=keys.split.train,
        test_size=keys.split.test,
        split_seed=keys.split.seed,
        max_shift=keys.augmentation.max_shift,
        mirror=keys.augmentation.mirror,
        values=Values(scale=keys.scale, mean=keys.mean, deviation=keys.deviation),
        cut=_cut(keys),
        generator=_generator(keys),
        stored=None if keys.stored is None else StoredSample(**keys.stored.model_dump()),
    )


def _cut(keys: DataKeys) -> Cut | None:
    """Raises ValueError when the keys do not go together."""
    if keys.dataset != "images":
        return None
    from workloads.datasets.image_folder import Cut

    return Cut(**(keys.cut or CutKeys()).model_dump())


def _generator(keys: DataKeys) -> Generator | None:
    """Raises ValueError when the keys do not go together."""
    seed = keys.split.seed
    match keys.dataset:
        case "storms":
            from workloads.datasets.storms import Storms

            return Storms(**(keys.storms or StormsKeys()).model_dump(), seed=seed)
        case "tones":
            from workloads.datasets.tones import Tones

            return Tones(**(keys.tones or TonesKeys()).model_dump(), seed=seed)
        case "text":
            from workloads.datasets.text import Text

            return Text(**(keys.text or TextKeys()).model_dump(), seed=seed)
        case "masked_text":
            from workloads.datasets.masked_text import MaskedText

            return MaskedText(**(keys.masked_text or MaskedTextKeys()).model_dump(), seed=seed)
    return None


def _folder(document: Document, key: tuple[str, ...]) -> Path:
    """A path in a file is relative to that file, a path on the command line to the working folder."""
    origin = document.origin(key)
    return Path() if origin.setting else Path(origin.file).parent


def _recipe(keys: RecipeKeys) -> Recipe:
    values = keys.optimizer.model_dump(exclude={"name"})
    return Recipe(
        batch_per_node=keys.batch_per_node,
        optimizer=OPTIMIZERS[keys.optimizer.name](
            **values, weight_decay=keys.weight_decay, decay_vectors=keys.decay_vectors
        ),
        learning_rate=LearningRate(**keys.learning_rate.model_dump()),
        until_accuracy=keys.until_accuracy,
        max_steps=keys.max_steps,
        evaluate_every=keys.evaluate_every,
        until_measure=keys.until_measure,
        measure=keys.measure,
        clip=_clip(keys.clip),
    )


def _clip(keys: ClipKeys | None) -> Clip | None:
    if keys is None:
        return None
    return ClipByNorm(keys.norm) if keys.norm is not None else ClipByValue(keys.value or 0.0)


def _data_problems(document: Document, keys: DataKeys) -> list[Problem]:
    found: list[Problem] = []

    def problem(key: str, expected: str, value: object = None) -> None:
        found.append(document.problem(("data", *key.split(".")), expected=expected, value=value))

    dataset = keys.dataset
    if dataset in PATHS and keys.path is None:
        problem("path", f"{PATHS[dataset]}, as data.dataset is {dataset}")
    if dataset not in PATHS and keys.path is not None:
        problem("path", f"no path, as data.dataset is {dataset}", keys.path)
    for key in ("cut", "storms", "tones", "text", "masked_text"):
        owner = "images" if key == "cut" else key
        if getattr(keys, key) is not None and dataset != owner:
            problem(key, f"nothing, as data.dataset is {dataset}, not {owner}")
    if dataset not in SHIFTED:
        for name, value in keys.augmentation:
            if value:
                problem(f"augmentation.{name}", f"nothing, as data.dataset is {dataset}", value)
    for key, make in (("cut", _cut), (dataset, _generator)):
        try:
            make(keys)
        except ValueError as error:
            problem(key, f"values that go together: {error}")
    return found


def _recipe_problems(document: Document, keys: RecipeKeys) -> list[Problem]:
    rate = keys.learning_rate
    place = ("recipe", "learning_rate")
    problems = []
    if rate.cap is not None and rate.cap < rate.base:
        expected = f"at least the base learning rate {rate.base}"
        problems.append(document.problem((*place, "cap"), expected=expected, value=rate.cap))
    if rate.schedule not in ("constant", "multi_step") and rate.decay_steps is None:
        expected = f"a number of steps, as the schedule is {rate.schedule}"
        problems.append(document.problem((*place, "decay_steps"), expected=expected))
    if rate.schedule == "multi_step" and not rate.milestones:
        problems.append(document.problem((*place, "milestones"), expected="steps, as the schedule is multi_step"))
    if keys.clip is not None and (keys.clip.norm is None) == (keys.clip.value is None):
        problems.append(document.problem(("recipe", "clip"), expected="either norm or value"))
    return problems
