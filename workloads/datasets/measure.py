"""What a model's answers on the test set are measured by."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlib.batch import Arrays
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.losses.ctc import CtcLoss
from nnlib.model import Model
from workloads.datasets.counter import Floats
from workloads.datasets.dataset import Binding, Field
from workloads.datasets.metrics import collapsed, confusion, edit_distance, overlaps
from workloads.datasets.names import MeasureName

HIGHER_IS_BETTER = frozenset({"accuracy", "mean_iou"})


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number that says how good the node ``output`` is against ``target``.

    * ``accuracy``: the share of targets (negative ones left out) whose class has the highest number.
    * ``mean_iou``: pixels of a class found and wanted over those found or wanted, the mean over the classes.
    * ``label_error_rate``: labels to insert, delete or replace, over all labels; frames are decoded greedily. The node
      ``lengths`` says how many frames count, ``blank`` which class is none.
    * ``bits_per_symbol``: what each target costs under the softmax of the outputs, to base 2.
    * ``reconstruction_error``: the mean squared difference.
    """

    name: MeasureName
    output: str
    target: str
    lengths: str | None = None
    blank: int = 0

    def good_enough(self, value: float, wanted: float) -> bool:
        """Whether ``value`` is as good as ``wanted`` or better."""
        return value >= wanted if self.name in HIGHER_IS_BETTER else value <= wanted

    def totals(self, outputs: Arrays, targets: Arrays) -> Floats:
        """What has to be added up over batches before ``value`` can be told."""
        output, target = outputs[self.output], targets[self.target]
        match self.name:
            case "accuracy":
                found = output.argmax(axis=-1)
                return np.array([(found == target).sum(), (target >= 0).sum()], dtype=np.float64)
            case "mean_iou":
                return confusion(output.argmax(axis=-1), target, classes=output.shape[-1]).astype(np.float64)
            case "label_error_rate":
                return self._edits(output, target, outputs)
            case "bits_per_symbol":
                return np.array([_nats(output, target) / math.log(2), (target >= 0).sum()])
            case "reconstruction_error":
                difference = output.astype(np.float64) - target
                return np.array([(difference**2).sum(), difference.size])

    def value(self, totals: Floats) -> float:
        """The measure of all that was added up."""
        if self.name != "mean_iou":
            return float(totals[0] / totals[1])
        return float(np.nanmean(overlaps(totals)))

    def _edits(self, output: NDArray[Any], target: NDArray[Any], outputs: Arrays) -> Floats:
        count, frames = output.shape[:2]
        lengths = np.full(count, frames) if self.lengths is None else outputs[self.lengths].astype(np.int64)
        found, found_lengths = collapsed(output.argmax(axis=-1), lengths, blank=self.blank)
        wanted_lengths = (target >= 0).sum(axis=1)
        edits = edit_distance(found, found_lengths, target, wanted_lengths)
        return np.array([edits.sum(), wanted_lengths.sum()], dtype=np.float64)


def choose_measure(model: Model, fields: Mapping[str, Field], binding: Binding) -> Measure | None:
    """What the model's first loss with a target is usually judged by; None when it has no such loss.

    Class numbers of whole samples: accuracy. Of pixels: mean IoU. Of the symbols of a text: bits per symbol. Sequences
    of labels: their error rate. Real numbers: the reconstruction error of the network's output.
    """
    for loss in model.losses:
        if loss.target is None or loss.target not in binding.targets:
            continue
        target, field = loss.target, fields[binding.targets[loss.target].field]
        output = model.graph.output
        if isinstance(loss, CtcLoss):
            lengths = loss.outputs[1] if len(loss.outputs) > 1 else None
            name: MeasureName = "label_error_rate"
            return Measure(name=name, output=loss.outputs[0], target=target, lengths=lengths, blank=loss.blank)
        if field.classes is None:
            return Measure(name="reconstruction_error", output=output, target=target)
        of = loss.outputs[0] if isinstance(loss, CrossEntropy) and len(field.shape) == 1 else output
        names: tuple[MeasureName, ...] = ("accuracy", "bits_per_symbol", "mean_iou")
        return Measure(name=names[min(len(field.shape), 2)], output=of, target=target)
    return None


def _nats(logits: NDArray[Any], target: NDArray[Any]) -> float:
    """The sum of the cross-entropies of targets that are not negative."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    chosen = np.take_along_axis(shifted, np.maximum(target, 0)[..., np.newaxis], axis=-1)[..., 0]
    costs = np.log(np.exp(shifted).sum(axis=-1)) - chosen
    return float(costs[target >= 0].sum())
