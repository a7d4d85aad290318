"""Workload files: what is read, what is refused and in which words."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnlib.models.schema import EVERY_KIND, kinds_in
from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.clip import ClipByNorm, ClipByValue
from nnlib.optim.lamb import LAMB
from nnlib.optim.lars import LARS
from nnlib.optim.sgd import SGD
from sim.document import read_document
from sim.problems import BadInput
from sim.validation import validate
from workloads.load import describe, list_workloads, load_workload
from workloads.schema import workload_file
from workloads.shipped import shipped_workloads


def problems(*args: object) -> dict[str, str]:
    with pytest.raises(BadInput) as caught:
        load_workload(*args)  # type: ignore[arg-type]
    return {problem.key: str(problem) for problem in caught.value.problems}


def test_every_shipped_workload_loads() -> None:
    assert "digits" in list_workloads()
    for name in list_workloads():
        assert load_workload(name).name == name


def test_the_digits_are_read_as_written() -> None:
    workload = load_workload("digits", ["recipe.optimizer.momentum=0.8", "recipe.weight_decay=0.001"])
    assert workload.model.built.graph.shapes["input"] == (8, 8, 1)
    assert [keys["type"] for keys in workload.model.keys["layers"]].count("conv2d") == 2
    assert (workload.data.train_size, workload.data.test_size) == (1437, 360)
    assert workload.recipe.optimizer == SGD(momentum=0.8, weight_decay=0.001)


def test_an_optimizer_is_taken_from_the_alternatives() -> None:
    adam = load_workload("digits", optimizer="adam").recipe
    assert (adam.optimizer, adam.learning_rate.base) == (Adam(), 0.002)
    lars = load_workload("digits", ["recipe.optimizer.trust=0.1"], optimizer="lars").recipe
    assert lars.optimizer == LARS(momentum=0.9, trust=0.1)
    assert lars.learning_rate == load_workload("digits").recipe.learning_rate


def test_clipping_and_other_optimizers() -> None:
    settings = ["recipe.clip={norm: 2.5}", "recipe.decay_vectors=false", "recipe.weight_decay=0.1"]
    recipe = load_workload("digits", settings, optimizer="lamb").recipe
    assert recipe.optimizer == LAMB(weight_decay=0.1, decay_vectors=False)
    assert recipe.clip == ClipByNorm(2.5)
    assert load_workload("digits", ["recipe.clip={value: 0.5}"]).recipe.clip == ClipByValue(0.5)
    assert describe(load_workload("digits", ["recipe.clip={value: 0.5}"]))["recipe"]["clip"] == {"value": 0.5}
    rate = ["recipe.learning_rate.schedule=multi_step", "recipe.learning_rate.milestones=[3, 7]"]
    found = load_workload("digits", rate, optimizer="adamw").recipe
    assert isinstance(found.optimizer, AdamW)
    assert (found.learning_rate.milestones, found.learning_rate.factor) == ((3, 7), 0.1)


def test_an_optimizer_without_alternative_has_its_usual_values() -> None:
    assert load_workload("digits", ["recipe.alternatives=[]"], optimizer="adam").recipe.optimizer == Adam()
    # settings come later than the choice: they meet the recipe that was chosen
    assert load_workload("digits", ["recipe.optimizer.momentum=0.5"], optimizer="sgd").recipe.optimizer == SGD(0.5)


def test_another_optimizer_replaces_the_whole_section(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_text("extends: digits\ntitle: Large batches\nrecipe:\n  optimizer: {name: lars, trust: 0.01}\n")
    workload = load_workload(file)
    assert (workload.name, workload.title) == ("large", "Large batches")
    assert workload.recipe.optimizer == LARS(trust=0.01)
    assert workload.recipe.learning_rate == load_workload("digits").recipe.learning_rate


def test_an_unknown_name_is_told_the_nearest() -> None:
    assert "did you mean 'digits'" in problems("digts")[""]


def test_all_errors_come_at_once_with_key_and_line(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: digits\nrecipe:\n  max_stepz: 5\n  until_accuracy: 97\ndata:\n  split: {train: 0}\n")
    found = problems(file)
    assert set(found) == {"recipe.max_stepz", "recipe.until_accuracy", "data.split.train"}
    assert f"{file}:3: " in found["recipe.max_stepz"]
    assert "did you mean 'recipe.max_steps'" in found["recipe.max_stepz"]
    assert f"{file}:4: " in found["recipe.until_accuracy"]


@pytest.mark.parametrize(
    ("setting", "key", "words"),
    [
        ("recipe.learning_rate.cap=0.01", "recipe.learning_rate.cap", "at least the base learning rate 0.0125"),
        ("recipe.learning_rate.schedule=cosine", "recipe.learning_rate.decay_steps", "the schedule is cosine"),
        ("recipe.learning_rate.schedule=step", "recipe.learning_rate.decay_steps", "the schedule is step"),
        ("recipe.learning_rate.schedule=multi_step", "recipe.learning_rate.milestones", "the schedule is multi_step"),
        ("recipe.clip={norm: 1.0, value: 2.0}", "recipe.clip", "either norm or value"),
        ("recipe.clip={}", "recipe.clip", "either norm or value"),
        ("recipe.optimizer={name: adm}", "recipe.optimizer", "did you mean 'adam'"),
        ("data.path=x.npz", "data.path", "no path, as data.dataset is digits"),
        ("data.dataset=archive", "data.path", "the .npz file"),
        ("model.layers.2.kernel=9", "model.layers", "fit together"),
        ("model.layers=[{type: conv3d}]", "model.layers", "did you mean 'conv2d'"),
        ("model.layers=[]", "model.layers", "at least one entry"),
        ("recipe.batch_per_node=1.5", "recipe.batch_per_node", "a whole number"),
        ("recipe.learning_rate.base=.inf", "recipe.learning_rate.base", "finite"),
    ],
)
def test_what_is_refused(setting: str, key: str, words: str) -> None:
    found = problems("digits", [setting])
    assert words in found[key]


def test_a_path_belongs_to_the_file_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("extends: digits\ndata: {dataset: archive, path: mine.npz}\n")
    assert load_workload(file).data.path == str(tmp_path / "mine.npz")
    assert load_workload(file, ["data.path=other.npz"]).data.path == "other.npz"


def test_a_description_names_the_optimizer_and_every_layer() -> None:
    plain = describe(load_workload("digits"))
    assert plain["recipe"]["optimizer"] == {
        "name": "sgd",
        "momentum": 0.9,
        "nesterov": False,
        "weight_decay": 0.0,
        "decay_vectors": True,
    }
    assert plain["model"]["layers"][0]["type"] == "conv2d"


@pytest.mark.parametrize("name", list_workloads())
def test_few_kinds_of_layers_give_what_all_kinds_give(name: str) -> None:
    document = read_document(shipped_workloads()[name], named=shipped_workloads(), whole=lambda each: "name" in each)
    kinds = kinds_in(document.data["model"])
    assert sum(map(len, (kinds.layers, kinds.losses, kinds.models))) < 12
    few, all_there_are = (dict(validate(document, workload_file(*some)).model) for some in ((kinds,), ()))
    assert few == all_there_are


@pytest.mark.parametrize(
    "section", [{"name": "vgg17"}, {"layers": [{"type": "conv9"}]}, {"layers": 3}, {"name": []}, 4]
)
def test_a_model_that_says_something_else_may_be_any(section: object) -> None:
    assert kinds_in(section) == EVERY_KIND
