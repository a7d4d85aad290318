"""Small networks of the library's sequence models and autoencoders, with weights and batches to train them on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from nnlib.batch import Batch
from nnlib.layers.layer import Array
from nnlib.losses.ctc import CtcLoss
from nnlib.model import Model
from nnlib.models.autoencoder import autoencoder, variational_autoencoder
from nnlib.models.deep_speech import deep_speech2
from nnlib.models.language_model import lstm_language_model
from nnlib.models.transformer import bert, gpt2

FRAMES, BINS, SYMBOLS, LABELS = 15, 9, 6, 3
VOCABULARY, STEPS, POSITIONS = 23, 7, 10


def _speech(cell: Literal["simple", "gru", "lstm"]) -> Model:
    return deep_speech2(
        frames=FRAMES, bins=BINS, symbols=SYMBOLS, labels=LABELS, channels=(3, 2, 4), units=5, layers=2, cell=cell
    )


SMALL: dict[str, Callable[[float], Model]] = {
    "deep_speech2 simple": lambda dropout: _speech("simple"),
    "deep_speech2 gru": lambda dropout: _speech("gru"),
    "deep_speech2 lstm": lambda dropout: _speech("lstm"),
    "lstm_language_model": lambda dropout: lstm_language_model(
        vocabulary=VOCABULARY, steps=STEPS, units=6, dropout=dropout
    ),
    "bert": lambda dropout: bert(
        vocabulary=VOCABULARY, steps=STEPS, positions=POSITIONS, width=16, heads=2, layers=2, dropout=dropout
    ),
    "gpt2": lambda dropout: gpt2(
        vocabulary=VOCABULARY, steps=STEPS, positions=POSITIONS, width=16, heads=2, layers=2, dropout=dropout
    ),
    "autoencoder": lambda dropout: autoencoder(channels=(4, 6), hidden=12, code=3),
    "variational_autoencoder": lambda dropout: variational_autoencoder(channels=(4, 6), hidden=12, code=3),
}
"""By name, what builds each with a rate of dropout, where it has any."""


def weights_of(model: Model, seed: int = 0) -> dict[str, Array]:
    """Random parameters and statistics in double precision, none of them 0 or 1 as in the beginning."""
    rng = np.random.default_rng(seed)
    return {
        name: array + 0.1 * np.abs(rng.standard_normal(array.shape))
        for name, array in model.initialise(rng, np.dtype(np.float64)).items()
    }


def batch_of(model: Model, samples: int, seed: int = 1) -> Batch:
    """Random samples: lengths that differ, tokens and classes, labels of different numbers, masked ones."""
    rng = np.random.default_rng(seed)
    inputs: dict[str, np.ndarray] = {}
    for each in model.graph.inputs:
        if each.name == "lengths":
            (frames,) = (other.shape[0] for other in model.graph.inputs if other.name == "input")
            inputs["lengths"] = rng.integers(frames // 2, frames + 1, samples)
        elif each.integer:
            table = "segment.weight" if each.name == "segments" else next(iter(model.graph.parameters))
            inputs[each.name] = rng.integers(0, model.graph.parameters[table][0], (samples, *each.shape))
        else:
            inputs[each.name] = rng.random((samples, *each.shape))
    targets = {}
    for loss in model.losses:
        if loss.target is None:
            continue
        name, shape = loss.target, (samples, *model.targets[loss.target])
        classes = model.graph.shapes[loss.outputs[0]][-1]
        if name == "image":
            targets[name] = inputs["input"]
        elif isinstance(loss, CtcLoss):
            labels = rng.integers(0, classes - 1, shape)
            counts = rng.integers(1, shape[1] + 1, samples)
            targets[name] = np.where(np.arange(shape[1]) < counts[:, None], labels, -1)
        elif name == "masked":
            targets[name] = np.where(rng.random(shape) < 0.5, rng.integers(0, classes, shape), -1)
            targets[name][:, 0] = 1
        else:
            targets[name] = rng.integers(0, classes, shape)
    return Batch(inputs=inputs, targets=targets)
