"""Recurrent layers, lookahead, last steps and the CTC loss, as networks use them, against PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnlib.layers.layer import Layer, Run
from nnlib.layers.recurrent import EPSILON, GRU, LSTM, MOMENTUM, SimpleRecurrent
from nnlib.layers.sequence import LastStep, RowConvolution
from nnlib.losses.ctc import CtcLoss
from tests.nnlib.parity import Array, check_same

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric]
dtypes = pytest.mark.parametrize("dtype", ["float64", "float32"])
examples = settings(max_examples=25, deadline=None)
KINDS: dict[str, tuple[type[LSTM] | type[GRU] | type[SimpleRecurrent], Any]] = {
    "lstm": (LSTM, torch.nn.LSTM),
    "gru": (GRU, torch.nn.GRU),
    "simple": (SimpleRecurrent, torch.nn.RNN),
}


def fresh(layer: Layer, shapes: tuple[tuple[int, ...], ...], dtype: str, rng: np.random.Generator) -> dict[str, Array]:
    """Random parameters and statistics."""
    params = layer.initialise(shapes, rng, np.dtype(dtype))
    return {
        name: (array + 0.3 * np.abs(rng.standard_normal(array.shape))).astype(dtype) for name, array in params.items()
    }


@dtypes
@pytest.mark.parametrize("kind", list(KINDS))
@examples
@given(
    sizes=st.tuples(st.integers(1, 4), st.integers(1, 8), st.integers(1, 6), st.integers(1, 7)),
    bidirectional=st.booleans(),
    merge=st.sampled_from(["concatenate", "sum"]),
    bias=st.booleans(),
    packed=st.booleans(),
    seed=st.integers(0, 999),
)
def test_recurrent_layers(
    kind: str,
    dtype: str,
    sizes: tuple[int, int, int, int],
    bidirectional: bool,
    merge: Any,
    bias: bool,
    packed: bool,
    seed: int,
) -> None:
    batch, steps, channels, units = sizes
    rng = np.random.default_rng(seed)
    of_layer, of_torch = KINDS[kind]
    layer = of_layer("a", units, bidirectional, merge, bias)
    shapes: tuple[tuple[int, ...], ...] = ((steps, channels), ()) if packed else ((steps, channels),)
    params = fresh(layer, shapes, dtype, rng)
    x = rng.standard_normal((batch, steps, channels)).astype(dtype)
    lengths: NDArray[Any] = rng.integers(1, steps + 1, batch)
    inputs: tuple[NDArray[Any], ...] = (x, lengths) if packed else (x,)
    y, saved = layer.forward(params, inputs, Run(training=True))
    assert y.shape[1:] == layer.output_shape(shapes)
    grad = rng.standard_normal(y.shape).astype(dtype)
    by_inputs, grads = layer.backward(params, saved, grad, (True,) + (False,) * (len(inputs) - 1))

    theirs = of_torch(
        channels, units, bias=bias, batch_first=True, bidirectional=bidirectional, dtype=getattr(torch, dtype)
    )
    names = {"weight": "weight_ih_l0", "recurrent": "weight_hh_l0", "bias": "bias_ih_l0"}
    with torch.no_grad():
        for name, value in theirs.named_parameters():
            if name.startswith("bias_hh"):
                value.zero_()
        for suffix in layer.suffixes:
            for mine, other in names.items():
                if f"{mine}{suffix}" in params:
                    getattr(theirs, other + suffix).copy_(torch.tensor(params[f"{mine}{suffix}"].T))
            if f"recurrent_bias{suffix}" in params:
                own = torch.tensor(params[f"recurrent_bias{suffix}"])
                getattr(theirs, f"bias_hh_l0{suffix}")[2 * units :] = own
    tensor = torch.tensor(x, requires_grad=True)
    fed = tensor
    if packed:
        fed = torch.nn.utils.rnn.pack_padded_sequence(
            tensor, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
    expected, _ = theirs(fed)
    if packed:
        expected, _ = torch.nn.utils.rnn.pad_packed_sequence(expected, batch_first=True, total_length=steps)
    if bidirectional and merge == "sum":
        expected = expected[..., :units] + expected[..., units:]
    expected.backward(torch.tensor(grad))
    check_same(y, expected.detach().numpy(), "y")
    assert by_inputs[0] is not None
    # sums over steps, which of one unit may nearly cancel: against the size of a term
    term = 0.01 * float(np.max(np.abs(grad)))
    check_same(by_inputs[0], tensor.grad.numpy(), "grad x", least=term)
    for suffix in layer.suffixes:
        for mine, other in names.items():
            if f"{mine}{suffix}" in params:
                check_same(grads[f"{mine}{suffix}"], getattr(theirs, other + suffix).grad.numpy().T, mine, least=term)
        if f"recurrent_bias{suffix}" in params:
            wanted = getattr(theirs, f"bias_hh_l0{suffix}").grad.numpy()[2 * units :]
            check_same(grads[f"recurrent_bias{suffix}"], wanted, "recurrent bias", least=term)
    assert grads.keys() == params.keys()


@dtypes
@examples
@given(
    sizes=st.tuples(st.integers(2, 4), st.integers(1, 6), st.integers(1, 5), st.integers(1, 5)),
    training=st.booleans(),
    seed=st.integers(0, 999),
)
def test_a_normalised_layer(dtype: str, sizes: tuple[int, int, int, int], training: bool, seed: int) -> None:
    """Deep Speech 2's: batch normalisation of the input's product over all steps, directions summed."""
    batch, steps, channels, units = sizes
    rng = np.random.default_rng(seed)
    layer = SimpleRecurrent("a", units, True, "sum", normalised=True, activation="clipped_relu", ceiling=1.5)
    params = fresh(layer, ((steps, channels), ()), dtype, rng)
    x = rng.standard_normal((batch, steps, channels)).astype(dtype)
    lengths: NDArray[Any] = rng.integers(1, steps + 1, batch)
    y, saved = layer.forward(params, (x, lengths), Run(training=training))
    grad = rng.standard_normal(y.shape).astype(dtype)
    (by_x, none), grads = layer.backward(params, saved, grad, (True, False))
    assert none is None

    tensor = torch.tensor(x, requires_grad=True)
    theirs = {name: torch.tensor(array, requires_grad=name[0] not in "mv") for name, array in params.items()}
    outputs = []
    for suffix in ("", "_reverse"):
        product = F.batch_norm(
            (tensor @ theirs[f"weight{suffix}"]).reshape(batch * steps, units),
            theirs[f"mean{suffix}"],
            theirs[f"variance{suffix}"],
            theirs[f"scale{suffix}"],
            theirs[f"shift{suffix}"],
            training=training,
            momentum=MOMENTUM,
            eps=EPSILON,
        ).reshape(batch, steps, units)
        state = torch.zeros(batch, units, dtype=tensor.dtype)
        of_steps: list[Any] = [None] * steps
        for t in reversed(range(steps)) if suffix else range(steps):
            inside = torch.tensor(t < lengths)[:, None]
            new = (product[:, t] + state @ theirs[f"recurrent{suffix}"]).clamp(0, 1.5)
            of_steps[t] = torch.where(inside, new, 0)
            state = torch.where(inside, new, state)
        outputs.append(torch.stack(of_steps, dim=1))
    expected = outputs[0] + outputs[1]
    expected.backward(torch.tensor(grad))
    check_same(y, expected.detach().numpy(), "y")
    largest = max(float(np.max(np.abs(each))) for each in grads.values())
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    assert by_x is not None
    # what normalisation takes out again has a gradient of rounding errors only
    assert np.max(np.abs(by_x - tensor.grad.numpy())) <= tolerance * max(np.max(np.abs(tensor.grad.numpy())), largest)
    for name, found in grads.items():
        wanted = theirs[name].grad.numpy()
        assert np.max(np.abs(found - wanted)) <= tolerance * max(np.max(np.abs(wanted)), 0.1 * largest), name
    if training:
        for name, found in layer.statistics(params, saved).items():
            check_same(found, theirs[name].numpy(), name)


@examples
@given(sizes=st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5)), seed=st.integers(0, 999))
def test_last_step_and_lookahead(sizes: tuple[int, int, int], seed: int) -> None:
    batch, steps, channels = sizes
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(sizes)
    lengths: NDArray[Any] = rng.integers(1, steps + 1, batch)
    tensor = torch.tensor(x, requires_grad=True)
    last = LastStep("l")
    y, saved = last.forward({}, (x, lengths), Run())
    grad = rng.standard_normal(y.shape)
    (by_x, _), _ = last.backward({}, saved, grad, (True, False))
    expected = tensor[torch.arange(batch), torch.tensor(lengths - 1)]
    expected.backward(torch.tensor(grad))
    check_same(y, expected.detach().numpy(), "last step")
    assert by_x is not None
    check_same(by_x, tensor.grad.numpy(), "gradient of the last step")

    layer = RowConvolution("r", 2)
    params = layer.initialise(((steps, channels),), rng, np.dtype(np.float64))
    tensor, weight = torch.tensor(x, requires_grad=True), torch.tensor(params["weight"], requires_grad=True)
    y, saved = layer.forward(params, (x,), Run())
    grad = rng.standard_normal(y.shape)
    (by_x,), grads = layer.backward(params, saved, grad, (True,))
    seen = F.conv1d(F.pad(tensor.transpose(1, 2), (0, 2)), weight.T[:, None], groups=channels).transpose(1, 2)
    seen.backward(torch.tensor(grad))
    check_same(y, seen.detach().numpy(), "lookahead")
    assert by_x is not None
    check_same(by_x, tensor.grad.numpy(), "gradient of the lookahead")
    check_same(grads["weight"], weight.grad.numpy(), "gradient by its weights")


@dtypes
@examples
@given(
    batch=st.integers(1, 5),
    steps=st.integers(1, 20),
    labels=st.integers(1, 6),
    normalised=st.booleans(),
    with_lengths=st.booleans(),
    seed=st.integers(0, 999),
)
def test_the_ctc_loss(
    dtype: str, batch: int, steps: int, labels: int, normalised: bool, with_lengths: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    loss = CtcLoss(
        outputs=("a", "b")[: 1 + with_lengths], blank=2, normalised=normalised, labels=labels, zero_infinity=True
    )
    logits = rng.standard_normal((batch, steps, 5)).astype(dtype)
    counts = rng.integers(0, labels + 1, batch)
    classes = rng.choice([0, 1, 3, 4], (batch, labels))
    target = np.where(np.arange(labels) < counts[:, None], classes, -1)
    lengths = rng.integers(1, steps + 1, batch) if with_lengths else np.full(batch, steps)
    shares = rng.random(batch).astype(dtype)
    outputs: tuple[NDArray[Any], ...] = (logits, lengths) if with_lengths else (logits,)
    value, grads = loss.forward(outputs, target, shares)
    tensor = torch.tensor(logits, requires_grad=True)
    losses = F.ctc_loss(
        torch.log_softmax(tensor, 2).transpose(0, 1),
        torch.tensor(np.maximum(target, 0)),
        torch.tensor(lengths),
        torch.tensor(counts),
        blank=2,
        reduction="none",
        zero_infinity=True,
    )
    weights = shares / np.maximum(counts, 1) if normalised else shares
    expected = (losses * torch.tensor(weights.astype(dtype))).sum()
    expected.backward()
    assert value == pytest.approx(float(expected.detach()), rel=1e-10 if dtype == "float64" else 1e-4, abs=1e-12)
    assert grads[0] is not None
    check_same(grads[0], tensor.grad.numpy(), "gradient by the logits")
    assert grads[1:] == (None,) * with_lengths
