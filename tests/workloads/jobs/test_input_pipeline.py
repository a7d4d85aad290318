"""The input of a step: reading, preparing, what is seen of it, and where it holds training back."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from sim.machine.load import load_machine
from sim.problems import BadInput
from sim.storage.striping import ONE_ARRAY, Striping
from workloads.datasets.storage import GENERATED, IMAGENET_SWCAFFE, StoredSample
from workloads.jobs.input_pipeline import InputPlan, InputTiming, check_resident, input_timing, loading_seconds
from workloads.jobs.preparation import DECODE, TRANSFORM
from workloads.mapping_file import load_mapping

MACHINE = load_machine("sunway_taihulight")
PIXELS = 3 * 227 * 227
SWCAFFE = InputPlan(striping=Striping(stripes=32, stripe_bytes=256_000_000))


def timed(
    plan: InputPlan = SWCAFFE, stored: StoredSample = IMAGENET_SWCAFFE, samples: int = 256, nodes: int = 1
) -> InputTiming:
    return input_timing(
        machine=MACHINE, plan=plan, stored=stored, numbers=PIXELS, samples=samples, nodes=nodes, item_bytes=4
    )


def test_a_mapping_says_how_input_comes() -> None:
    assert InputPlan.of(load_mapping()) == replace(SWCAFFE, processes_per_node=4)
    changed = ["input_from=memory", "input_order=random", "input_processes=2", "prefetch=0"]
    changed += ["stripes=144", "stripe_size=1 MB"]
    striping = Striping(stripes=144, stripe_bytes=1_000_000)
    assert InputPlan.of(load_mapping("default", changed)) == InputPlan(
        striping=striping, place="memory", order="random", prefetch=0, processes_per_node=2
    )


def test_a_batch_alone_in_numbers() -> None:
    """192 MB by one process, and 64 cycles for each number: 14 + 4 * 5 + 3 * 3 + 3 * 7."""
    found = timed()
    assert TRANSFORM.cycles(MACHINE.processor) == 64
    assert found.prepare_seconds == pytest.approx(256 * PIXELS * 64 / 1.45e9, rel=1e-12)
    assert found.read_seconds == pytest.approx(0.0075 + 192e6 / 299e6, rel=1e-12)
    assert found.fetch_seconds == found.read_seconds + found.prepare_seconds


def test_four_processes_share_the_batch() -> None:
    four = timed(replace(SWCAFFE, processes_per_node=4))
    assert four.prepare_seconds == pytest.approx(timed().prepare_seconds / 4, rel=1e-12)
    assert four.read_seconds == pytest.approx(0.0075 + 48e6 / 299e6, rel=1e-12)
    assert timed(replace(SWCAFFE, processes_per_node=4), samples=2).prepare_seconds == pytest.approx(
        timed(samples=1).prepare_seconds, rel=1e-12
    )


def test_prefetching_hides_what_fits_under_a_step() -> None:
    found = timed()
    assert found.exposed_seconds(found.fetch_seconds + 1) == 0
    assert found.exposed_seconds(found.fetch_seconds - 1) == pytest.approx(1, rel=1e-12)
    in_line = timed(replace(SWCAFFE, prefetch=0))
    assert in_line.exposed_seconds(100.0) == in_line.fetch_seconds


def test_a_step_as_long_as_prefetching_needs_the_bandwidth_there_is() -> None:
    found = timed(nodes=1024)
    needed = found.needed_bytes_per_second(found.fetch_seconds)
    assert needed == pytest.approx(found.available_bytes_per_second, rel=1e-12)
    assert found.needed_bytes_per_second(found.prepare_seconds) == inf
    assert found.total_bytes == 1024 * 192e6


def test_what_holds_input_back() -> None:
    """A node is held by its MPE; all nodes by the arrays; files of one image each by their names."""
    preparing = "preparation of samples on 1 of 4 MPEs (--set mapping.input_processes=4 takes all)"
    assert timed().limit(1.0) == preparing
    assert timed(replace(SWCAFFE, processes_per_node=9)).limit(0.1) == "preparation of samples on all 4 MPEs"
    assert timed().limit(10.0) is None
    assert timed(nodes=40_960).limit(10.0) == "32 of 144 disk arrays (--set mapping.stripes=144 takes all)"
    striped = replace(SWCAFFE, striping=Striping(stripes=200, stripe_bytes=256_000_000))
    everything = timed(striped, nodes=40_960).limit(10.0)
    assert everything == "all 144 disk arrays (--set mapping.input_from=memory keeps the data in the nodes)"
    apart = StoredSample(bytes_per_sample=115_000, files=1_281_167, packed=True, source="an image in each file")
    assert timed(stored=apart, nodes=4096).limit(10.0) == "metadata servers, one open per sample,"
    assert timed(replace(SWCAFFE, striping=ONE_ARRAY), nodes=64).limit(5.0).startswith("1 of 144 disk arrays")


def test_stripes_relieve_an_array_as_swcaffe_found() -> None:
    """By more than the four times that were published, where that many processes ask."""
    one, many = (timed(replace(SWCAFFE, striping=each), nodes=64) for each in (ONE_ARRAY, SWCAFFE.striping))
    assert many.available_bytes_per_second > 4 * one.available_bytes_per_second


def test_packed_samples_are_decoded_too() -> None:
    packed = timed(stored=replace(IMAGENET_SWCAFFE, packed=True))
    cycles = DECODE.cycles(MACHINE.processor)
    assert packed.prepare_seconds - timed().prepare_seconds == pytest.approx(256 * PIXELS * cycles / 1.45e9, rel=1e-9)


def test_recordings_become_spectrograms() -> None:
    """40 + 40 loads of 3 + 72 floating ones of 7 cycles for each number."""
    audio = timed(stored=replace(IMAGENET_SWCAFFE, audio=True))
    assert audio.prepare_seconds == pytest.approx(256 * PIXELS * (40 + 120 + 504) / 1.45e9, rel=1e-12)


def test_from_memory_nothing_is_read_and_what_is_generated_costs_nothing() -> None:
    memory = timed(replace(SWCAFFE, place="memory"), nodes=40_960)
    assert (memory.read_seconds, memory.total_bytes, memory.available_bytes_per_second) == (0, 0, None)
    assert memory.prepare_seconds == timed().prepare_seconds
    generated = timed(stored=GENERATED)
    assert generated.fetch_seconds == 0
    assert generated.needed_bytes_per_second(1.0) == 0
    assert loading_seconds(machine=MACHINE, plan=SWCAFFE, stored=GENERATED, samples=10, nodes=1) == 0


def test_samples_are_copied_to_devices_with_memory_of_their_own() -> None:
    gpu = load_machine("k40m_node")
    asked = {"plan": replace(SWCAFFE, place="memory"), "stored": IMAGENET_SWCAFFE, "numbers": PIXELS, "nodes": 1}
    timing = input_timing(machine=gpu, samples=256, item_bytes=4, **asked)
    assert timing.copy_seconds == 256 * PIXELS * 4 / 6e9
    assert timing.fetch_seconds == timing.prepare_seconds + timing.copy_seconds
    assert "host cores" in str(timing.limit(0.0))
    slow = load_machine("k40m_node", ["processor.host.device_bandwidth=100 MB/s"])
    copied = input_timing(machine=slow, samples=256, item_bytes=4, **asked)
    assert copied.limit(0.0) == "copies of samples from the host to the devices"
    assert timed().copy_seconds == 0


def test_four_terabytes_are_loaded_at_what_the_arrays_give() -> None:
    audio = StoredSample(bytes_per_sample=5e5, files=1, packed=False, source="4 TB in 8,000,000 recordings")
    plan = InputPlan(striping=Striping(stripes=144, stripe_bytes=256_000_000))
    seconds = loading_seconds(machine=MACHINE, plan=plan, stored=audio, samples=8_000_000, nodes=4096)
    assert seconds == pytest.approx(4e12 / 288e9, rel=0.1)


@pytest.mark.parametrize(("nodes", "fits"), [(37, False), (38, True)])
def test_data_in_memory_have_to_fit_beside_the_step(nodes: int, fits: bool) -> None:
    """961 GB in parts, 26 GB of each node's 34 GB are free."""
    memory = load_mapping("default", ["input_from=memory"])
    step = MACHINE.processor.memory.bytes - 6_400_000_000
    values = {"stored": IMAGENET_SWCAFFE, "samples": 1_281_167, "nodes": nodes, "step_bytes": step}
    check_resident(machine=MACHINE, mapping=load_mapping(), **values)
    if fits:
        check_resident(machine=MACHINE, mapping=memory, **values)
        return
    with pytest.raises(BadInput, match=r"input_from: expected storage, or at least 38 nodes: .* 2.6e\+10 B, .*"):
        check_resident(machine=MACHINE, mapping=memory, **values)


def test_samples_anywhere_cost_a_seek_each() -> None:
    random = timed(replace(SWCAFFE, order="random"))
    assert random.read_seconds == pytest.approx(256 * 0.0075 + 192e6 / 299e6, rel=1e-12)
