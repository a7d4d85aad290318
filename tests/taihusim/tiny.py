"""A workload that trains in milliseconds: a few of the digits, halved in size, and one linear layer."""

from __future__ import annotations

from pathlib import Path

TINY = """\
extends: digits
title: Tiny
model:
  layers:
{layers}
data:
  split: {{train: 64, test: 30, seed: 0}}
recipe:
  batch_per_node: 16
  optimizer: {{name: sgd, momentum: 0.9}}
  learning_rate: {{base: 0.1, at_batch: 16, scaling: none, cap: null, warmup_steps: 0, schedule: constant}}
  weight_decay: 0.0
  until_accuracy: 0.6
  max_steps: 100
  evaluate_every: 2
"""
LINEAR = """\
    - {type: maxpool, kernel: 2}
    - {type: flatten}
    - {type: linear, units: 10}"""
CONVOLUTION = """\
    - {type: conv2d, channels: 4, kernel: 3, padding: 1}
    - {type: relu}
    - {type: maxpool, kernel: 2}
    - {type: flatten}
    - {type: linear, units: 10}"""


def tiny_workload(folder: Path, *, name: str = "tiny", layers: str = LINEAR) -> str:
    """Write the workload; 64 samples to train on, 16 a step on each node. Returns the file's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.yaml"
    path.write_text(TINY.format(layers=layers))
    return str(path)
