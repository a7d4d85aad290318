"""A network on the test set: what it answers, and how good that is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nnlib.batch import Arrays, Batch
from nnlib.device import Device
from nnlib.graph import Variables
from workloads.datasets.dataset import Part
from workloads.datasets.measure import Measure


def answers(device: Device, *, variables: Variables, part: Part) -> Iterator[tuple[Arrays, Batch]]:
    """The network's outputs for all samples of a part, some at a time, with what came in."""
    dtype = next(iter(variables.values())).dtype
    for batch in part.batches():
        given = batch.astype(dtype)
        yield device.outputs(variables=variables, inputs=given.inputs), batch


def measured(measure: Measure, device: Device, *, variables: Variables, outputs: Arrays, batch: Batch) -> np.ndarray:
    """What a batch adds to the measure. Nodes that are no outputs of the network are computed on the host."""
    graph = device.model.graph
    known = {**batch.inputs, **outputs}
    missing = [name for name in (measure.output, measure.lengths) if name is not None and name not in known]
    if missing:
        dtype = next(iter(variables.values())).dtype
        known |= graph.pruned(missing).predict(variables, batch.astype(dtype).inputs)
    return measure.totals(known, batch.targets)


def evaluate(measure: Measure, device: Device, *, variables: Variables, part: Part) -> float:
    """The measure over all samples of a part."""
    totals = [
        measured(measure, device, variables=variables, outputs=outputs, batch=batch)
        for outputs, batch in answers(device, variables=variables, part=part)
    ]
    return measure.value(np.sum(totals, axis=0))
