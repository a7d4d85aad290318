"""The dataset a workload names, split, and bound to its model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnlib.model import Model
from sim.problems import BadInput, Problem
from workloads.datasets.archive import load_archive
from workloads.datasets.binding import bind
from workloads.datasets.cifar10 import load_cifar10
from workloads.datasets.dataset import IMAGE, LABEL, Dataset, Field, Labelled, Labels, Part, Store, split
from workloads.datasets.digits import load_digits
from workloads.datasets.generated import generated_fields, generated_store
from workloads.datasets.image_folder import Cut, ImageFolder, load_image_folders
from workloads.datasets.measure import HIGHER_IS_BETTER, Measure, choose_measure
from workloads.datasets.mnist import load_mnist
from workloads.datasets.pixels import PixelParts, Pixels
from workloads.datasets.storage import GENERATED, StoredSample, stored_array, stored_folder, stored_pixels
from workloads.datasets.stores import FolderStore, ImageStore
from workloads.spec import DataSpec, Workload


@dataclass(frozen=True, kw_only=True, eq=False)
class _Unbound:
    """Both parts before they are bound to a model."""

    train: Store
    test: Store
    fields: Mapping[str, Field]
    stored: StoredSample


def load_dataset(workload: Workload, model: Model | None = None) -> Dataset:
    """The workload's data, as its model takes them.

    Raises BadInput when a file is missing or wrong, when there are too few samples, or when they have another shape
    than the model's input or more classes than it has outputs; ModuleNotFoundError when the package that the data
    come with is missing.
    """
    data = workload.data
    if data is None:
        expected = "a workload file that says which data the model learns from or is judged by"
        raise BadInput([Problem(file=workload.title, key="data", value=None, expected=expected)])
    file = f"workload {workload.name}" if data.path is None else data.path
    model = model or workload.model.built
    found, problems = _load(data, file)
    fields = found.fields if found is not None else None
    binding = None
    if fields is not None:
        try:
            layers, foreign = "layers" in workload.model.keys, "file" in workload.model.keys
            binding = bind(fields, model, file=file, layers=layers, foreign=foreign)
        except BadInput as error:
            problems += error.problems
    if problems or found is None or binding is None:
        raise BadInput(problems)
    return Dataset(
        train=Part(store=found.train, binding=binding),
        test=Part(store=found.test, binding=binding),
        fields=found.fields,
        stored=found.stored,
    )


def measure_of(workload: Workload, dataset: Dataset, model: Model) -> Measure | None:
    """What the workload's model is judged by; None when it has no loss with a target.

    Raises BadInput when the recipe names a measure or a goal that does not go with the model and its data.
    """
    measure, recipe = choose_measure(model, dataset.fields, dataset.train.binding), workload.recipe
    if measure is None or recipe.measure in (None, measure.name):
        return measure
    classes = dataset.fields[dataset.train.binding.targets[measure.target].field].classes
    able = {"accuracy", "mean_iou", "bits_per_symbol"}
    if classes is None or not {recipe.measure, measure.name} <= able:
        expected = f"{measure.name}, which goes with the model's loss"
        problem = Problem(
            file=f"workload {workload.name}", key="recipe.measure", value=recipe.measure, expected=expected
        )
        raise BadInput([problem])
    return Measure(name=recipe.measure, output=measure.output, target=measure.target)


def goal_of(workload: Workload, measure: Measure | None) -> float | None:
    """The value of ``measure`` at which training ends by the recipe, if it says one.

    Raises BadInput when the recipe waits for an accuracy and something else is measured.
    """
    recipe = workload.recipe
    if recipe.until_measure is not None:
        return recipe.until_measure
    if recipe.until_accuracy is None or (measure is not None and measure.name in HIGHER_IS_BETTER):
        return recipe.until_accuracy
    name = "nothing" if measure is None else measure.name
    expected = f"until_measure instead, as the model is judged by {name}"
    file = f"workload {workload.name}"
    raise BadInput([Problem(file=file, key="recipe.until_accuracy", value=recipe.until_accuracy, expected=expected)])


def _load(data: DataSpec, file: str) -> tuple[_Unbound | None, list[Problem]]:
    """The two parts, as far as there are enough samples; with what is wrong with the values, too."""
    if data.generator is not None:
        stores = (
            generated_store(data.generator, count=count, test=test)
            for count, test in ((data.train_size, False), (data.test_size, True))
        )
        train, test = stores
        fields = generated_fields(data.generator)
        return _Unbound(train=train, test=test, fields=fields, stored=GENERATED), []
    if data.dataset == "images":
        assert data.path is not None
        return _load_folders(data, Path(data.path), file)
    if data.dataset in ("mnist", "cifar10"):
        assert data.path is not None
        load = load_mnist if data.dataset == "mnist" else load_cifar10
        return _divided(data, load(Path(data.path)), file)
    samples = load_digits() if data.path is None else load_archive(Path(data.path))
    return _undivided(data, samples, file)


def _undivided(data: DataSpec, samples: Labelled, file: str) -> tuple[_Unbound | None, list[Problem]]:
    """One lot of images, split here."""
    problems = _value_problems(data, samples.images.shape[-1], file)
    shape, classes = samples.images.shape[1:], int(samples.labels.max()) + 1
    fields = {IMAGE: Field(shape), LABEL: Field((), classes)}
    wanted = data.train_size + data.test_size
    if wanted > len(samples):
        expected = f"train and test together at most {len(samples)}, the number of samples in the dataset"
        problems.append(Problem(file=file, key="data.split", value=wanted, expected=expected))
        train, test = np.arange(0), np.arange(0)
    else:
        train, test = split(samples.labels, train_size=data.train_size, test_size=data.test_size, seed=data.split_seed)
    stored = samples.stored or stored_array(shape, itemsize=8, source="numbers of eight bytes")
    return _images(data, samples.take(train), samples.take(test), fields, stored), problems


def _divided(data: DataSpec, parts: PixelParts, file: str) -> tuple[_Unbound | None, list[Problem]]:
    """Images that their makers divided."""
    problems = _value_problems(data, parts.train.images.shape[-1], file)
    train, some = _some(data.train_size, parts.train.labels, data, file, "train")
    test, other = _some(data.test_size, parts.test.labels, data, file, "test")
    fields = {IMAGE: Field(parts.train.images.shape[1:]), LABEL: Field((), len(parts.class_names))}
    stored = stored_pixels(parts.train)
    halves = _labelled(parts.train, train), _labelled(parts.test, test)
    return _images(data, *halves, fields, stored), [*problems, *some, *other]


def _load_folders(data: DataSpec, root: Path, file: str) -> tuple[_Unbound | None, list[Problem]]:
    folders = load_image_folders(root)
    cut = data.cut or Cut()
    train, some = _some(data.train_size, folders.train.labels, data, file, "train")
    test, other = _some(data.test_size, folders.test.labels, data, file, "test")

    def store(folder: ImageFolder, numbers: Labels) -> FolderStore:
        return FolderStore(folder=folder, numbers=numbers, cut=cut, values=data.values, key=data.split_seed)

    return _Unbound(
        train=store(folders.train, train),
        test=store(folders.test, test),
        fields={IMAGE: Field((cut.size, cut.size, 3)), LABEL: Field((), len(folders.train.class_names))},
        stored=stored_folder(folders.train),
    ), [*_value_problems(data, 3, file), *some, *other]


def _some(count: int, labels: Labels, data: DataSpec, file: str, part: str) -> tuple[Labels, list[Problem]]:
    """``count`` samples of a part, every class in proportion."""
    if count > len(labels):
        expected = f"at most {len(labels)}, the number of samples in that part of the dataset"
        return np.arange(0), [Problem(file=file, key=f"data.split.{part}", value=count, expected=expected)]
    if count == len(labels):
        return np.arange(count), []
    return split(labels, train_size=count, test_size=0, seed=data.split_seed)[0], []


def _images(
    data: DataSpec, train: Labelled, test: Labelled, fields: Mapping[str, Field], stored: StoredSample
) -> _Unbound:
    return _Unbound(
        train=ImageStore(samples=train, values=data.values, max_shift=data.max_shift, mirror=data.mirror),
        test=ImageStore(samples=test, values=data.values),
        fields=fields,
        stored=stored,
    )


def _labelled(pixels: Pixels, numbers: Labels) -> Labelled:
    return Labelled(images=pixels.images[numbers], labels=pixels.labels[numbers])


def _value_problems(data: DataSpec, channels: int, file: str) -> list[Problem]:
    problems = []
    for key in ("mean", "deviation"):
        numbers = getattr(data.values, key)
        if numbers is not None and len(numbers) not in (1, channels):
            expected = f"one number, or {channels}, one for each channel"
            problems.append(Problem(file=file, key=f"data.{key}", value=len(numbers), expected=expected))
    return problems
