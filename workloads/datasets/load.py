"""The dataset a workload names, split and scaled."""

from __future__ import annotations

from pathlib import Path

from nnlib.graph import INPUT
from sim.problems import BadInput, Problem
from workloads.datasets.archive import load_archive
from workloads.datasets.dataset import Dataset, Labelled, split
from workloads.datasets.digits import load_digits
from workloads.spec import Workload


def load_dataset(workload: Workload) -> Dataset:
    """The workload's data.

    Raises BadInput when a file is missing or wrong, when there are too few samples, or when they have another shape
    than the model's input or more classes than it has outputs; ModuleNotFoundError when the package that the data
    come with is missing.
    """
    data = workload.data
    samples = load_digits() if data.path is None else load_archive(Path(data.path))
    file = f"workload {workload.name}" if data.path is None else data.path
    problems = []
    if data.train_size + data.test_size > len(samples):
        expected = f"train and test together at most {len(samples)}, the number of samples in the dataset"
        wanted = data.train_size + data.test_size
        problems.append(Problem(file=file, key="data.split", value=wanted, expected=expected))
    shape = samples.images.shape[1:]
    graph = workload.model.build().graph
    taken = graph.shapes[INPUT]
    if shape != taken:
        expected = f"{list(shape)}, the shape of the dataset's images"
        problems.append(Problem(file=file, key="model.input", value=f"{list(taken)}", expected=expected))
    classes = int(samples.labels.max()) + 1
    outputs = graph.output_shape[0]
    if outputs < classes:
        expected = f"at least {classes} outputs, the number of classes in the dataset"
        problems.append(Problem(file=file, key="model.layers", value=outputs, expected=expected))
    if problems:
        raise BadInput(problems)
    scaled = Labelled(images=samples.images * data.scale, labels=samples.labels)
    return split(scaled, train_size=data.train_size, test_size=data.test_size, seed=data.split_seed)
