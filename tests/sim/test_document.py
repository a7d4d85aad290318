"""The file boundary on its own: reading, extending, settings, and problems in plain words."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

import sim
from sim.document import apply_settings, read_document
from sim.problems import BadInput, Problem, nearest
from sim.validation import validate
from sim.yaml_file import parse_value, read_yaml

Write = Callable[[str, str], Path]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["dense", "relu"]
    units: int | None = None


class Recipe(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    rate: float
    steps: int = 1
    shuffle: bool = True
    size: int | Literal["all"] = "all"
    parts: list[Part] = []
    extra: dict[str, float] = {}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def writer(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return writer


def recipe(path: Path, *settings: str) -> Recipe:
    document = read_document(path, named={})
    return validate(apply_settings(document, settings, model=Recipe, noun="workload"), Recipe)


def problems(path: Path, *settings: str) -> list[Problem]:
    with pytest.raises(BadInput) as caught:
        recipe(path, *settings)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("rate: [1, 2\n", 2, "valid YAML"),
        ("rate: 1\nsteps: 2\nrate: 3\n", 3, "each key once (first on line 1)"),
        ("extra:\n  a: 1\n  a: 2\n", 3, "each key once (first on line 2)"),
        ("- 1\n", None, "a mapping of keys"),
        ("", None, "a mapping of keys"),
        ("rate: 1\n---\nrate: 2\n", 2, "valid YAML"),
        ("rate: !!python/object/apply:os.getcwd []\n", 1, "without the tag"),
        ("rate: &a [*a]\n", 1, "an alias repeats"),
        ("? [1, 2]\n: 3\n", 1, "plain text as a key"),
        ("rate: \x01\n", None, "valid YAML"),
        ("a: " + "[" * 500, None, "nested too deeply"),
    ],
)
def test_a_file_that_cannot_be_read_says_where(write: Write, text: str, line: int | None, expected: str) -> None:
    (problem,) = problems(write("recipe.yaml", text))
    assert problem.line == line
    assert expected in problem.expected


def test_missing_folder_and_not_utf8(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.yaml")[0].expected == "a file that exists"
    assert problems(tmp_path)[0].expected == "a file, not a folder"
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"rate: 1\nsteps: \xff\n")
    assert (problems(binary)[0].expected, problems(binary)[0].line) == ("text in UTF-8", 2)


def test_scalars_are_read_as_yaml_1_2() -> None:
    values = [parse_value(text) for text in ("no", "true", "1e-3", "010", "12:30", "~", "", "[1, a]", "'5'", "64 KiB")]
    assert values == ["no", True, 1e-3, 10, "12:30", None, None, [1, "a"], "5", "64 KiB"]


def test_extends_merges_deeply_through_several_files(write: Write) -> None:
    write("a.yaml", "rate: 1\nextra: {x: 1, y: 2}\nparts: [{kind: relu}]\n")
    write("b.yaml", "extends: a.yaml\nsteps: 7\nextra: {y: 3}\n")
    result = recipe(write("c.yaml", "extends: b.yaml\nrate: 2\nparts: [{kind: dense}]\n"))
    assert (result.rate, result.steps, result.extra) == (2, 7, {"x": 1, "y": 3})
    assert [part.kind for part in result.parts] == ["dense"]


def test_a_problem_names_the_file_of_the_chain_it_stands_in(write: Write) -> None:
    base = write("a.yaml", "rate: fast\n")
    (problem,) = problems(write("b.yaml", "extends: a.yaml\nsteps: 7\n"))
    assert (problem.file, problem.line) == (str(base), 1)


def test_extends_in_a_circle_or_of_nothing(write: Write) -> None:
    write("a.yaml", "extends: b.yaml\n")
    assert "no cycle (b.yaml -> a.yaml -> b.yaml)" in problems(write("b.yaml", "extends: a.yaml\n"))[0].expected
    assert problems(write("c.yaml", "extends: none.yaml\n"))[0].expected == "a file that exists"
    with pytest.raises(BadInput, match=r"did you mean 'adam'\?"):
        read_document(write("d.yaml", "extends: adm\n"), named={"adam": write("adam.yaml", "rate: 1\n")})


def test_all_problems_at_once_in_plain_words_and_file_order(write: Write) -> None:
    path = write(
        "recipe.yaml",
        "steps: 1.5\nshuffle: perhaps\nsize: some\nparts:\n  - kind: densse\n  - kind: dense\n    unit: 3\nextra: 5\n",
    )
    found = [(each.line, each.key, each.expected, each.nearest) for each in problems(path)]
    assert found == [
        (None, "rate", "this key, which is missing", None),
        (1, "steps", "a whole number", None),
        (2, "shuffle", "true or false", None),
        (3, "size", "a whole number, or one of 'all'", None),
        (5, "parts.0.kind", "one of 'dense' or 'relu'", "dense"),
        (7, "parts.1.unit", "one of the keys kind, units", "parts.1.units"),
        (8, "extra", "a mapping of keys to values", None),
    ]


def test_settings_reach_lists_and_mappings(write: Write) -> None:
    path = write("recipe.yaml", "rate: 1\nparts: [{kind: dense}, {kind: relu}]\n")
    result = recipe(path, "parts.0.units=12", "extra.anything=0.5", "steps=3", "steps=4", "shuffle=false")
    assert (result.parts[0].units, result.extra, result.steps, result.shuffle) == (12, {"anything": 0.5}, 4, False)


@pytest.mark.parametrize(
    ("setting", "key", "nearest_key"),
    [
        ("stesp=1", "stesp", "steps"),
        ("parts.0.unit=1", "parts.0.unit", "parts.0.units"),
        ("parts.7.units=1", "parts.7", None),
        ("rate.deep=1", "rate.deep", None),
        ("steps", "", None),
        ("=3", "", None),
    ],
)
def test_a_setting_that_reaches_nothing(write: Write, setting: str, key: str, nearest_key: str | None) -> None:
    (problem,) = problems(write("recipe.yaml", "rate: 1\nparts: [{kind: dense}]\n"), setting)
    assert (problem.file, problem.key, problem.nearest) == (f"--set workload.{setting}", key, nearest_key)


def test_a_wrong_value_from_a_setting_names_the_setting(write: Write) -> None:
    (problem,) = problems(write("recipe.yaml", "rate: 1\n"), "steps=many")
    assert str(problem) == "--set workload.steps=many: steps: expected a whole number, found 'many'"


def test_bad_input_is_readable_and_survives_a_copy_to_another_process() -> None:
    bad = BadInput([Problem(file="a.yaml", line=3, key="x", value=1, expected="text", nearest="y")] * 2)
    line = "a.yaml:3: x: expected text, found 1 (did you mean 'y'?)"
    assert str(bad) == f"{line}\n{line}"
    assert str(pickle.loads(pickle.dumps(bad))) == str(bad)


def test_nearest() -> None:
    assert nearest("LDM", ["ldm", "clock"]) == "ldm"
    assert nearest("zzz", ["ldm", "clock"]) is None


def test_files_are_read_anew_when_they_change_and_settings_stay_with_their_document(write: Write) -> None:
    path = write("own.yaml", "rate: 1\nparts: [{kind: dense, units: 3}]\nextra: {a: 1}\n")
    assert recipe(path, "parts.0.units=5", "extra.a=2").parts[0].units == 5
    assert (recipe(path).parts[0].units, recipe(path).extra) == (3, {"a": 1})
    write("own.yaml", "rate: 2\n")
    assert recipe(path).rate == 2


@pytest.mark.parametrize("folder", ["machine_configs", "workloads", "workloads/mappings"])
def test_libyaml_and_python_read_every_shipped_file_alike(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = sorted((Path(sim.__path__[0]).parent / folder).glob("*.yaml"))
    fast = [read_yaml(file) for file in files]
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert len(files) > 1
    # shown otherwise, as a text that was read before is not read again
    assert fast == [read_yaml(file, shown_as=f"again {file}") for file in files]


def test_a_value_may_be_nested_a_hundred_levels_deep(write: Write) -> None:
    def nested(levels: int) -> str:
        return "a: " + "[" * levels + "]" * levels

    assert read_yaml(write("deep.yaml", nested(100))).data["a"]
    with pytest.raises(BadInput, match="nested too deeply"):
        read_yaml(write("deeper.yaml", nested(101)))
    with pytest.raises(ValueError, match="a value as in a YAML file"):
        parse_value("[" * 200 + "]" * 200)
