"""The small workloads learn what their data allow, and what is linear on the same data does not."""

from __future__ import annotations

import numpy as np
import pytest

from sim.chip.memory import Array
from taihusim.setup import Setup, prepare
from taihusim.train import train
from taihusim.training_run import TrainRequest
from workloads.datasets.baselines import fit_softmax
from workloads.datasets.counter import Floats
from workloads.datasets.dataset import Dataset, Part
from workloads.datasets.generated import TEST_FROM
from workloads.datasets.load import load_dataset
from workloads.datasets.metrics import collapsed, label_error_rate, mean_iou
from workloads.datasets.storms import Storms
from workloads.datasets.text import Text
from workloads.datasets.tones import Tones

pytestmark = [pytest.mark.slow, pytest.mark.numeric, pytest.mark.learning]


def learned(name: str, measure: str) -> tuple[Setup, float]:
    """How good a workload gets on one node by its own recipe, in single precision."""
    setup = prepare(workload=name, mapping_flags=["precision=fp32"])
    (run,) = train(setup, TrainRequest(nodes=(1,)))
    assert run.result["measure"] == measure
    assert run.result["reached"]
    assert run.result["seconds_total"] > 0
    return setup, float(run.result["measured"])


def pixels(part: Part) -> Floats:
    """All images of a part (n, pixels)."""
    found = [next(iter(batch.inputs.values())) for batch in part.batches()]
    images: Array = np.concatenate([each.reshape(len(each), -1) for each in found])
    return images.astype(np.float64)


def components_error(data: Dataset, *, code: int) -> float:
    """The mean squared difference that ``code`` principal components of the training images leave on the test set."""
    train_images, test_images = pixels(data.train), pixels(data.test)
    mean = train_images.mean(axis=0)
    axes = np.linalg.svd(train_images - mean, full_matrices=False)[2][:code]
    centred = test_images - mean
    return float(((centred - centred @ axes.T @ axes) ** 2).mean())


def test_digits_are_recognised() -> None:
    _, accuracy = learned("digits_cnn", "accuracy")
    assert accuracy >= 0.98


def test_an_autoencoder_leaves_half_the_error_of_principal_components() -> None:
    setup, error = learned("digits_autoencoder", "reconstruction_error")
    code = setup.graph.shapes["code"][0]
    assert 0 < error <= 0.5 * components_error(load_dataset(setup.workload, setup.model), code=code)


def test_tones_are_recognised_without_alignment_and_not_by_single_frames() -> None:
    setup, rate = learned("tones", "label_error_rate")
    assert rate <= 0.05
    data = setup.workload.data
    assert data is not None
    tones = data.generator
    assert isinstance(tones, Tones)
    heard = tones.generate(np.arange(400))
    test = tones.generate(TEST_FROM + np.arange(data.test_size))
    inside = np.arange(tones.time) < heard.lengths[:, np.newaxis]
    linear = fit_softmax(heard.frames[inside], heard.alignment[inside], classes=tones.classes)
    labels, counts = collapsed(linear.classes(test.frames), test.lengths)
    assert label_error_rate(labels, counts, test.labels, test.counts) >= 0.30


def test_storms_are_found_by_their_winds_and_not_by_single_pixels() -> None:
    setup, iou = learned("storms", "mean_iou")
    assert iou >= 0.8
    data = setup.workload.data
    assert data is not None
    storms = data.generator
    assert isinstance(storms, Storms)
    seen = storms.generate(np.arange(320))
    test = storms.generate(TEST_FROM + np.arange(data.test_size))
    channels = seen.fields.shape[-1]
    linear = fit_softmax(seen.fields.reshape(-1, channels)[::7], seen.mask.reshape(-1)[::7], classes=storms.classes)
    assert mean_iou(linear.classes(test.fields), test.mask, classes=storms.classes) <= 0.5


def test_text_is_predicted_nearly_as_well_as_its_source_allows() -> None:
    setup, bits = learned("characters", "bits_per_symbol")
    data = setup.workload.data
    assert data is not None
    text = data.generator
    assert isinstance(text, Text)
    # a little less by chance: 300 texts are not all texts
    assert 0.97 * text.least_bits < bits <= 1.05 * text.least_bits
