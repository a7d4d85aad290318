"""A step of training as swCaffe ran it: tiles and host agree, and exact lists of launches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from machine_configs import DEFAULT_MACHINE
from nnlib.device import TRAINING, CoreGroupDevice, Device, HostDevice
from nnlib.kernels.clock import KernelClock
from nnlib.kernels.convolutions.convolution import Convolution
from nnlib.kernels.convolutions.plans import Task
from nnlib.kernels.convolutions.quick import estimates
from nnlib.kernels.launching import launches_of, mpe_seconds
from nnlib.kernels.store import KernelStore
from nnlib.layers.activation import ReLU, Sigmoid, Tanh
from nnlib.layers.arrangement import Flatten
from nnlib.layers.average_pooling import AveragePool
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.convolution import Conv2d
from nnlib.layers.dropout import Dropout
from nnlib.layers.layer import Array
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.lowering import lower_gradients, planner
from nnlib.lowering.choice import Choice, NetworkLibrary
from nnlib.model import Model
from nnlib.models.network import Network
from nnlib.optim.sgd import SGD
from nnlib.precision import DTYPES, DTypeName
from sim.machine.load import load_machine
from sim.machine.spec import ProcessorSpec
from tests.nnlib.image_networks import REDUCED, batch_of, weights_of
from tests.nnlib.kernels.tiles import relative_error

SAMPLES = 2
VERSIONS: tuple[NetworkLibrary, ...] = ("swcaffe-2018", "swcaffe-2019")
TOLERANCE: dict[DTypeName, float] = {"fp64": 1e-9, "fp32": 2e-3}


@pytest.fixture(scope="module")
def processor() -> ProcessorSpec:
    return load_machine(DEFAULT_MACHINE).processor


def of_all_sorts() -> Model:
    """Groups, strides, padding, a pointwise convolution, normalisation, both poolings, saved inputs and outputs."""
    network = Network((9, 9, 3))
    network.add(Conv2d("c1", 6, (3, 3), 2, 1, False), BatchNorm("b1"), ReLU("r1"), MaxPool("p1", (2, 2), 1))
    network.add(Conv2d("c2", 8, (3, 3), 1, 1, True, groups=2), Tanh("t2"), AveragePool("p2", (2, 2), 2))
    network.add(Conv2d("c3", 4, (1, 1)), BatchNorm("b3"), Sigmoid("s3"), Flatten("flatten"))
    network.add(Dropout("drop", 0.4), Linear("fc", 5), ReLU("r4"), Linear("out", 7))
    return Model(network.graph(), (CrossEntropy(outputs=("out",)),))


def step(
    device: Device, variables: dict[str, Array], model: Model, dtype: DTypeName, samples: int
) -> tuple[float, dict[str, Array]]:
    """The loss, and weights and statistics after one step with momentum."""
    batch = batch_of(model, samples)
    inputs = {name: array.astype(DTYPES[dtype]) for name, array in batch.inputs.items()}
    batch = type(batch)(inputs=inputs, targets=batch.targets)
    weights = np.ones(samples, dtype=DTYPES[dtype])
    found = device.gradients(variables=variables, batch=batch, weights=weights, run=TRAINING)
    parameters = {name: variables[name].copy() for name in model.graph.parameters}
    optimizer = SGD(momentum=0.9, weight_decay=1e-4)
    device.update(
        optimizer=optimizer,
        parameters=parameters,
        grads=found.parameters,
        state=optimizer.initial_state(parameters),
        rate=1e-2,
    )
    return found.loss, parameters | found.statistics


def check(
    model: Model,
    library: NetworkLibrary,
    processor: ProcessorSpec,
    *,
    dtype: DTypeName = "fp64",
    recompute: bool = False,
    core_groups: int = 1,
    samples: int = SAMPLES,
    choice: Choice | None = None,
) -> None:
    variables = {name: array.astype(DTYPES[dtype]) for name, array in weights_of(model).items()}
    choice = choice or Choice(library=library, core_groups=core_groups)
    tiles = CoreGroupDevice(model, samples, dtype, processor, recompute, choice=choice)
    loss, after = step(tiles, variables, model, dtype, samples)
    expected_loss, expected = step(HostDevice(model), variables, model, dtype, samples)
    assert loss == pytest.approx(expected_loss, rel=TOLERANCE[dtype])
    assert after.keys() == expected.keys() == variables.keys()
    for variable, array in expected.items():
        assert relative_error(after[variable], array) <= TOLERANCE[dtype], variable
    inputs = batch_of(model, samples).inputs
    inputs = {name: array.astype(DTYPES[dtype]) for name, array in inputs.items()}
    outputs = tiles.outputs(variables=variables, inputs=inputs)
    for name, array in HostDevice(model).outputs(variables=variables, inputs=inputs).items():
        assert relative_error(outputs[name], array) <= TOLERANCE[dtype], name


@pytest.mark.numeric
@pytest.mark.parametrize("library", VERSIONS)
@pytest.mark.parametrize("recompute", [False, True])
def test_a_step_on_tiles_is_that_of_the_layers(
    library: NetworkLibrary, recompute: bool, processor: ProcessorSpec
) -> None:
    check(of_all_sorts(), library, processor, recompute=recompute, core_groups=4 if recompute else 1)


@pytest.mark.numeric
def test_a_step_in_single_precision(processor: ProcessorSpec) -> None:
    check(of_all_sorts(), "swcaffe-2018", processor, dtype="fp32")


def launched(model: Model, library: NetworkLibrary, processor: ProcessorSpec, batch: int) -> list[str]:
    """Every launch with how often it is made; the MPE's work by itself is marked."""
    program = lower_gradients(model=model, batch=batch, dtype="fp32", choice=Choice(library=library, core_groups=4))
    found = []
    for launch in program.launches:
        for kernel, count in launches_of(launch.kernel):
            where = "" if mpe_seconds(kernel, processor) is None else " by the MPE"
            found.append(f"{launch.part} {launch.layer}: {count} {kernel.name}{where}")
    return found


def test_the_launches_of_a_small_network(processor: ProcessorSpec) -> None:
    network = Network((8, 8, 2))
    network.add(Conv2d("c1", 4, (3, 3), 1, 1, True, groups=2), BatchNorm("b1"), ReLU("r1"), MaxPool("p1", (2, 2), 2))
    network.add(Conv2d("c2", 4, (1, 1), 1, 0, False), Flatten("flat"), Dropout("drop", 0.5), Linear("fc", 3))
    model = Model(network.graph(), (CrossEntropy(outputs=("fc",)),))
    assert launched(model, "swcaffe-2018", processor, batch=2) == [
        "conv c1: 4 im2col_by_rows",
        "conv c1: 2 gemm",
        "conv c1: 2 gemm",
        "conv c1: 2 reorder",
        "bn b1: 1 batch_normalisation_on_mpe by the MPE",
        "activation r1: 1 relu",
        "pool p1: 1 max_pool",
        "conv c2: 2 gemm",
        "tensor_trans flat: 1 tensor_transform",
        "others drop: 1 dropout_on_mpe by the MPE",
        "fc fc: 1 gemm",
        "fc fc: 1 gemm",
        "others loss: 1 softmax_cross_entropy",
        "fc fc: 1 gemm",
        "fc fc: 1 column_sum",
        "fc fc: 1 gemm",
        "others drop: 1 dropout_on_mpe by the MPE",
        "tensor_trans c2: 1 tensor_transform",
        "conv c2: 1 clear by the MPE",
        "conv c2: 2 gemm",
        "conv c2: 2 gemm",
        "pool p1: 1 max_pool_gradient",
        "activation r1: 1 relu_gradient",
        "bn b1: 1 batch_normalisation_gradient_on_mpe by the MPE",
        "conv c1: 1 clear by the MPE",
        "conv c1: 4 im2col_by_rows",
        "conv c1: 2 reorder",
        "conv c1: 2 gemm",
        "conv c1: 1 axis_sum",
        "conv c1: 1 column_sum",
    ]


@pytest.mark.slow
@pytest.mark.numeric
@pytest.mark.parametrize("name", ["lenet5", "resnet18 small", "unet"])
def test_a_step_of_whole_networks(name: str, processor: ProcessorSpec) -> None:
    check(REDUCED[name](), "swcaffe-2018", processor)


def planned_network() -> Model:
    """Convolutions that any plan can do and others, with biases, between layers that keep layouts and that do not."""
    network = Network((10, 10, 4))
    network.add(Conv2d("c1", 32, (3, 3), 1, 1), ReLU("r1"), MaxPool("p1", (2, 2), 2), BatchNorm("b1"))
    network.add(Conv2d("c2", 48, (3, 3), 1, 1, groups=2), Tanh("t2"), Conv2d("c3", 8, (1, 1)), ReLU("r3"))
    network.add(Conv2d("c4", 8, (3, 3), 1, 1, True), AveragePool("p4", (2, 2), 1))
    network.add(Flatten("flat"), Linear("out", 7))
    return Model(network.graph(), (CrossEntropy(outputs=("out",)),))


def prefer(*plans: str) -> Callable[[Task, ProcessorSpec], dict[str, float]]:
    """Estimates by which the first of ``plans`` that can do a task wins."""

    def of(task: Task, processor: ProcessorSpec) -> dict[str, float]:
        return {plan: float(plans.index(plan)) for plan in estimates(task, processor) if plan in plans}

    return of


@pytest.mark.numeric
@pytest.mark.parametrize("library", ["swcaffe-2019", "searched-2019"])
@pytest.mark.parametrize("first", ["winograd", "image-size-aware"])
def test_a_step_by_other_plans(
    library: NetworkLibrary, first: str, processor: ProcessorSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "estimates", prefer(first, "image-size-aware", "explicit"))
    choice = Choice(library=library, core_groups=4, planner=planner.Planner(KernelClock(processor)))
    check(planned_network(), library, processor, samples=4, choice=choice)
    launches = lower_gradients(model=planned_network(), batch=4, dtype="fp64", choice=choice).launches
    turned = {launch.kernel.name for launch in launches if launch.part == "tensor_trans"}
    assert turned == {"tensor_transform"}
    names = {launch.kernel.name for launch in launches}
    assert any("winograd" in name for name in names) == (first == "winograd")
    assert "conv2d_forward_image_size_aware" in names


def test_a_plan_is_remembered(processor: ProcessorSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Task(
        convolution=Convolution(batch=8, ni=16, no=16, ri=8, ci=8, kr=3, kc=3, padding=1),
        which="forward",
        dtype="fp32",
    )
    store = KernelStore(tmp_path / "kernels.sqlite")
    first = planner.Planner(KernelClock(processor, store)).plan(task)
    monkeypatch.setattr(planner, "estimates", lambda *_: pytest.fail("estimated again"))
    assert planner.Planner(KernelClock(processor, store)).plan(task) == first
