"""A node with roofline devices: times by hand, what they are made of, and several devices."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import pytest

from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.convolution import Conv2d
from nnlib.layers.local_response import LocalResponseNorm
from nnlib.layers.recurrent import LSTM
from nnlib.model import Model
from nnlib.optim.adam import Adam
from nnlib.optim.sgd import SGD
from sim.machine.load import load_machine
from sim.machine.roofline_spec import RooflineSpec
from sim.machine.spec import MachineSpec
from sim.power.energy import Activity, energy, full_load_watts, idle_watts
from workloads.jobs.node_step import NodeStep, node_step_of
from workloads.jobs.roofline_recurrent import RecurrentWork
from workloads.jobs.roofline_step import roofline_answer, roofline_step
from workloads.load import load_workload
from workloads.mapping_file import load_mapping

MACHINE = load_machine("k40m_cluster")
FAST = ("precision=fp32", "gradient_buckets=1 GB")
ADAM = Adam()


def devices(machine: MachineSpec = MACHINE) -> RooflineSpec:
    assert machine.roofline is not None
    return machine.roofline


def network(name: str) -> Model:
    return load_workload(name).model.built


def step(
    name: str = "lenet5", *, samples: int = 64, machine: MachineSpec = MACHINE, keys: tuple[str, ...] = FAST
) -> NodeStep:
    return roofline_step(
        model=network(name),
        machine=machine,
        devices=devices(machine),
        mapping=load_mapping("default", keys),
        samples=samples,
        optimizer=SGD(momentum=0.9),
    )


def test_a_kernel_takes_the_longer_of_arithmetic_and_memory() -> None:
    chip = devices()
    seconds, arithmetic = chip.seconds(flops=4.29e12, moved_bytes=1.0, work="convolution", number="fp32")
    assert arithmetic
    assert seconds == pytest.approx(1 / 0.42)
    seconds, arithmetic = chip.seconds(flops=1.0, moved_bytes=288e9, work="convolution", number="fp32")
    assert not arithmetic
    assert seconds == pytest.approx(1 / 0.74)
    slow, _ = chip.seconds(flops=1.43e12, moved_bytes=1.0, work="fully_connected", number="fp64")
    assert slow == pytest.approx(1 / 0.65)


def test_two_products_backward_for_each_forward_but_none_by_the_input() -> None:
    model = network("vgg16")
    products = model.training.multiply_accumulates
    first = next(iter(products))
    expected = 2 * 8 * (3 * sum(products.values()) - products[first])
    assert step("vgg16", samples=8).flops == expected


def test_arithmetic_of_large_layers_is_what_the_peak_says() -> None:
    found = step("vgg16", samples=64)
    at_peak = found.flops / 4.29e12
    assert at_peak / 0.65 < found.reasons["compute"] <= at_peak / 0.42
    assert found.reasons["launch"] == pytest.approx(found.launches * 7e-6)


def test_a_step_is_the_sum_of_its_reasons_and_of_its_parts() -> None:
    found = step("resnet50", samples=4)
    assert sum(found.reasons.values()) == pytest.approx(found.seconds)
    assert sum(found.by_part.values()) == pytest.approx(found.seconds)
    assert found.gradient_seconds == pytest.approx(found.forward_seconds + found.backward_seconds)
    assert node_step_of(found.as_json()) == found


def test_layers_go_over_their_arrays_as_often_as_the_framework_does() -> None:
    """AlexNet with normalisation over the batch, and without: passes and kernels by hand."""
    samples, rate = 16, 0.74 * 288e9 / 4
    graph, chip = network("alexnet_bn").training, devices()
    sizes = [prod(graph.shapes[node.name]) for node in graph.nodes if isinstance(node.layer, BatchNorm)]
    expected = samples * (16 + 24) * sum(sizes) / rate + 2 * 18 * len(sizes) * 7e-6
    assert step("alexnet_bn", samples=samples).by_part["bn"] == pytest.approx(expected)

    fewer = replace(chip, passes=replace(chip.passes, bias_forward=0, bias_backward=0))
    with_bias = step("vgg16", samples=samples)
    without = step("vgg16", samples=samples, machine=replace(MACHINE, computing=fewer))
    graph = network("vgg16").training
    outputs = [prod(graph.shapes[node.name]) for node in graph.nodes if isinstance(node.layer, Conv2d)]
    expected = 3 * samples * sum(outputs) / rate + 2 * len(outputs) * 7e-6
    assert with_bias.seconds - without.seconds == pytest.approx(expected)


def test_local_response_normalisation_reads_its_scales_too() -> None:
    samples, rate = 16, 0.74 * 288e9 / 4
    passes = replace(devices().passes, local_response_forward=0, local_response_backward=0)
    graph = network("alexnet").training
    outputs = sum(prod(graph.shapes[node.name]) for node in graph.nodes if isinstance(node.layer, LocalResponseNorm))
    none = replace(MACHINE, computing=replace(devices(), passes=passes))
    saved = step("alexnet", samples=samples).seconds - step("alexnet", samples=samples, machine=none).seconds
    assert saved == pytest.approx((5 + 6) * samples * outputs / rate)


def test_gradients_are_ready_one_after_another_and_all_of_them() -> None:
    found, parameters = step("resnet50", samples=4), network("resnet50").training.parameters
    times = [blob.ready_seconds for blob in found.blobs]
    assert times == sorted(times)
    assert found.forward_seconds < times[0] < times[-1] <= found.gradient_seconds
    assert {blob.name for blob in found.blobs} == set(parameters)
    assert found.blobs[0].name.startswith(next(reversed(list(parameters))).partition(".")[0])


def test_shared_parameters_have_one_gradient() -> None:
    found = step("gpt2", samples=1)
    names = [blob.name for blob in found.blobs]
    assert sorted(names) == sorted(network("gpt2").training.parameters)


def test_memory_bounds_an_update() -> None:
    sgd = step("alexnet", samples=8)
    elements = sum(blob.elements for blob in sgd.blobs)
    assert sgd.update_seconds == pytest.approx(5 * 4 * elements / (0.74 * 288e9) + len(sgd.blobs) * 7e-6)
    adam = roofline_step(
        model=network("alexnet"), machine=MACHINE, devices=devices(), mapping=load_mapping("default", FAST),
        samples=8, optimizer=ADAM,
    )  # fmt: skip
    assert adam.update_seconds - sgd.update_seconds == pytest.approx(2 * 4 * elements / (0.74 * 288e9))
    assert adam.memory.optimiser == 2 * sgd.memory.optimiser == 2 * 4 * elements


def test_double_precision_takes_longer() -> None:
    assert step("vgg16", keys=("precision=fp64",)).seconds > 2.5 * step("vgg16").seconds


def test_devices_of_a_node_share_samples_and_add_up_their_gradients() -> None:
    four = load_machine("k40m_cluster", ["processor.devices=4"])
    alone, shared = step("vgg16", samples=8), step("vgg16", samples=32, machine=four)
    assert (shared.samples, shared.active_core_groups) == (8, 4)
    assert shared.flops == 4 * alone.flops
    assert (shared.forward_seconds, shared.backward_seconds) == (alone.forward_seconds, alone.backward_seconds)
    moved = shared.gradient_bytes * 3 / 4
    adding = 3 * moved / (0.74 * 288e9)
    assert shared.reasons["group_sync"] == pytest.approx(2 * moved / 10e9 + 6 * 10e-6 + adding)
    assert shared.buckets[-1].ready_seconds == pytest.approx(shared.gradient_seconds)
    assert "group_sync" not in alone.reasons


def test_inference_is_the_forward_pass() -> None:
    answer = roofline_answer(
        model=network("vgg16"), devices=devices(), mapping=load_mapping("default", FAST), samples=16
    )
    assert answer.flops == 2 * 16 * sum(network("vgg16").graph.inference.multiply_accumulates.values())
    assert answer.seconds < step("vgg16", samples=16).forward_seconds
    assert answer.input_bytes == 224 * 224 * 3 * 4
    assert answer.output_bytes == 1000 * 4


def test_power_of_devices_lies_between_idle_and_busy() -> None:
    node = devices()
    assert idle_watts(MACHINE) == pytest.approx(1.15 * (60 + 90 + 10 + 12))
    assert full_load_watts(MACHINE) == pytest.approx(1.15 * (235 + 90 + 12 * 7 + 15 + 13))
    half = energy(MACHINE, Activity(seconds=2.0, compute_seconds=0.5, wait_seconds=0.5))
    assert half.joules["devices"] == pytest.approx(node.devices * (60 + 235))
    two = replace(MACHINE, computing=replace(node, devices=2))
    assert energy(two, Activity(seconds=1.0)).joules["devices"] == pytest.approx(120)


def test_steps_of_a_recurrent_layer_come_one_after_another_and_read_its_weights_again() -> None:
    layer, shapes = LSTM("lstm", 32, bidirectional=True), ((10, 8),)
    work = RecurrentWork.of(layer, shapes, samples=5)
    assert work.launches == 20
    assert work.all_flops == 2 * 5 * layer.multiply_accumulates(shapes)
    assert work.step_numbers == 4 * 32 * 32 + 5 * (2 * 4 * 32 + 3 * 32)
    few, many = (step("lstm_language_model", samples=count) for count in (1, 2))
    graph = network("lstm_language_model").training
    steps = sum(graph.shapes[node.inputs[0]][0] for node in graph.nodes if isinstance(node.layer, LSTM))
    assert many.launches == few.launches > 2 * steps
    assert many.seconds < 1.5 * few.seconds


def test_flops_are_three_times_the_forward_products_less_those_by_data() -> None:
    model = network("lstm_language_model")
    products = sum(model.training.multiply_accumulates.values())
    assert step("lstm_language_model", samples=2).flops == 2 * 2 * 3 * products
