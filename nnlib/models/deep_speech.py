"""A speech recogniser of the class of Deep Speech 2 (Amodei et al. 2016)."""

from __future__ import annotations

from typing import Literal

from nnlib.graph import Input
from nnlib.layers.activation import ClippedReLU
from nnlib.layers.arrangement import Reshape
from nnlib.layers.batch_normalisation import BatchNorm
from nnlib.layers.convolution import Conv2d
from nnlib.layers.layer import Layer
from nnlib.layers.linear import Linear
from nnlib.layers.recurrent import GRU, LSTM, SimpleRecurrent
from nnlib.layers.sequence import StridedLengths
from nnlib.losses.ctc import CtcLoss
from nnlib.model import Model
from nnlib.models.network import Network

CONVOLUTIONS = ((11, 41, 2, 2), (11, 21, 1, 2), (11, 21, 1, 2))
"""Kernel in frames and bins, stride in frames and bins (English, three layers of 2-D convolution)."""
CEILING = 20.0
"""Where the rectified units are clipped."""


def deep_speech2(
    *,
    frames: int = 800,
    bins: int = 161,
    symbols: int = 29,
    labels: int = 200,
    channels: tuple[int, int, int] = (32, 32, 96),
    units: int = 1760,
    layers: int = 7,
    cell: Literal["simple", "gru", "lstm"] = "simple",
) -> Model:
    """Spectrograms (frames, bins, 1) to symbols, the last of which is CTC's blank.

    Three 2-D convolutions, ``layers`` bidirectional recurrent layers whose directions are added, all with batch
    normalisation, and a fully connected layer. The input ``lengths`` says how many frames of a sample there are;
    targets have up to ``labels`` symbols, filled up by -1.
    """
    network = Network((frames, bins, 1), inputs=(Input("lengths", (), integer=True),))
    lengths = "lengths"
    for number, ((long, high, step, leap), count) in enumerate(zip(CONVOLUTIONS, channels, strict=True), start=1):
        padding = (long // 2, high // 2)
        lengths = network.join(StridedLengths(f"lengths{number}", long, step, long // 2), lengths)
        network.after(f"clipped{number - 1}" if number > 1 else "input")
        network.add(
            Conv2d(f"conv{number}", count, (long, high), (step, leap), padding, bias=False),
            BatchNorm(f"bn{number}"),
            ClippedReLU(f"clipped{number}", CEILING),
        )
    time, rows, depth = network.graph().output_shape
    network.add(Reshape("rows", (time, rows * depth)))
    for number in range(1, layers + 1):
        network.join(_recurrent(cell, f"recurrent{number}", units), network.last, lengths)
    network.add(BatchNorm("bn_output"), Linear("symbols", symbols))
    return Model(network.graph(), (CtcLoss(outputs=("symbols", lengths), blank=symbols - 1, labels=labels),))


def _recurrent(cell: Literal["simple", "gru", "lstm"], name: str, units: int) -> Layer:
    match cell:
        case "simple":
            return SimpleRecurrent(
                name, units, bidirectional=True, merge="sum", normalised=True, activation="clipped_relu"
            )
        case "gru":
            return GRU(name, units, bidirectional=True, merge="sum", normalised=True)
        case "lstm":
            return LSTM(name, units, bidirectional=True, merge="sum", normalised=True)
