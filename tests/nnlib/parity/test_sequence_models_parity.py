"""The library's sequence models and autoencoders against networks of PyTorch's modules with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from nnlib.batch import Batch
from nnlib.device import HostDevice
from nnlib.layers.layer import INFERENCE, Run
from nnlib.layers.randomness import layer_key
from nnlib.model import Model
from nnlib.models.autoencoder import autoencoder, variational_autoencoder
from nnlib.models.language_model import lstm_language_model
from nnlib.ops.reparameterisation import normal_noise
from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.sgd import SGD
from tests.nnlib.parity import check_same
from tests.nnlib.sequence_networks import BINS, POSITIONS, SMALL, SYMBOLS, VOCABULARY, batch_of, weights_of

torch = pytest.importorskip("torch")
twins = pytest.importorskip("tests.nnlib.parity.sequence_twins")

pytestmark = [pytest.mark.parity, pytest.mark.numeric]
TOLERANCE = 1e-9
TRAINING = Run(training=True, key=5, first_sample=3)
SAMPLES = 4
RATE = 1e-2


def speech(cell: str) -> Any:
    return twins.DeepSpeech2(bins=BINS, symbols=SYMBOLS, channels=(3, 2, 4), units=5, layers=2, cell=cell)


def coder(variational: bool, *, channels: tuple[int, ...] = (4, 6), hidden: int = 12, code: int = 3) -> Any:
    return twins.Autoencoder(channels=channels, hidden=hidden, code=code, side=8, variational=variational)


TRANSFORMER = {"vocabulary": VOCABULARY, "positions": POSITIONS, "width": 16, "heads": 2, "layers": 2}
TWINS: dict[str, Callable[[], Any]] = {
    "deep_speech2 simple": lambda: speech("simple"),
    "deep_speech2 gru": lambda: speech("gru"),
    "deep_speech2 lstm": lambda: speech("lstm"),
    "lstm_language_model": lambda: twins.LanguageModel(vocabulary=VOCABULARY, units=6, layers=2),
    "bert": lambda: twins.Bert(**TRANSFORMER),
    "gpt2": lambda: twins.Gpt2(**TRANSFORMER),
    "autoencoder": lambda: coder(False),
    "variational_autoencoder": lambda: coder(True),
}
OPTIMIZERS: dict[str, tuple[Optimizer, Callable[[list[Any]], Any]]] = {
    "deep_speech2": (SGD(momentum=0.9), lambda them: torch.optim.SGD(them, lr=RATE, momentum=0.9)),
    "lstm_language_model": (SGD(), lambda them: torch.optim.SGD(them, lr=RATE)),
    "bert": (AdamW(weight_decay=0.1), lambda them: torch.optim.AdamW(them, lr=RATE, weight_decay=0.1)),
    "gpt2": (AdamW(weight_decay=0.1), lambda them: torch.optim.AdamW(them, lr=RATE, weight_decay=0.1)),
    "autoencoder": (Adam(), lambda them: torch.optim.Adam(them, lr=RATE)),
    "variational_autoencoder": (Adam(), lambda them: torch.optim.Adam(them, lr=RATE)),
}


@dataclass(frozen=True)
class Pair:
    """A model and its twin with the same weights, and a batch for both."""

    model: Model
    variables: dict[str, np.ndarray]
    batch: Batch
    twin: Any

    @property
    def inputs(self) -> dict[str, Any]:
        """The twin's inputs; the noise is what the library draws in :data:`TRAINING`."""
        found = {name: torch.tensor(array) for name, array in self.batch.inputs.items()}
        if "code" in self.model.graph.by_name:
            shape = (len(self.batch), *self.model.graph.shapes["code"])
            key = layer_key(TRAINING.key, "code")
            found["noise"] = torch.tensor(normal_noise(key, TRAINING.first_sample, shape, np.dtype(np.float64)))
        return found

    @property
    def targets(self) -> dict[str, Any]:
        return {name: torch.tensor(array) for name, array in self.batch.targets.items()}


def pair(model: Model, twin: Any, *, samples: int = SAMPLES) -> Pair:
    variables = weights_of(model)
    twin.double().load(variables)
    return Pair(model, variables, batch_of(model, samples), twin)


def check_outputs(both: Pair, *, training: bool) -> None:
    run = TRAINING if training else INFERENCE
    found = both.model.graph.forward(both.variables, both.batch.inputs, run=run).outputs
    expected = both.twin.train(training)(both.inputs)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        check_same(found[name], tensor.detach().numpy(), name, tolerance=TOLERANCE)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", SMALL)
def test_outputs(name: str, training: bool) -> None:
    check_outputs(pair(SMALL[name](0.0), TWINS[name]()), training=training)


@pytest.mark.parametrize(
    ("model", "twin"),
    [
        (autoencoder, lambda: coder(False, channels=(32, 64), hidden=128, code=8)),
        (variational_autoencoder, lambda: coder(True, channels=(32, 64), hidden=128, code=8)),
        pytest.param(
            lstm_language_model,
            lambda: twins.LanguageModel(vocabulary=10_000, units=650, layers=2),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["autoencoder", "variational_autoencoder", "lstm_language_model"],
)
def test_outputs_at_full_size(model: Callable[[], Model], twin: Callable[[], Any]) -> None:
    check_outputs(pair(model(), twin(), samples=1), training=False)


@pytest.mark.parametrize("name", SMALL)
def test_a_step_of_training(name: str) -> None:
    """Loss, gradients, statistics and the weights after the optimiser's step, for samples of different weights."""
    both = pair(SMALL[name](0.0), TWINS[name]())
    weights = np.random.default_rng(2).random(SAMPLES) + 0.5
    device = HostDevice(both.model)
    found = device.gradients(variables=both.variables, batch=both.batch, weights=weights, run=TRAINING)
    twin = both.twin.train()
    losses = twin.losses(twin(both.inputs), both.targets)
    loss = (losses * torch.tensor(weights / weights.sum())).sum()
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=TOLERANCE)
    grads, after = twin.grads(), twin.values()
    assert found.parameters.keys() == grads.keys()
    for parameter, grad in grads.items():
        check_same(found.parameters[parameter], grad, parameter, tolerance=TOLERANCE)
        assert np.any(grad), parameter
    for statistic, array in found.statistics.items():
        check_same(array, after[statistic], statistic, tolerance=TOLERANCE)
    assert found.statistics.keys() == after.keys() - grads.keys()

    optimizer, theirs = OPTIMIZERS[name.partition(" ")[0]]
    parameters = {parameter: both.variables[parameter].copy() for parameter in grads}
    state = optimizer.initial_state(parameters)
    device.update(optimizer=optimizer, parameters=parameters, grads=found.parameters, state=state, rate=RATE)
    theirs(twin.parameters_of_library()).step()
    for parameter, weight in twin.values().items():
        if parameter in grads:
            check_same(parameters[parameter], weight, parameter, tolerance=TOLERANCE)
            moved, expected = (each - both.variables[parameter] for each in (parameters[parameter], weight))
            assert np.max(np.abs(moved - expected)) <= 1e-6 * np.max(np.abs(expected)), parameter


@pytest.mark.parametrize("name", [name for name in SMALL if name.startswith("deep_speech2")])
def test_frames_behind_the_end_of_a_recurrent_sequence_change_nothing(name: str) -> None:
    """In inference, what the recurrent layers make of frames past a sample's length is 0."""
    both = pair(SMALL[name](0.0), TWINS[name]())
    graph = both.model.graph.pruned(["recurrent2", "lengths3"])
    found = graph.forward(both.variables, both.batch.inputs, run=INFERENCE).outputs
    lengths = found["lengths3"]
    assert len(set(lengths)) > 1
    np.testing.assert_array_equal(lengths, (both.batch.inputs["lengths"] + 1) // 2)
    behind = np.arange(found["recurrent2"].shape[1]) >= lengths[:, None]
    assert np.any(behind)
    assert not np.any(found["recurrent2"][behind])


@pytest.mark.parametrize("name", ["bert", "gpt2"])
def test_the_embedding_is_the_last_products_weight_too(name: str) -> None:
    """Its gradient is the sum of both uses': rows of tokens that do not occur have one as well."""
    both = pair(SMALL[name](0.0), TWINS[name]())
    head = "masked" if name == "bert" else "logits"
    assert f"{head}.weight" not in both.variables
    assert both.model.graph.variable_names[head]["weight"] == "word.weight"
    absent = np.setdiff1d(np.arange(VOCABULARY), both.batch.inputs["tokens"])
    assert absent.size
    grads = HostDevice(both.model).gradients(
        variables=both.variables, batch=both.batch, weights=np.ones(SAMPLES), run=TRAINING
    )
    assert np.all(np.any(grads.parameters["word.weight"][absent], axis=1))
