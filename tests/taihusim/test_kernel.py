"""``taihusim kernel``: every operation, its accounts and its refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nnlib.kernels.catalogue import OPERATIONS
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.normalisation.normalisation_builds import NORMALISATIONS
from nnlib.kernels.pointwise.functions.table import FUNCTIONS
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.rows.row_loss import LOSSES
from sim.machine.load import load_machine
from sim.problems import BadInput
from sim.time import seconds_from_ticks
from taihusim.cli import main
from taihusim.kernel import KernelRequest, run_operation, trace_of
from tests.sim.trace.test_perfetto import fields, message

SMALL = {
    "m": 70, "n": 33, "k": 3, "batch": 9, "ni": 3, "no": 5, "ro": 4, "co": 5, "rows": 90, "columns": 7,
    "elements": 700, "count": 3, "heads": 2, "queries": 20, "keys": 13, "depth": 5,
    "steps": 4, "labels": 2,
}  # fmt: skip
ALIKE = ({*FUNCTIONS, *LOSSES} - {"relu", "relu_gradient", "adam", "sgd"}) | {"softmax_gradient", "log_softmax", "dice"}
ALIKE |= {"attention_gradient", "gru", "gru_gradient", "lstm", "lstm_gradient", "ctc_loss"}
ALIKE |= set(NORMALISATIONS) - {"batch_norm"}
"""Operations of which others of their kind are tried in the fast loop."""
FIELDS = [
    "op", "plan", "library", "dtype", "core_groups", "launches", "cycles", "seconds", "gflops", "peak_fraction",
    "ldm_bytes_per_cpe", "dma_bytes", "dma_gbs", "bottleneck", "breakdown", "max_relative_error",
]  # fmt: skip


def small(op: str) -> dict[str, int]:
    return {name: SMALL[name] for name in OPERATIONS[op].needs}


def run(op: str, **options: Any) -> dict[str, Any]:
    options.setdefault("sizes", small(op))
    return run_operation(load_machine("sunway_taihulight"), KernelRequest(op=op, **options))


def invoke(*arguments: str) -> Any:
    return CliRunner().invoke(main, ["kernel", *arguments])


@pytest.mark.numeric
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("op", [pytest.param(op, marks=pytest.mark.slow) if op in ALIKE else op for op in OPERATIONS])
def test_every_operation_computes_and_its_time_has_no_gaps(op: str, dtype: str) -> None:
    for groups in (4,) if op in ALIKE else (1, 4):
        result = run(op, core_groups=groups, dtype=dtype, numerics="tile")
        assert result["max_relative_error"] <= (1e-12 if dtype == "fp64" else 1e-5)
        assert sum(result["breakdown"].values()) == pytest.approx(result["seconds"], rel=1e-12)
        assert sum(kernel["seconds"] for kernel in result["kernels"]) == pytest.approx(result["seconds"], rel=1e-12)
        assert 0 < result["ldm_bytes_per_cpe"] <= 65536
        assert run(op, core_groups=groups, dtype=dtype)["seconds"] == result["seconds"]


def test_a_gemm_by_hand() -> None:
    machine = load_machine("sunway_taihulight")
    result = run("gemm", sizes={"m": 512, "n": 128, "k": 64}, core_groups=4, launches=10)
    timing = KernelClock(machine.processor).time(Gemm(m=128, n=128, k=64, dtype="fp64"))
    seconds = 10 * (22e-6 + seconds_from_ticks(timing.ticks, clock_hertz=1.45e9))
    assert result["seconds"] == pytest.approx(seconds, rel=1e-12)
    assert result["cycles"] == int(seconds * 1.45e9)
    assert result["gflops"] == pytest.approx(10 * 2 * 512 * 128 * 64 / seconds / 1e9, rel=1e-12)
    assert result["peak_fraction"] == pytest.approx(result["gflops"] / (4 * 742.4), rel=1e-12)
    # a once, b for each core group, c once
    assert result["dma_bytes"] == 10 * 8 * (512 * 64 + 4 * 64 * 128 + 512 * 128)


def test_a_convolution_counts_its_useful_operations() -> None:
    sizes = {"batch": 8, "ni": 4, "no": 6, "ro": 5, "co": 7, "k": 3, "stride": 2, "padding": 1}
    result = run("conv2d", sizes=sizes, plan="explicit")
    assert result["flops"] == 2 * 8 * 5 * 7 * 4 * 6 * 9
    assert [kernel["kernel"] for kernel in result["kernels"]] == ["im2col", "gemm"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gem"], ["did you mean 'gemm'?"]),
        (["gemm", "--m", "4", "--no", "3"], ["--n: expected", "--k: expected", "--no: expected no such size"]),
        (["gemm", "--m", "9" * 9, "--n", "9" * 9, "--k", "9" * 9], ["gemm: expected sizes whose product is"]),
        (["relu", "--elements", "9" * 30], ["relu: expected sizes whose product is at most 1,152,921,504,606,846,976"]),
        (
            [
                "conv2d",
                "--batch",
                "1",
                "--ni",
                "8",
                "--no",
                "8",
                "--ro",
                "4",
                "--co",
                "4",
                "--k",
                "3",
                "--padding",
                "3",
            ],
            ["conv2d: expected sizes that fit: with 3 zeros around it no pixel of the image is left to be seen"],
        ),
        (["relu", "--elements", "9", "--core-groups", "5"], ["--core-groups: expected 1 to 4"]),
        (["relu", "--elements", "9", "--set", "workload.x=1"], ["expected machine.KEY=VALUE"]),
        (["relu", "--elements", "9", "--set", "machine.processor.cpe.ldm=64B"], ["at least 128 B", "relu", "64 B"]),
    ],
)
def test_refusals(arguments: list[str], words: list[str]) -> None:
    done = invoke(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == len([word for word in words if word.startswith("--")] or [0])
    for word in words:
        assert word in done.stderr


def test_json_and_table() -> None:
    sizes = {"batch": 4, "ni": 3, "no": 5, "ro": 4, "co": 4, "k": 3}
    arguments = ["conv2d", "--numerics", "tile", *(f"--{name}={value}" for name, value in sizes.items())]
    done = invoke(*arguments, "--json")
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    assert list(result)[: len(FIELDS)] == FIELDS
    table = invoke(*arguments).stdout
    for words in (
        f"conv2d ({result['plan']}, autotuned-2019, fp64) on 1 core group",
        "where the time goes",
        result["bottleneck"],
    ):
        assert words in table


def test_a_timeline_covers_every_cpe(tmp_path: Path) -> None:
    path = tmp_path / "relu.perfetto-trace"
    done = invoke("relu", "--elements", "100000", "--trace", str(path))
    assert done.exit_code == 0, done.output
    request = KernelRequest(op="relu", sizes={"elements": 100_000})
    machine = load_machine("sunway_taihulight")
    assert path.read_bytes() == trace_of(machine, request)
    packets = [message(content) for _, content in fields(path.read_bytes())]
    assert len([packet for packet in packets if 60 in packet]) == 65
    ends = [packet[8] for packet in packets if 11 in packet]
    seconds = run_operation(machine, request)["seconds"]
    assert max(int(end) for end in ends if isinstance(end, int)) == round(seconds * 1e9)


def test_an_unknown_operation_is_bad_input() -> None:
    with pytest.raises(BadInput):
        run_operation(load_machine("sunway_taihulight"), KernelRequest(op="conv", sizes={}))
