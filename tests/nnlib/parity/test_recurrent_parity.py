"""Recurrent layers against PyTorch: packed sequences, both directions, all gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.ops.gru import Gru
from nnlib.ops.lstm import Lstm
from nnlib.ops.recurrent import (
    Cell,
    input_product,
    input_product_gradient,
    merge_directions,
    recurrent_backward,
    recurrent_forward,
    split_directions,
)
from nnlib.ops.simple_recurrent import Simple
from tests.nnlib.parity import Array, check_same

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.parity, pytest.mark.numeric]

KINDS: dict[str, tuple[Cell, Any, dict[str, str]]] = {
    "lstm": (Lstm(), torch.nn.LSTM, {}),
    "gru": (Gru(), torch.nn.GRU, {}),
    "tanh": (Simple("tanh"), torch.nn.RNN, {"nonlinearity": "tanh"}),
    "relu": (Simple("relu"), torch.nn.RNN, {"nonlinearity": "relu"}),
}


@pytest.mark.parametrize("kind", list(KINDS))
@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 5),
    steps=st.integers(1, 9),
    inputs=st.integers(1, 7),
    hidden=st.integers(1, 9),
    directions=st.integers(1, 2),
    packed=st.booleans(),
    with_initial=st.booleans(),
    with_bias=st.booleans(),
    dtype=st.sampled_from(["float64", "float32"]),
    seed=st.integers(0, 1000),
)
def test_layers_are_those_of_pytorch(
    kind: str,
    batch: int,
    steps: int,
    inputs: int,
    hidden: int,
    directions: int,
    packed: bool,
    with_initial: bool,
    with_bias: bool,
    dtype: str,
    seed: int,
) -> None:
    cell, of_torch, options = KINDS[kind]
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(dtype)

    lengths = rng.integers(1, steps + 1, batch) if packed else None
    if lengths is not None:
        lengths[rng.integers(batch)] = steps
    layer = of_torch(
        inputs,
        hidden,
        bias=with_bias,
        batch_first=True,
        bidirectional=directions == 2,
        dtype=getattr(torch, dtype),
        **options,
    )
    x, grad = normal(batch, steps, inputs), normal(batch, steps, directions * hidden)
    initial = [normal(directions, batch, hidden) for _ in range(cell.states)]
    grad_final = [normal(directions, batch, hidden) for _ in range(cell.states)]

    tensors = [torch.tensor(each, requires_grad=True) for each in (x, *initial)]
    fed: Any = tensors[0]
    if lengths is not None:
        fed = torch.nn.utils.rnn.pack_padded_sequence(
            fed, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
    given_states: Any = tensors[1:] if cell.states == 2 else tensors[1]
    expected, final = layer(fed, given_states if with_initial else None)
    if lengths is not None:
        expected, _ = torch.nn.utils.rnn.pad_packed_sequence(expected, batch_first=True, total_length=steps)
    finals = final if cell.states == 2 else (final,)
    scalar = (expected * torch.tensor(grad)).sum()
    for each, weight in zip(finals, grad_final, strict=True):
        scalar = scalar + (each * torch.tensor(weight)).sum()
    scalar.backward()

    runs = []
    # sums over steps, which of one unit may nearly cancel: against the size of a term
    term = 0.01 * float(np.max(np.abs(grad)))
    by_x = np.zeros_like(x)
    parameters = {name: value.detach().numpy() for name, value in layer.named_parameters()}
    for direction, suffix in enumerate(["", "_reverse"][:directions]):
        weight, recurrent = parameters[f"weight_ih_l0{suffix}"].T, parameters[f"weight_hh_l0{suffix}"].T
        bias, recurrent_bias = (parameters[f"bias_{part}_l0{suffix}"] if with_bias else None for part in ("ih", "hh"))
        states = tuple(each[direction] for each in initial) if with_initial else None
        product = input_product(x, weight, bias)
        run = recurrent_forward(
            product,
            recurrent,
            recurrent_bias,
            cell=cell,
            lengths=lengths,
            reverse=direction == 1,
            initial=states,
        )
        runs.append(run)
        share = split_directions(grad, directions, "concatenate")[direction]
        found = recurrent_backward(run, share, tuple(each[direction] for each in grad_final))
        more, by_weight, by_bias = input_product_gradient(x, weight, found.x_product)
        by_x += more
        wanted = {name: value.grad.numpy() for name, value in layer.named_parameters()}
        check_same(by_weight, wanted[f"weight_ih_l0{suffix}"].T, "gradient by the input weights", least=term)
        check_same(found.weight, wanted[f"weight_hh_l0{suffix}"].T, "gradient by the recurrent weights", least=term)
        if with_bias:
            check_same(by_bias, wanted[f"bias_ih_l0{suffix}"], "gradient by the bias", least=term)
            assert found.bias is not None
            check_same(found.bias, wanted[f"bias_hh_l0{suffix}"], "gradient by the recurrent bias", least=term)
        for number, (state, last) in enumerate(zip(found.initial, run.final, strict=True)):
            check_same(last, finals[number][direction].detach().numpy(), "final state")
            if with_initial:
                wanted_state = tensors[1 + number].grad[direction].numpy()
                check_same(state, wanted_state, "gradient by the initial state", least=term)
    check_same(merge_directions([run.y for run in runs], "concatenate"), expected.detach().numpy(), "outputs")
    check_same(by_x, tensors[0].grad.numpy(), "gradient by the input", least=term)


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 4),
    steps=st.integers(1, 6),
    hidden=st.integers(1, 7),
    packed=st.booleans(),
    dtype=st.sampled_from(["float64", "float32"]),
    seed=st.integers(0, 1000),
)
def test_a_gru_may_reset_before_its_product(
    batch: int, steps: int, hidden: int, packed: bool, dtype: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    shapes = [(batch, steps, 3 * hidden), (hidden, 3 * hidden), (3 * hidden,), (batch, hidden), (batch, steps, hidden)]
    product, weight, bias, initial, grad = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    lengths = rng.integers(0, steps + 1, batch) if packed else None
    run = recurrent_forward(
        product, weight, bias, cell=Gru(linear_before_reset=False), lengths=lengths, initial=(initial,)
    )
    found = recurrent_backward(run, grad)

    tensors = [torch.tensor(each, requires_grad=True) for each in (product, weight, bias, initial)]
    x, w, b, h = tensors
    outputs = []
    for t in range(steps):
        inside = torch.ones(batch, 1) if lengths is None else torch.tensor((t < lengths)[:, None])
        columns = [slice(first * hidden, (first + 1) * hidden) for first in range(3)]
        reset, update = (torch.sigmoid(x[:, t, part] + h @ w[:, part] + b[part]) for part in columns[:2])
        part = columns[2]
        candidate = torch.tanh(x[:, t, part] + (reset * h) @ w[:, part] + b[part])
        new = (1 - update) * candidate + update * h
        outputs.append(torch.where(inside > 0, new, 0))
        h = torch.where(inside > 0, new, h)
    expected = torch.stack(outputs, dim=1)
    (expected * torch.tensor(grad)).sum().backward()
    check_same(run.y, expected.detach().numpy(), "outputs")
    check_same(run.final[0], h.detach().numpy(), "final state")
    assert found.bias is not None
    for mine, tensor, what in zip(
        (found.x_product, found.weight, found.bias, found.initial[0]),
        tensors,
        ("products", "weights", "bias", "initial state"),
        strict=True,
    ):
        check_same(mine, tensor.grad.numpy(), f"gradient by the {what}")
