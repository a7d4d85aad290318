"""Mapping files: defaults, variants, settings, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from sim.network.collectives import algorithms
from sim.problems import BadInput
from workloads.mapping import Collective
from workloads.mapping_file import list_mappings, load_mapping


def test_the_default() -> None:
    mapping = load_mapping()
    assert mapping.collective == "halving_doubling"
    assert (mapping.precision, mapping.numerics, mapping.ranks_per_node) == ("fp64", "layer", 1)
    assert mapping.bucket_bytes == 25_000_000


def test_what_is_left_open_about_communication_is_what_the_library_does() -> None:
    def chosen(*settings: str) -> tuple[object, ...]:
        mapping = load_mapping("default", settings)
        words = mapping.communication, mapping.collective, mapping.reduction_by, mapping.packing
        return (*words, mapping.reduction_overlap, mapping.overlap)

    packed = ("halving_doubling", "core_group", "buckets", False)
    assert chosen() == ("autotuned-2019", *packed, True)
    assert chosen("library=swcaffe-2019") == ("swcaffe-2019", *packed, False)
    assert chosen("library=swcaffe-2019", "overlap=true") == ("swcaffe-2019", *packed, True)
    per_blob = ("swcaffe-2018", "reduce_broadcast", "chip", "blobs", False, False)
    assert chosen("library=swcaffe-2018") == per_blob
    assert chosen("communication=swcaffe-2018") == per_blob
    changed = chosen("communication=stock-mpi", "collective=ring", "reduction_by=chip", "reduction_overlap=false")
    assert changed == ("stock-mpi", "ring", "chip", "buckets", False, False)
    assert load_mapping("default", ["communication=swcaffe-2018"]).summation == "binomial_tree"


def test_a_strategy_by_words_or_by_keys() -> None:
    words = load_mapping("default", ["strategy=tensor=4,pipeline=2,optimizer_sharding"])
    keys = load_mapping("default", ["tensor=4", "pipeline=2", "optimizer_sharding=true"])
    assert words == keys
    assert str(words.strategy) == "tensor=4,pipeline=2,optimizer_sharding"
    assert load_mapping().strategy.is_data
    with pytest.raises(BadInput, match="did you mean 'tensor'"):
        load_mapping("default", ["strategy=tensr=4"])


def test_a_wrong_word_leaves_other_settings_alone() -> None:
    with pytest.raises(BadInput) as caught:
        load_mapping("default", ["library=naive", "tensor=2", "overlap=false"])
    assert [problem.key for problem in caught.value.problems] == ["library"]


def test_every_shipped_mapping_loads_and_differs_from_the_default() -> None:
    default = load_mapping()
    for name in set(list_mappings()) - {"default"}:
        assert replace(load_mapping(name), name=default.name, title=default.title) != default


def test_a_file_says_only_what_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("collective: ring\ngradient_buckets: 1 MiB\n")
    mapping = load_mapping(file, ["overlap=false"])
    expected = replace(load_mapping(), name="mine", title="mine", collective="ring", bucket_bytes=2**20, overlap=False)
    assert mapping == expected


def test_every_algorithm_of_the_network_can_be_chosen() -> None:
    assert set(get_args(Collective)) == {*algorithms("allreduce"), "reduce_broadcast"}


@pytest.mark.parametrize(
    ("setting", "key", "words"),
    [
        ("library=swdnn-2016", "library", "expected one of 'swcaffe-2018'"),
        ("colective=ring", "colective", "did you mean 'collective'"),
        ("collective=rings", "collective", "did you mean 'ring'"),
        ("ranks_per_node=2", "ranks_per_node", "1 (one rank for the whole chip) or 4"),
        ("ranks_per_node=true", "ranks_per_node", "1 (one rank for the whole chip) or 4"),
        ("gradient_buckets=25", "gradient_buckets", "the unit is missing"),
        ("numerics=none", "numerics", "'tile', 'layer' or 'off'"),
        ("overlap=1", "overlap", "true or false"),
        ("batch_per_node=0", "batch_per_node", "at least 1"),
    ],
)
def test_what_is_refused(setting: str, key: str, words: str) -> None:
    with pytest.raises(BadInput) as caught:
        load_mapping("default", [setting])
    (problem,) = caught.value.problems
    assert problem.key == key
    assert words in str(problem)


def test_all_errors_come_at_once(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("precision: fp16\nnumerics: tiles\n")
    with pytest.raises(BadInput) as caught:
        load_mapping(file)
    assert [problem.line for problem in caught.value.problems] == [1, 2]


def test_only_one_of_the_two_batches() -> None:
    with pytest.raises(BadInput, match="only one of the two"):
        load_mapping("default", ["batch_per_node=4", "global_batch=64"])


def test_samples_per_node() -> None:
    assert load_mapping().samples_per_node(nodes=4, recipe_batch_per_node=16) == 16
    assert load_mapping("default", ["batch_per_node=8"]).samples_per_node(nodes=4, recipe_batch_per_node=16) == 8
    shared = load_mapping("default", ["global_batch=64"])
    assert shared.samples_per_node(nodes=4, recipe_batch_per_node=16) == 16
    with pytest.raises(BadInput, match="multiple of the 3 nodes"):
        shared.samples_per_node(nodes=3, recipe_batch_per_node=16)
