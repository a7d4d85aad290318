"""A step too large for a core group, or samples too few for its statistics: what is said names what would do."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from sim.problems import BadInput
from taihusim.memory_problem import step_memory
from taihusim.options import MOST_SAMPLES, Settings
from taihusim.precision import training_program
from taihusim.setup import Setup, prepare
from tests.taihusim.command import refused
from tests.taihusim.tiny import CONVOLUTION, tiny_workload
from workloads.words import memory_in_words

NORMALISED = """\
    - {type: flatten}
    - {type: linear, units: 10}
    - {type: batch_norm}"""


@pytest.fixture(scope="module")
def convolution(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_workload(tmp_path_factory.mktemp("memory"), layers=CONVOLUTION)


def setup_of(workload: str, *flags: str, memory: int | None = None) -> Setup:
    machine = () if memory is None else (f"processor.memory.capacity={memory} B",)
    return prepare(workload=workload, settings=Settings(machine=machine), mapping_flags=flags)


def way_out(workload: str, *flags: str, memory: int) -> str:
    """What is said of 64 samples on a node of core groups with ``memory`` bytes, after the sizes."""
    with pytest.raises(BadInput) as caught:
        setup_of(workload, *flags, memory=memory).steps.training(64)
    (problem,) = caught.value.problems
    assert problem.key == "processor.memory.capacity"
    return problem.expected.rpartition("; ")[2]


def test_all_that_would_fit_is_named_and_does_fit(convolution: str) -> None:
    need = {
        flags: step_memory(setup_of(convolution, *flags), part=16).total
        for flags in ((), ("recompute=true",), ("precision=fp32",), ("precision=fp32", "recompute=true"))
    }
    both, single, again, whole = sorted(need.values())
    assert (need[()], need["recompute=true",], need["precision=fp32",]) == (whole, again, single)
    said = way_out(convolution, memory=whole - 1)
    assert said.endswith(", or --set mapping.recompute=true, or --precision fp32")
    assert re.fullmatch(r"what fits: --batch-per-node \d+, or --precision fp32", way_out(convolution, memory=again - 1))
    # both at once only where neither alone will do
    assert way_out(convolution, memory=single - 1).endswith(", or --set mapping.recompute=true --precision fp32")
    assert way_out(convolution, "precision=fp32", "recompute=true", memory=both - 1).startswith("what fits: --batch")
    found = re.search(r"--batch-per-node (\d+)", said)
    assert found is not None
    fitting = int(found[1])
    assert setup_of(convolution, memory=whole - 1).steps.training(fitting).memory.total < whole
    with pytest.raises(BadInput):
        setup_of(convolution, memory=whole - 1).steps.training(fitting + 4)


def test_where_nothing_fits_it_says_what_is_still_needed(convolution: str) -> None:
    needed = memory_in_words(step_memory(setup_of(convolution, "precision=fp32", "recompute=true"), part=16).total)
    expected = f"no smaller batch fits, and --set mapping.recompute=true --precision fp32 still needs {needed}"
    assert way_out(convolution, memory=1000) == expected
    assert way_out(convolution, "precision=fp32", "recompute=true", memory=1000) == "no smaller batch fits"


@pytest.mark.parametrize(("samples", "enough"), [(4, False), (7, False), (8, True), (10, False), (11, True)])
def test_a_core_group_has_more_than_one_number_to_normalise(tmp_path: Path, samples: int, enough: bool) -> None:
    """7 samples are 2, 2, 2 and 1; 11 are 3, 3, 3 and 2."""
    setup = setup_of(tiny_workload(tmp_path, layers=NORMALISED))
    if enough:
        assert setup.steps.training(samples).samples == -(-samples // 4)
        return
    with pytest.raises(BadInput) as caught:
        setup.steps.training(samples)
    (problem,) = caught.value.problems
    assert (problem.key, problem.value) == ("recipe.batch_per_node", samples)
    assert "at least 2 samples on each of the 4 core groups, such as --batch-per-node 8" in problem.expected


def test_a_batch_of_inference_names_the_largest_that_fits(convolution: str) -> None:
    with pytest.raises(BadInput) as caught:
        setup_of(convolution, memory=60_000).steps.answering(64)
    (problem,) = caught.value.problems
    found = re.search(r"for a batch of 64 per node; what fits: (\d+) per node", problem.expected)
    assert found is not None
    fitting = int(found[1])
    assert setup_of(convolution, memory=60_000).steps.answering(fitting).seconds > 0
    with pytest.raises(BadInput):
        setup_of(convolution, memory=60_000).steps.answering(fitting + 4)


def test_columns_of_the_largest_batch_are_divided_at_once(convolution: str) -> None:
    """A batch's divisors are not tried one by one; one larger than may be asked for is refused by its flag."""
    before = time.process_time()
    assert training_program(setup_of(convolution), batch=MOST_SAMPLES // 4).memory_bytes > 10**12
    assert time.process_time() - before < 5
    for flag in ("--batch-per-node", "--global-batch"):
        assert f"Invalid value for '{flag}'" in refused("predict", convolution, flag, str(MOST_SAMPLES + 1))[-1]
