"""Language models of recurrent layers (Zaremba et al. 2014)."""

from __future__ import annotations

from nnlib.graph import Input
from nnlib.layers.dropout import Dropout
from nnlib.layers.embedding import Embedding
from nnlib.layers.linear import Linear
from nnlib.layers.recurrent import LSTM
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.model import Model
from nnlib.models.network import Network


def lstm_language_model(
    *,
    vocabulary: int = 10_000,
    steps: int = 35,
    units: int = 650,
    layers: int = 2,
    dropout: float = 0.5,
) -> Model:
    """Tokens (steps,) to logits of the token that follows each; by default the medium network of the paper."""
    network = Network(inputs=(Input("tokens", (steps,), integer=True),))
    network.add(Embedding("embedding", vocabulary, units), Dropout("drop0", dropout))
    for number in range(1, layers + 1):
        network.add(LSTM(f"lstm{number}", units), Dropout(f"drop{number}", dropout))
    network.add(Linear("logits", vocabulary))
    return Model(network.graph(), (CrossEntropy(outputs=("logits",), target="next"),))
