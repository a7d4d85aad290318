"""Attention kernels: tiles compute what whole arrays do, with every mask, whatever the blocks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from nnlib.kernels.attention.attention import Attention, AttentionKeyValueGradient, AttentionQueryGradient
from nnlib.kernels.attention.attention_shape import AttentionShape
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.kernel import InfeasiblePlan
from nnlib.kernels.simulation import simulate
from nnlib.precision import DTypeName
from sim.chip.counters import LoopReport
from sim.chip.memory import Array
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.kernels.attentions import AttentionKernel, attentions
from tests.nnlib.kernels.cases import data_for
from tests.nnlib.kernels.tiles import check_tiles
from tests.nnlib.kernels.waits import check_every_wait


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine("sunway_taihulight").processor


def shape(batch: int, heads: int, queries: int, keys: int, depth: int, **options: object) -> AttentionShape:
    sizes: dict[str, object] = {
        "batch": batch,
        "heads": heads,
        "queries": queries,
        "keys": keys,
        "depth": depth,
        "value_depth": depth,
        "dtype": "fp64",
        "scale": depth**-0.5,
    }
    return AttentionShape(**{**sizes, **options})  # type: ignore[arg-type]


TINY = shape(1, 1, 1, 1, 1)
RAGGED = shape(3, 2, 37, 21, 5, value_depth=11, padded=True, mask=(1, 2), dropped=0.25)
CAUSAL = shape(2, 3, 70, 70, 16, causal=True)
PACKED = shape(3, 2, 30, 30, 10, packed=True, dropped=0.5)
BIGGER_THAN_THE_LDM = shape(1, 2, 1100, 900, 24)
SHAPES = {
    "tiny": TINY,
    "ragged": RAGGED,
    "causal": CAUSAL,
    "packed": PACKED,
    "bigger than the LDM": BIGGER_THAN_THE_LDM,
}


def kernels(shape: AttentionShape) -> list[AttentionKernel]:
    return [
        Attention(shape),
        AttentionQueryGradient(shape, mask_gradient=shape.mask is not None),
        AttentionKeyValueGradient(shape),
    ]


@pytest.mark.numeric
def test_tiles_of_a_small_attention_compute_the_reference(processor: ProcessorSpec) -> None:
    for kernel in kernels(shape(1, 2, 9, 11, 3, causal=True)):
        check_tiles(kernel, processor)


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("dtype", ["fp64", "fp32"])
@pytest.mark.parametrize("name", SHAPES)
def test_tiles_compute_the_reference_in_the_same_time(name: str, dtype: DTypeName, processor: ProcessorSpec) -> None:
    for kernel in kernels(replace(SHAPES[name], dtype=dtype)):
        timing = check_tiles(kernel, processor, partly=kernel.shape.packed)
        assert KernelClock(processor).time(kernel) == timing, kernel


@pytest.mark.slow
@pytest.mark.numeric
@settings(max_examples=15, deadline=None)
@given(kernel=attentions)
def test_any_attention_computes_the_reference_in_the_same_time(kernel: AttentionKernel) -> None:
    processor = load_machine("sunway_taihulight").processor
    timing = check_tiles(kernel, processor, partly=kernel.shape.packed)
    assert KernelClock(processor).time(kernel) == timing == simulate(kernel, processor=processor, plainly=True)
    for cpe, total in enumerate(zip(*timing.reasons.values(), strict=True)):
        assert sum(total) == timing.ticks, f"the reasons of CPE {cpe} leave a gap"


@pytest.mark.numeric
def test_a_sample_without_keys_gives_zeros_and_takes_no_gradient(processor: ProcessorSpec) -> None:
    described = shape(2, 1, 9, 12, 4, padded=True)
    forward = Attention(described)
    arrays = data_for(forward)
    arrays["lengths"][...] = [0, 7]
    simulate(forward, processor=processor, data=arrays)
    assert not arrays["out"][0].any()
    assert np.isneginf(arrays["logs"][0]).all()
    assert arrays["out"][1].all()
    assert np.isfinite(arrays["logs"][1]).all()
    for kernel in kernels(described)[1:]:
        data = data_for(kernel) | {name: arrays[name] for name in ("lengths", "query", "key", "value", "logs")}
        simulate(kernel, processor=processor, data=data)
        for parameter in kernel.parameters():
            if parameter.name.startswith("grad_") and parameter.use == "out":
                assert not data[parameter.name][0].any(), parameter.name
                assert data[parameter.name][1].any(), parameter.name


@pytest.mark.numeric
def test_the_kernels_one_after_the_other_give_the_gradients(processor: ProcessorSpec) -> None:
    described = shape(2, 2, 90, 70, 8, causal=True)
    forward, by_query, by_key = kernels(described)
    arrays = data_for(forward)
    simulate(forward, processor=processor, data=arrays)
    for kernel in (by_query, by_key):
        arrays = data_for(kernel) | arrays | {"grad_out": np.ones_like(arrays["out"])}
        arrays = {parameter.name: arrays[parameter.name] for parameter in kernel.parameters()} | arrays
        simulate(kernel, processor=processor, data=arrays)

    def total(name: str, change: Array) -> float:
        changed = arrays | {name: arrays[name] + change}
        forward.reference(changed)
        return float(changed["out"].sum())

    rng = np.random.default_rng(1)
    for name in ("query", "key", "value"):
        step = 1e-4 * rng.standard_normal(arrays[name].shape)
        slope = float((arrays[f"grad_{name}"] * step).sum())
        assert (total(name, step) - total(name, -step)) / 2 == pytest.approx(slope, rel=1e-6)


@pytest.mark.slow
@pytest.mark.timing
@pytest.mark.parametrize("name", ["ragged", "causal"])
def test_every_wait_is_needed(name: str, processor: ProcessorSpec) -> None:
    for kernel in kernels(SHAPES[name]):
        check_every_wait(kernel, processor, more_than=10)


@pytest.mark.timing
def test_ten_times_the_samples_are_no_more_to_simulate(processor: ProcessorSpec) -> None:
    def samples(batch: int) -> LoopReport:
        timing = simulate(Attention(shape(batch, 4, 64, 64, 32)), processor=processor)
        return next(loop for loop in timing.loops if loop.name == "samples")

    few, many = samples(40), samples(400)
    assert many.iterations == 10 * few.iterations
    assert many.simulated <= few.simulated + 2


@pytest.mark.slow
def test_causal_attention_skips_what_no_query_sees(processor: ProcessorSpec) -> None:
    for causal, whole in zip(
        kernels(shape(1, 1, 2048, 2048, 64, causal=True)), kernels(shape(1, 1, 2048, 2048, 64)), strict=True
    ):
        times = [simulate(kernel, processor=processor).ticks for kernel in (causal, whole)]
        assert 0.5 < times[0] / times[1] < 0.75


@pytest.mark.slow
def test_no_square_array_goes_through_memory(processor: ProcessorSpec) -> None:
    short, long = (simulate(Attention(shape(1, 1, length, length, 64)), processor=processor) for length in (2048, 8192))
    assert long.get_bytes + long.put_bytes < 2 * 8192 * 8192 * 8, "scores, written and read once, are more"
    assert long.ldm_high_water <= processor.cpe.ldm_bytes
    assert long.flops == 16 * short.flops == 4 * 8192 * 8192 * 64


def test_a_block_that_does_not_fit_is_an_error_with_sizes(processor: ProcessorSpec) -> None:
    small = replace(processor, cpe=replace(processor.cpe, ldm_bytes=512))
    for kernel in kernels(shape(1, 1, 8, 8, 64)):
        with pytest.raises(InfeasiblePlan) as caught:
            KernelClock(small).time(kernel)
        assert caught.value.needed > caught.value.available == 512
