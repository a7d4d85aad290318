"""Which arrays of a dataset a model takes, and what it is judged by."""

from __future__ import annotations

import numpy as np
import pytest

from nnlib.device import HostDevice
from nnlib.graph import Graph, Input, Node
from nnlib.layers.activation import Sigmoid
from nnlib.layers.arrangement import Flatten
from nnlib.layers.convolution import Conv1d, Conv2d
from nnlib.layers.embedding import Embedding
from nnlib.layers.linear import Linear
from nnlib.layers.sequence import StridedLengths
from nnlib.losses.binary_cross_entropy import BinaryCrossEntropy
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.losses.ctc import CtcLoss
from nnlib.losses.loss import Loss
from nnlib.losses.regression import MeanSquaredError
from nnlib.model import Model
from sim.problems import BadInput
from workloads.datasets.binding import bind
from workloads.datasets.dataset import Field, Labels, Part
from workloads.datasets.generated import TEST_FROM, generated_fields, generated_store
from workloads.datasets.measure import Measure, choose_measure
from workloads.datasets.metrics import collapsed, label_error_rate
from workloads.datasets.storms import Storms
from workloads.datasets.text import Text
from workloads.datasets.tones import Tones
from workloads.evaluation import evaluate

pytestmark = pytest.mark.numeric

STORMS = Storms(height=24, width=32, channels=4)
TONES = Tones(registers=2, most=3)
TEXT = Text(unit="words", length=7)
SYMBOLS = len(TEXT.symbols)
IMAGES = {"image": Field((4, 4, 1)), "label": Field((), 10)}


def pixels(*, classes: int = 2, shape: tuple[int, ...] = (24, 32, 4)) -> Model:
    return Model(Graph.chain(shape, [Conv2d("logits", classes, (1, 1))]), (CrossEntropy(outputs=("logits",)),))


def recogniser(*, classes: int = 5, blank: int = 0, labels: int | None = None) -> Model:
    inputs = (Input("frames", (TONES.time, TONES.bins)), Input("lengths", (), integer=True))
    graph = Graph(inputs, (Node(Linear("logits", classes), ("frames",)),))
    return Model(graph, (CtcLoss(outputs=("logits", "lengths"), target="tones", blank=blank, labels=labels),))


def predictor(*, entries: int = SYMBOLS, classes: int = SYMBOLS, name: str = "tokens") -> Model:
    nodes = (Node(Embedding("table", entries, 3), (name,)), Node(Linear("logits", classes), ("table",)))
    graph = Graph((Input(name, (7,), integer=True),), nodes)
    return Model(graph, (CrossEntropy(outputs=("logits",), target="next"),))


def coder(loss: Loss) -> Model:
    return Model(Graph.chain((4, 4, 1), [Linear("linear", 1), Sigmoid("image")]), (loss,))


def part(generator: Storms | Tones | Text, model: Model, *, count: int = 6) -> Part:
    binding = bind(generated_fields(generator), model, file="f", layers=True)
    return Part(store=generated_store(generator, count=count, test=True), binding=binding)


def refused(fields: dict[str, Field], model: Model) -> str:
    with pytest.raises(BadInput) as caught:
        bind(fields, model, file="f", layers=False)
    return str(caught.value)


def test_the_first_array_is_the_input_and_the_last_the_label() -> None:
    batch = part(STORMS, pixels()).whole()
    made = STORMS.generate(TEST_FROM + np.arange(6))
    np.testing.assert_array_equal(batch.inputs["input"], made.fields)
    np.testing.assert_array_equal(batch.targets["label"], made.mask)


def test_arrays_are_found_by_their_names() -> None:
    batch = part(TEXT, predictor()).whole()
    made = TEXT.generate(TEST_FROM + np.arange(6))
    np.testing.assert_array_equal(batch.inputs["tokens"], made.tokens)
    np.testing.assert_array_equal(batch.targets["next"], made.targets)


@pytest.mark.parametrize("blank", [0, 2, 4])
def test_labels_leave_the_blank_out_and_are_filled_up(blank: int) -> None:
    batch = part(TONES, recogniser(blank=blank, labels=5)).whole()
    made = TONES.generate(TEST_FROM + np.arange(6))
    targets = batch.targets["tones"]
    assert targets.shape == (6, 5)
    others = [each for each in range(5) if each != blank]
    for row in range(6):
        wanted = [others[label - 1] for label in made.labels[row, : made.counts[row]]]
        assert targets[row].tolist() == wanted + [-1] * (5 - len(wanted))
    np.testing.assert_array_equal(batch.inputs["lengths"], made.lengths)


def test_axes_of_length_one_may_be_added() -> None:
    model = Model(Graph.chain((24, 32, 4, 1), [Flatten("flat"), Linear("logits", 2)]))
    assert part(STORMS, model).whole().inputs["input"].shape == (6, 24, 32, 4, 1)
    assert part(STORMS, model).whole().targets == {}


@pytest.mark.parametrize(
    ("fields", "model", "words"),
    [
        (
            generated_fields(STORMS),
            pixels(shape=(24, 24, 4)),
            "model: expected [24, 32, 4], the shape of the dataset's",
        ),
        (generated_fields(Storms(rivers=True)), pixels(shape=(48, 48, 16)), "at least 3 outputs"),
        (
            generated_fields(TONES),
            recogniser(classes=4),
            "at least 5 outputs, the number of classes in the dataset and",
        ),
        (generated_fields(TONES), recogniser(labels=2), "sequences of at most 2 labels"),
        (generated_fields(TEXT), predictor(entries=5), f"at least {SYMBOLS} entries in layer 'table'"),
        (generated_fields(TEXT), predictor(classes=5), f"at least {SYMBOLS} outputs"),
        (generated_fields(TEXT), predictor(name="token"), "the model's input token (it gives: tokens, next)"),
        (generated_fields(TEXT), predictor(name="token"), "did you mean 'tokens'?"),
        (IMAGES, predictor(), "the model's target next (it gives: image, label)"),
        ({"a": Field((7,)), "next": Field((7,), 3)}, predictor(name="input"), "whole numbers for layer 'table'"),
    ],
)
def test_what_does_not_fit_is_said(fields: dict[str, Field], model: Model, words: str) -> None:
    assert words in refused(fields, model)


def test_all_that_does_not_fit_is_said_at_once() -> None:
    text = refused(generated_fields(TEXT), predictor(entries=5, classes=6))
    assert "entries" in text
    assert "outputs" in text


@pytest.mark.parametrize(
    ("fields", "model", "measure"),
    [
        (generated_fields(STORMS), pixels(), Measure(name="mean_iou", output="logits", target="label")),
        (generated_fields(TEXT), predictor(), Measure(name="bits_per_symbol", output="logits", target="next")),
        (
            generated_fields(TONES),
            recogniser(blank=4),
            Measure(name="label_error_rate", output="logits", target="tones", lengths="lengths", blank=4),
        ),
        (
            IMAGES,
            Model(Graph.chain((4, 4, 1), [Flatten("f"), Linear("l", 10)]), (CrossEntropy(outputs=("l",)),)),
            Measure(name="accuracy", output="l", target="label"),
        ),
        (
            IMAGES,
            coder(MeanSquaredError(outputs=("image",), target="image")),
            Measure(name="reconstruction_error", output="image", target="image"),
        ),
        (
            IMAGES,
            coder(BinaryCrossEntropy(outputs=("linear",), target="image")),
            Measure(name="reconstruction_error", output="image", target="image"),
        ),
    ],
)
def test_the_loss_and_the_data_suggest_a_measure(fields: dict[str, Field], model: Model, measure: Measure) -> None:
    assert choose_measure(model, fields, bind(fields, model, file="f", layers=False)) == measure


def test_without_a_loss_nothing_is_measured() -> None:
    model = Model(Graph.chain((4, 4, 1), [Flatten("f")]))
    assert choose_measure(model, IMAGES, bind(IMAGES, model, file="f", layers=False)) is None


def test_a_predictor_of_the_right_frequencies_needs_their_entropy() -> None:
    """The last layer's bias alone: logarithms of how often each symbol comes in the test set."""
    model = predictor()
    subject = part(TEXT, model, count=500)
    counts = np.bincount(subject.whole().targets["next"].reshape(-1), minlength=SYMBOLS)
    shares = counts[counts > 0] / counts.sum()
    variables = model.graph.initialise(np.random.default_rng(0), np.dtype(np.float64))
    variables["logits.weight"][:] = 0
    variables["logits.bias"] = np.log(np.maximum(counts, 1e-30))
    measure = choose_measure(model, generated_fields(TEXT), subject.binding)
    assert measure is not None
    found = evaluate(measure, HostDevice(model), variables=variables, part=subject)
    assert found == pytest.approx(-(shares * np.log2(shares)).sum(), rel=1e-12)


def test_lengths_that_a_layer_makes_are_computed_for_the_measure() -> None:
    """Frames behind the end of what the convolution makes of them are not decoded."""
    inputs = (Input("frames", (TONES.time, TONES.bins)), Input("lengths", (), integer=True))
    nodes = (
        Node(Conv1d("logits", 5, 3, 2, 1), ("frames",)),
        Node(StridedLengths("short", 3, 2, 1), ("lengths",)),
    )
    loss = CtcLoss(outputs=("logits", "short"), target="tones", labels=3)
    model = Model(Graph(inputs, nodes, ("logits",)), (loss,))
    subject = part(TONES, model)
    measure = choose_measure(model, generated_fields(TONES), subject.binding)
    assert measure is not None
    assert measure.lengths == "short"
    variables = model.graph.initialise(np.random.default_rng(1), np.dtype(np.float64))
    found = evaluate(measure, HostDevice(model), variables=variables, part=subject)
    batch = subject.whole()
    classes = model.graph.predict(variables, batch.inputs)["logits"].argmax(axis=-1)
    labels, counts = collapsed(classes, (batch.inputs["lengths"] - 1) // 2 + 1)
    wanted = batch.targets["tones"]
    assert found == label_error_rate(labels, counts, wanted, (wanted >= 0).sum(axis=1))
    everything = collapsed(classes, np.full(len(batch), classes.shape[1]))
    assert found != label_error_rate(*everything, wanted, (wanted >= 0).sum(axis=1))


def test_pieces_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for generator, model in ((STORMS, pixels()), (TONES, recogniser(blank=4)), (TEXT, predictor())):
        subject = part(generator, model, count=11)
        variables = model.graph.initialise(np.random.default_rng(1), np.dtype(np.float64))
        measure = choose_measure(model, generated_fields(generator), subject.binding)
        assert measure is not None
        whole = evaluate(measure, HostDevice(model), variables=variables, part=subject)
        with monkeypatch.context() as patch:
            patch.setattr("workloads.datasets.dataset.EVALUATED_SAMPLES", 3)
            assert [len(batch) for batch in subject.batches()] == [3, 3, 3, 2]
            assert evaluate(measure, HostDevice(model), variables=variables, part=subject) == pytest.approx(whole)


@pytest.mark.parametrize(
    ("name", "outputs", "targets", "expected"),
    [
        ("accuracy", [[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]], [1, 1, -1], 0.5),
        ("mean_iou", [[[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]]], [[1, 1, 1]], (2 / 3 + 0) / 2),
        ("bits_per_symbol", [[[0.0, 0.0], [0.0, np.log(3)]]], [[0, 0]], (1 + 2) / 2),
        ("bits_per_symbol", [[[0.0, 0.0], [0.0, np.log(3)]]], [[0, -1]], 1.0),
        ("reconstruction_error", [[1.0, 2.0]], [[0.0, 4.0]], 2.5),
        ("label_error_rate", [[[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0], [0, 0, 1.0]]], [[2, 2, -1]], 0.5),
    ],
)
def test_measures_of_small_examples(name: str, outputs: list[float], targets: list[float], expected: float) -> None:
    measure = Measure(name=name, output="o", target="t")  # type: ignore[arg-type]
    totals = measure.totals({"o": np.array(outputs)}, {"t": np.array(targets)})
    assert measure.value(totals) == pytest.approx(expected, rel=1e-12)


def test_shares_are_better_higher_and_errors_lower() -> None:
    accuracy, error = (Measure(name=name, output="o", target="t") for name in ("accuracy", "bits_per_symbol"))  # type: ignore[arg-type]
    assert accuracy.good_enough(0.9, 0.9)
    assert not accuracy.good_enough(0.89, 0.9)
    assert error.good_enough(0.8, 0.9)
    assert not error.good_enough(0.91, 0.9)


def test_training_and_test_samples_are_never_the_same() -> None:
    train, test = (generated_store(TEXT, count=20, test=each) for each in (False, True))
    numbers: Labels = np.arange(20)
    assert not np.array_equal(train.arrays(numbers)["next"], test.arrays(numbers)["next"])
    np.testing.assert_array_equal(train.arrays(numbers[3:5])["next"], TEXT.generate(np.array([3, 4])).targets)
