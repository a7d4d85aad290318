"""Small networks learn the generated data as well as the data say is possible, and linear ones do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnlib.device import HostDevice
from nnlib.graph import Graph, Input, Node
from nnlib.layers import Conv1d, Linear, ReLU
from nnlib.losses import CtcLoss
from nnlib.model import Model
from workloads.datasets.load import load_dataset, measure_of
from workloads.datasets.measure import Measure
from workloads.datasets.stream import SampleStream
from workloads.datasets.text import Text
from workloads.reduction import Reduction
from workloads.spec import Workload, load_workload
from workloads.training import Goal, Trainer, TrainingState

pytestmark = [pytest.mark.slow, pytest.mark.numeric, pytest.mark.learning]

TONES = """
title: Gliding tones
model: {input: [75, 17], layers: [{type: linear, units: 9}], loss: {type: ctc_loss, labels: 6}}
data:
  dataset: tones
  split: {train: 8000, test: 300}
"""
PREDICTOR = """
title: Sentences
model:
  input: [64]
  layers:
    - {type: embedding, count: 25, features: 32}
    - {type: lstm, units: 96}
    - {type: linear, units: 25}
data:
  dataset: text
  split: {train: 100000, test: 300}
"""
SEGMENTER = """
title: Moving storms
model:
  input: [48, 48, 16]
  layers:
    - {type: conv2d, channels: 12, kernel: 5, padding: 2, name: wide}
    - {type: relu}
    - {type: maxpool, kernel: 2}
    - {type: conv2d, channels: 24, kernel: 5, padding: 2}
    - {type: relu}
    - {type: conv2d, channels: 24, kernel: 5, padding: 2}
    - {type: relu}
    - {type: upsample, scale: 2, mode: bilinear, name: up}
    - {type: concatenate, inputs: [wide, up]}
    - {type: conv2d, channels: 12, kernel: 3, padding: 1}
    - {type: relu}
    - {type: conv2d, channels: 2, kernel: 1}
data:
  dataset: storms
  split: {train: 512, test: 64}
"""
RECIPE = """
recipe:
  batch_per_node: BATCH
  optimizer: {name: adam}
  learning_rate: {base: RATE, at_batch: BATCH, warmup_steps: 20, schedule: cosine, decay_steps: STEPS}
  max_steps: STEPS
"""


def written(folder: Path, text: str, *, batch: int, steps: int, rate: float) -> Workload:
    file = folder / "mine.yaml"
    recipe = RECIPE.replace("BATCH", str(batch)).replace("STEPS", str(steps)).replace("RATE", str(rate))
    file.write_text(text + recipe)
    return load_workload(file)


def recogniser() -> Model:
    """Two convolutions over five frames and a classifier of frames; how many frames there are is an input, too."""
    layers = [
        Conv1d("conv1", 32, 5, 1, 2),
        ReLU("relu1"),
        Conv1d("conv2", 32, 5, 1, 2),
        ReLU("relu2"),
        Linear("logits", 9),
    ]
    names = ("frames", *(layer.name for layer in layers))
    nodes = tuple(Node(layer, (source,)) for layer, source in zip(layers, names, strict=False))
    graph = Graph((Input("frames", (75, 17)), Input("lengths", (), integer=True)), nodes)
    loss = CtcLoss(outputs=("logits", "lengths"), target="tones", labels=6, normalised=True)
    return Model(graph, (loss,))


def learned(workload: Workload, model: Model | None = None) -> tuple[Measure, float]:
    """What the workload's model is judged by, and how good it is after the recipe's steps in single precision."""
    model, recipe = model or workload.model.build(), workload.recipe
    data = load_dataset(workload, model)
    measure = measure_of(workload, data, model)
    assert measure is not None
    variables = model.graph.initialise(np.random.default_rng(0), np.dtype(np.float32))
    trainer = Trainer(
        device=HostDevice(model),
        reduction=Reduction(order="pairwise", ranks=1, add_ranks=lambda values: values[0]),
        optimizer=recipe.optimizer,
        rate=recipe.learning_rate,
        test=data.test,
        measure=measure,
        global_batch=recipe.batch_per_node,
        seconds_per_step=1.0,
        goal=Goal(until=None, steps=None, max_steps=recipe.max_steps, evaluate_every=recipe.max_steps),
    )
    state = TrainingState(
        variables=variables,
        optimizer=recipe.optimizer.initial_state({name: variables[name] for name in model.graph.parameters}),
        stream=SampleStream(data.train, 0),
    )
    trainer.run(state, after_step=lambda _: None)
    assert state.measured is not None
    return measure, state.measured


def test_tones_are_recognised_without_alignment(tmp_path: Path) -> None:
    measure, rate = learned(written(tmp_path, TONES, batch=32, steps=700, rate=0.01), recogniser())
    assert measure.name == "label_error_rate"
    assert rate <= 0.05


def test_text_is_predicted_nearly_as_well_as_its_source_allows(tmp_path: Path) -> None:
    measure, bits = learned(written(tmp_path, PREDICTOR, batch=32, steps=1000, rate=0.01))
    assert measure.name == "bits_per_symbol"
    least = Text(length=64).least_bits
    assert 0.97 * least < bits <= 1.05 * least  # a little less by chance: 300 texts are not all texts


def test_storms_are_found_by_their_winds(tmp_path: Path) -> None:
    measure, iou = learned(written(tmp_path, SEGMENTER, batch=8, steps=300, rate=0.005))
    assert measure.name == "mean_iou"
    assert iou >= 0.8
