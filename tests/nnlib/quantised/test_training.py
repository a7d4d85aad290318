"""Training in fixed point, and in fp32 with fp64 arithmetic: what is rounded, when, and what that does."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.batch import Batch
from nnlib.device import CoreGroupDevice, HostDevice
from nnlib.graph import INPUT, Graph
from nnlib.layers.activation import ReLU
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import Array, Run
from nnlib.layers.linear import Linear
from nnlib.layers.max_pooling import MaxPool
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.lowering import lower_gradients
from nnlib.model import Model
from nnlib.optim.adam import Adam
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.sgd import SGD
from nnlib.precision.fixed import FixedPoint, Rounding
from nnlib.quantised.device import FixedDevice, StorageDevice, fixed_model
from nnlib.quantised.scheme import FixedScheme
from sim.machine.load import load_machine

pytestmark = pytest.mark.numeric

GRAPH = Graph.chain(
    (5, 5, 2),
    [Conv2d("conv", 4, (3, 3), padding=1), ReLU("relu"), MaxPool("pool", 2, 2), Flatten("flatten"), Linear("out", 3)],
)
MODEL = Model(GRAPH, (CrossEntropy(outputs=("out",), target="label"),))


def batch_of(count: int = 12, *, seed: int = 0) -> Batch:
    rng = np.random.default_rng(seed)
    return Batch(inputs={INPUT: rng.uniform(0, 1, (count, 5, 5, 2))}, targets={"label": rng.integers(0, 3, count)})


def fresh() -> dict[str, Array]:
    return GRAPH.initialise(np.random.default_rng(1), np.dtype(np.float64))


def fixed(rounding: Rounding = "stochastic", *, fraction: int = 8, master: bool = False, seed: int = 0) -> FixedDevice:
    scheme = FixedScheme(weights=FixedPoint("int16", fraction), rounding=rounding, master=master)
    return FixedDevice(MODEL, scheme, seed=seed)


def steps(
    device: FixedDevice | StorageDevice | HostDevice,
    count: int,
    *,
    rate: float = 0.1,
    optimizer: Optimizer | None = None,
) -> tuple[dict[str, Array], dict[str, Array], float]:
    """Parameters, the optimiser's state and the last loss after ``count`` steps on one batch."""
    how = optimizer or SGD(momentum=0.9)
    parameters, batch = fresh(), batch_of()
    if isinstance(device, StorageDevice):
        parameters = {name: array.astype(np.float32) for name, array in parameters.items()}
        batch = batch.astype(np.dtype(np.float32))
    state = how.initial_state(parameters)
    loss = 0.0
    for step in range(count):
        weights = np.ones(len(batch), dtype=parameters["out.weight"].dtype)
        found = device.gradients(variables=parameters, batch=batch, weights=weights, run=Run(training=True, key=step))
        loss = found.loss
        device.update(optimizer=how, parameters=parameters, grads=found.parameters, state=state, rate=rate)
    return parameters, state, loss


def is_int16(array: Array, step: float) -> bool:
    whole = array / step
    return bool((whole == np.rint(whole)).all() and np.abs(whole).max() <= 2**15)


class TestFixedPoint:
    @pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), Adam()])
    def test_everything_that_is_kept_is_int16(self, optimizer: Optimizer) -> None:
        device = fixed()
        parameters, state, _ = steps(device, 5, optimizer=optimizer, rate=0.01)
        for name, array in parameters.items():
            assert is_int16(array, 2**-8), name
        for name, array in state.items():
            if ":" in name and array.any():
                assert is_int16(array, device.scheme.step_of(array)), name
        assert device.scheme.tally.rounded > 0

    def test_gradients_and_activations_are_int16(self) -> None:
        device = fixed()
        variables, batch = fresh(), batch_of()
        found = device.gradients(variables=variables, batch=batch, weights=np.ones(12), run=Run(training=True))
        for name, grad in found.parameters.items():
            assert is_int16(grad, device.scheme.step_of(grad)), name
        forward = device.model.graph.forward(
            variables, batch.inputs, run=Run(training=True), wanted=[node.name for node in GRAPH.nodes]
        )
        for name, value in forward.outputs.items():
            assert is_int16(value, device.scheme.step_of(value)), name

    def test_gradients_are_near_those_of_real_numbers(self) -> None:
        exact = HostDevice(MODEL).gradients(variables=fresh(), batch=batch_of(), weights=np.ones(12))
        for rounding, limit in (("nearest", 0.02), ("stochastic", 0.04)):
            device = fixed(rounding, fraction=12)  # type: ignore[arg-type]
            found = device.gradients(variables=fresh(), batch=batch_of(), weights=np.ones(12), run=Run(training=True))
            assert found.loss == pytest.approx(exact.loss, rel=0.01)
            for name, grad in found.parameters.items():
                error = np.abs(grad - exact.parameters[name]).max() / np.abs(exact.parameters[name]).max()
                assert 0 < error < limit, (rounding, name)

    def test_small_updates_vanish_under_nearest_and_not_on_average_under_stochastic(self) -> None:
        rate = 2e-4
        start = {name: fixed().scheme.round_weights(array, nearest=True) for name, array in fresh().items()}
        nearest, _, _ = steps(fixed("nearest"), 3, rate=rate)
        assert all(np.array_equal(nearest[name], start[name]) for name in start)
        stochastic, _, _ = steps(fixed("stochastic"), 3, rate=rate)
        assert any(not np.array_equal(stochastic[name], start[name]) for name in start)
        _, state, _ = steps(fixed("nearest", master=True), 3, rate=rate)
        assert all(not np.array_equal(state[f"master:{name}"], start[name]) for name in start)

    def test_the_seed_decides_and_nothing_else(self) -> None:
        one, same, other = (steps(fixed(seed=seed), 4)[0] for seed in (3, 3, 4))
        assert all(np.array_equal(one[name], same[name]) for name in one)
        assert any(not np.array_equal(one[name], other[name]) for name in one)

    def test_evaluation_rounds_to_nearest(self) -> None:
        device = fixed()
        first, again = (device.outputs(variables=fresh(), inputs=batch_of().inputs)["out"] for _ in range(2))
        assert np.array_equal(first, again)
        nearest = fixed("nearest").outputs(variables=fresh(), inputs=batch_of().inputs)["out"]
        assert np.array_equal(first, nearest)

    def test_sums_beyond_32_bits_saturate_and_are_counted(self) -> None:
        scheme = FixedScheme()
        sums = scheme.check_sums(np.array([1.0, 3.0, -5.0]), 2.0**-30)
        assert sums.tolist() == [1.0, 2 - 2**-30, -2.0]
        assert scheme.tally.overflows == 2
        assert scheme.check_sums(np.array([1.9]), 2.0**-30).tolist() == [1.9]

    @pytest.mark.parametrize("rounding", ["nearest", "stochastic"])
    def test_a_core_group_computes_the_same(self, rounding: Rounding) -> None:
        """The same random numbers too; sums in another order could round apart, but do not here."""
        scheme = FixedScheme(rounding=rounding)
        host = FixedDevice(MODEL, scheme, together=4)
        tiles = FixedDevice(MODEL, scheme, together=4, processor=load_machine("sunway_taihulight").processor)
        batch, run = batch_of(7), Run(training=True, key=5)
        one, other = (
            device.gradients(variables=fresh(), batch=batch, weights=np.ones(7), run=run) for device in (host, tiles)
        )
        assert other.loss == pytest.approx(one.loss, rel=1e-12)
        for name, grad in one.parameters.items():
            assert np.abs(grad - other.parameters[name]).max() <= 1e-12 * np.abs(grad).max(), name
        found = [device.outputs(variables=fresh(), inputs=batch.inputs)["out"] for device in (host, tiles)]
        assert found[0].shape == found[1].shape

    def test_a_lowered_step_rounds_every_result_and_gradient(self) -> None:
        model = fixed_model(MODEL, FixedScheme())
        plain = lower_gradients(model=MODEL, batch=4, dtype="fp64")
        program = lower_gradients(model=model, batch=4, dtype="fp64")
        added = [launch.kernel.name for launch in program.launches]
        for launch in plain.launches:
            added.remove(launch.kernel.name)
        results, grads, parameters = 4, 5, 4
        expected = {"dynamic_step", "quantise", "dequantise"}
        assert {name: added.count(name) for name in set(added)} == dict.fromkeys(expected, results + grads + parameters)

    @pytest.mark.parametrize("headroom", [0, 4])
    def test_rounding_again_changes_nothing(self, headroom: int) -> None:
        scheme = FixedScheme(headroom=headroom)
        for seed in range(50):
            x = np.random.default_rng(seed).standard_normal(7) * 2.0**-seed
            once = scheme.round_tensor(x, key=seed)
            assert np.array_equal(scheme.round_tensor(once, key=seed + 1), once)
            assert scheme.step_of(once) <= scheme.step_of(x)
        assert scheme.round_tensor(np.zeros(3)).tolist() == [0, 0, 0]
        with pytest.raises(FloatingPointError, match="not finite"):
            scheme.round_tensor(np.array([1.0, np.nan]))


class TestDoubleArithmeticOnSingles:
    def test_arrays_are_fp32_and_nearer_to_fp64_than_fp32_arithmetic_is(self) -> None:
        exact, _, _ = steps(HostDevice(MODEL), 3)
        mixed, state, _ = steps(StorageDevice(MODEL), 3)
        for name, array in (*mixed.items(), *state.items()):
            assert array.dtype == np.float32, name
        for name, array in mixed.items():
            assert np.abs(array - exact[name]).max() <= 1e-6 * np.abs(exact[name]).max(), name

    def test_layers_round_once(self) -> None:
        x = batch_of().astype(np.dtype(np.float32)).inputs
        variables = {name: array.astype(np.float32) for name, array in fresh().items()}
        wide = {name: array.astype(np.float64) for name, array in variables.items()}
        device = StorageDevice(MODEL)
        found = device.model.graph.forward(variables, x, run=Run(), wanted=["conv"]).outputs["conv"]
        exact = GRAPH.forward(wide, {INPUT: x[INPUT].astype(np.float64)}, run=Run(), wanted=["conv"]).outputs["conv"]
        assert found.dtype == np.float32
        assert np.array_equal(found, exact.astype(np.float32))

    def test_a_core_group_gives_the_same_up_to_roundings_between_kernels(self) -> None:
        variables = {name: array.astype(np.float32) for name, array in fresh().items()}
        batch = batch_of(4).astype(np.dtype(np.float32))
        weights = np.ones(4, dtype=np.float32)
        processor = load_machine("sunway_taihulight").processor
        tiles = CoreGroupDevice(MODEL, 4, "fp32", processor, arithmetic=np.dtype(np.float64))
        one = StorageDevice(MODEL).gradients(variables=variables, batch=batch, weights=weights)
        other = tiles.gradients(variables=variables, batch=batch, weights=weights)
        for name, grad in one.parameters.items():
            assert np.abs(grad - other.parameters[name]).max() <= 1e-6 * np.abs(grad).max(), name


@pytest.mark.slow
@pytest.mark.learning
def test_digits_in_int16_without_a_copy_need_stochastic_rounding() -> None:
    """Means of five seeds: stochastic rounding and a master copy stay within a point of fp64, nearest does not."""
    from benchmarks.fixed_point_training import WAYS, accuracy, fixed_device, load, trained
    from taihusim.setup import prepare

    setup, data = prepare(workload="digits"), load()

    def mean(devices: list[FixedDevice] | list[HostDevice]) -> float:
        found = []
        for seed, device in enumerate(devices):
            variables = trained(setup, data, device, seed=seed, steps=720)
            found.append(accuracy(setup, data.test, device, variables))
        return float(np.mean(found))

    exact = mean([HostDevice(setup.model)] * 5)
    ways = {way: [fixed_device(setup, fraction=8, way=way, seed=seed) for seed in range(5)] for way in WAYS}
    found = {way: mean(devices) for way, devices in ways.items()}
    for devices in ways.values():
        assert all(device.scheme.tally.overflows == 0 for device in devices)
    assert found["stochastic"] >= exact - 0.01, (exact, found)
    assert found["nearest, master copy"] >= exact - 0.01, (exact, found)
    assert found["nearest"] < exact - 0.01, (exact, found)
    assert found["nearest"] < found["stochastic"] - 0.01, (exact, found)


@pytest.mark.slow
def test_digits_in_int8_lose_at_most_a_point() -> None:
    """Trained in fp64, calibrated on 256 training images; every way to calibrate, mean of three seeds."""
    from benchmarks.fixed_point_training import accuracy, load, trained
    from nnlib.precision.calibration import Calibration
    from nnlib.quantised.network import quantise_network
    from taihusim.setup import prepare

    setup, data = prepare(workload="digits"), load()
    host, sample = HostDevice(setup.model), {INPUT: data.train.images[:256]}
    ways = (Calibration(), Calibration(method="percentile"), Calibration(method="mse"))
    exact: list[float] = []
    found: dict[Calibration, list[float]] = {way: [] for way in ways}
    for seed in range(3):
        variables = trained(setup, data, host, seed=seed, steps=900)
        exact.append(accuracy(setup, data.test, host, variables))
        for way in ways:
            network = quantise_network(setup.graph, variables, sample, calibration=way)
            outputs = network.outputs({INPUT: data.test.images})[setup.graph.output]
            found[way].append(float(np.mean(outputs.argmax(axis=1) == data.test.labels)))
            assert network.tally.overflows == 0
    assert np.mean(exact) > 0.95
    for way, accuracies in found.items():
        assert np.mean(accuracies) >= np.mean(exact) - 0.01, (way, accuracies, exact)
