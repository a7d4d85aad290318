"""Recurrent layers by PyTorch's fused functions, those that it has."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from nnlib.torch_backend.host import host_layer
from nnlib.torch_backend.rules import Place, layer_rule
from nnlib.torch_backend.tensors import Tensor


@layer_rule("LSTM")
def lstm(layer: Any, place: Place) -> Tensor:
    """With lengths, which go to PyTorch packed."""
    return _run(layer, place, torch.lstm)


@layer_rule("GRU")
def gru(layer: Any, place: Place) -> Tensor:
    """Only where the reset gate multiplies the product, as in PyTorch."""
    return _run(layer, place, torch.gru) if layer.linear_before_reset else host_layer(layer, place)


@layer_rule("SimpleRecurrent")
def simple_recurrent(layer: Any, place: Place) -> Tensor:
    """PyTorch knows no clipped rectifier."""
    functions = {"tanh": torch.rnn_tanh, "relu": torch.rnn_relu}
    function = functions.get(layer.activation)
    return host_layer(layer, place) if function is None else _run(layer, place, function)


def _run(layer: Any, place: Place, function: Any) -> Tensor:
    x = place.inputs[0]
    lengths = place.inputs[1].long().cpu() if len(place.inputs) == 2 else None
    if layer.normalised or (lengths is not None and int(lengths.min()) < 1):
        return host_layer(layer, place)
    weights: list[Tensor] = []
    for suffix in layer.suffixes:
        weights += [place.params[f"{name}{suffix}"].t().contiguous() for name in ("weight", "recurrent")]
        if layer.bias:
            weights += _biases(layer, place, suffix)
    zeros = x.new_zeros(len(layer.suffixes), len(x), layer.units)
    state = (zeros, zeros) if function is torch.lstm else zeros
    training, both = place.run.training, layer.bidirectional
    if lengths is None:
        y = function(x, state, weights, layer.bias, 1, 0.0, training, both, True)[0]
    else:
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        found = function(packed.data, packed.batch_sizes, state, weights, layer.bias, 1, 0.0, training, both)[0]
        whole = PackedSequence(found, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices)
        y, _ = pad_packed_sequence(whole, batch_first=True, total_length=x.shape[1])
    return y.unflatten(2, (2, layer.units)).sum(dim=2) if both and layer.merge == "sum" else y


def _biases(layer: Any, place: Place, suffix: str) -> list[Tensor]:
    """PyTorch has one for each product; of the recurrent one only what does not add to the other is there."""
    bias = place.params[f"bias{suffix}"]
    own = place.params.get(f"recurrent_bias{suffix}")
    if own is None:
        return [bias, torch.zeros_like(bias)]
    return [bias, torch.cat([own.new_zeros(2 * layer.units), own])]
