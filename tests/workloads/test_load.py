"""Data as a workload file names them: files, folders and generators, and what is wrong with them in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.problems import BadInput
from tests.workloads import test_cifar10, test_mnist
from workloads.datasets.load import goal_of, load_dataset, measure_of
from workloads.datasets.masked_text import MaskedText
from workloads.datasets.storms import Storms
from workloads.datasets.text import Text
from workloads.datasets.tones import Tones
from workloads.load import load_workload
from workloads.spec import Workload

RECIPE = """
recipe:
  batch_per_node: 4
  optimizer: {name: sgd}
  learning_rate: {base: 0.1, at_batch: 4}
  max_steps: 3
"""


def workload(folder: Path, *, model: str, data: str, settings: tuple[str, ...] = ()) -> Workload:
    file = folder / "mine.yaml"
    file.write_text(f"title: t\nmodel: {model}\ndata: {data}\n{RECIPE}")
    return load_workload(file, settings)


def classifier(shape: str, classes: int = 10) -> str:
    return f"{{input: {shape}, layers: [{{type: flatten}}, {{type: linear, units: {classes}}}]}}"


PIXELS = "{input: [48, 48, 16], layers: [{type: conv2d, channels: 2, kernel: 1}]}"


def refused(folder: Path, *, model: str, data: str, settings: tuple[str, ...] = ()) -> str:
    with pytest.raises(BadInput) as caught:
        load_dataset(workload(folder, model=model, data=data, settings=settings))
    return str(caught.value)


def test_mnist_from_its_files(tmp_path: Path) -> None:
    arrays = test_mnist.write(tmp_path, packed=True)
    data = "{dataset: mnist, path: ., split: {train: 12, test: 6}, scale: 0.5, mean: [3.0], deviation: [2.0]}"
    dataset = load_dataset(workload(tmp_path, model=classifier("[5, 4, 1]"), data=data))
    batch = dataset.test.whole()
    expected = (arrays["t10k-images-idx3-ubyte"] * 0.5 - 3.0) / 2.0
    np.testing.assert_array_equal(batch.inputs["input"][..., 0], expected)
    np.testing.assert_array_equal(batch.targets["label"], arrays["t10k-labels-idx1-ubyte"])
    assert len(dataset.train) == 12
    assert dataset.stored.packed
    assert dataset.stored.bytes_per_sample == sum(each.stat().st_size for each in tmp_path.glob("train*")) / 12


def test_a_part_of_cifar10_keeps_the_shares_of_its_classes(tmp_path: Path) -> None:
    test_cifar10.write_binary(tmp_path)
    data = "{dataset: cifar10, path: ., split: {train: 8, test: 3}, augmentation: {max_shift: 2, mirror: true}}"
    dataset = load_dataset(workload(tmp_path, model=classifier("[32, 32, 3]"), data=data))
    assert (len(dataset.train), len(dataset.test)) == (8, 3)
    assert (dataset.train.variants, dataset.test.variants) == (50, 1)
    pixels, labels = test_cifar10.content("test_batch")
    batch = dataset.test.whole()
    np.testing.assert_array_equal(batch.targets["label"], labels)
    np.testing.assert_array_equal(batch.inputs["input"][1], pixels[1].reshape(3, 32, 32).transpose(1, 2, 0))
    assert (dataset.stored.bytes_per_sample, dataset.stored.files) == (3073, 5)


def test_images_in_folders_are_cut_as_the_file_says(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for part in ("train", "val"):
        for label, name in enumerate(("a", "b")):
            (tmp_path / part / name).mkdir(parents=True)
            for number in range(3):
                pixels = np.full((6, 7, 3), 100 * label + number, np.uint8)
                image.fromarray(pixels).save(tmp_path / part / name / f"{number}.png")
    data = "{dataset: images, path: ., split: {train: 6, test: 2}, cut: {resize: 6, size: 4}}"
    dataset = load_dataset(workload(tmp_path, model=classifier("[4, 4, 3]", 2), data=data))
    batch = dataset.train.batch(np.array([5, 1]), np.array([7, 7]))
    assert batch.inputs["input"].shape == (2, 4, 4, 3)
    np.testing.assert_array_equal(batch.inputs["input"][:, 0, 0, 0], [102.0, 1.0])
    np.testing.assert_array_equal(dataset.test.whole().targets["label"], [0, 1])
    assert dataset.stored.packed
    assert dataset.stored.bytes_per_sample > 50


def test_generators_take_their_keys_and_the_seed_of_the_split(tmp_path: Path) -> None:
    split = "split: {train: 5, test: 2, seed: 3}"
    found = workload(tmp_path, model=PIXELS, data=f"{{dataset: storms, {split}, storms: {{strength: 3.0, frames: 2}}}}")
    assert found.data.generator == Storms(strength=3.0, frames=2, seed=3)
    dataset = load_dataset(found)
    assert len(dataset.train.whole()) == 5
    assert dataset.stored.bytes_per_sample == 0
    tones = workload(tmp_path, model=PIXELS, data=f"{{dataset: tones, {split}, tones: {{most: 4}}}}")
    assert tones.data.generator == Tones(most=4, seed=3)
    masked = workload(tmp_path, model=PIXELS, data=f"{{dataset: masked_text, {split}, masked_text: {{length: 9}}}}")
    assert masked.data.generator == MaskedText(length=9, seed=3)
    text = workload(tmp_path, model=PIXELS, data=f"{{dataset: text, {split}, text: {{unit: words}}}}")
    assert text.data.generator == Text(unit="words", seed=3)


@pytest.mark.parametrize(
    ("data", "key", "words"),
    [
        ("{dataset: mnist}", "data.path", "the folder with the IDX files, as data.dataset is mnist"),
        ("{dataset: images}", "data.path", "the folder with the folders train and val"),
        ("{dataset: storms, path: x}", "data.path", "no path, as data.dataset is storms"),
        ("{dataset: storms, tones: {most: 3}}", "data.tones", "nothing, as data.dataset is storms, not tones"),
        ("{dataset: digits, cut: {size: 3}}", "data.cut", "nothing, as data.dataset is digits, not images"),
        ("{dataset: images, path: x, cut: {size: 300}}", "data.cut", "cut out of at least 300, not 256"),
        ("{dataset: storms, storms: {height: 20}}", "data.storms", "at least one spacing long"),
        ("{dataset: tones, tones: {fewest: 9}}", "data.tones", "no range that ends before it begins"),
        ("{dataset: text, augmentation: {max_shift: 1}}", "data.augmentation.max_shift", "nothing, as"),
        ("{dataset: storm}", "data.dataset", "did you mean 'storms'?"),
        ("{dataset: text, text: {unit: letters}}", "data.text.unit", "'characters' or 'words'"),
    ],
)
def test_keys_that_do_not_go_together(tmp_path: Path, data: str, key: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        workload(tmp_path, model=PIXELS, data=data[:-1] + ", split: {train: 2, test: 2}}")
    found = {problem.key: str(problem) for problem in caught.value.problems}
    assert words in found[key]


def test_problems_of_files_name_the_folder(tmp_path: Path) -> None:
    data = "{dataset: mnist, path: none, split: {train: 2, test: 2}}"
    assert f"{tmp_path / 'none'}: expected a folder that exists" in refused(
        tmp_path, model=classifier("[5, 4, 1]"), data=data
    )
    test_mnist.write(tmp_path)
    data = "{dataset: mnist, path: ., split: {train: 13, test: 7}, mean: [1.0, 2.0]}"
    text = refused(tmp_path, model=classifier("[5, 4, 1]"), data=data)
    assert "data.split.train: expected at most 12" in text
    assert "data.split.test: expected at most 6" in text
    assert "data.mean: expected one number, or 1, one for each channel, found 2" in text


def test_the_recipe_may_choose_another_measure_that_fits(tmp_path: Path) -> None:
    data = "{dataset: storms, split: {train: 2, test: 2}}"
    for settings, name in (((), "mean_iou"), (("recipe.measure=accuracy",), "accuracy")):
        found = workload(tmp_path, model=PIXELS, data=data, settings=settings)
        measure = measure_of(found, load_dataset(found), found.model.built)
        assert measure is not None
        assert measure.name == name
    found = workload(tmp_path, model=PIXELS, data=data, settings=("recipe.measure=label_error_rate",))
    with pytest.raises(BadInput, match=r"recipe\.measure: expected mean_iou, which goes with"):
        measure_of(found, load_dataset(found), found.model.built)


def test_a_goal_is_of_what_is_measured(tmp_path: Path) -> None:
    def goal(data: str, model: str, *settings: str) -> float | None:
        found = workload(tmp_path, model=model, data=data, settings=settings)
        return goal_of(found, measure_of(found, load_dataset(found), found.model.built))

    text = "{dataset: text, split: {train: 2, test: 2}, text: {length: 6}}"
    reader = "{input: [6], layers: [{type: embedding, count: 25, features: 2}, {type: linear, units: 25}]}"
    assert goal(text, reader) is None
    assert goal(text, reader, "recipe.until_measure=1.5") == 1.5
    with pytest.raises(BadInput, match=r"until_measure instead, as the model is judged by bits_per_symbol, found 0\.5"):
        goal(text, reader, "recipe.until_accuracy=0.5")
    storms = "{dataset: storms, split: {train: 2, test: 2}}"
    assert goal(storms, PIXELS, "recipe.until_accuracy=0.5") == 0.5
