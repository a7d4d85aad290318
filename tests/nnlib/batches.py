"""Networks that tell classes apart, and batches for them."""

from __future__ import annotations

import numpy as np

from nnlib.batch import Batch
from nnlib.graph import INPUT, Graph
from nnlib.layers.layer import Array
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model

LABEL = "label"


def classifier(graph: Graph) -> Model:
    """The network with softmax cross-entropy of its output."""
    return Model(graph, (CrossEntropy(outputs=(graph.output,)),))


def labelled(images: Array, labels: np.ndarray) -> Batch:
    """Images and their class numbers."""
    return Batch(inputs={INPUT: images}, targets={LABEL: labels})
