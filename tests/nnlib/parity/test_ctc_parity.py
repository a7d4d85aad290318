"""Connectionist temporal classification and row convolution against PyTorch."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.ops.ctc import ctc_loss
from nnlib.ops.row_convolution import row_convolution_backward, row_convolution_forward
from tests.nnlib.parity import check_same

torch = pytest.importorskip("torch")
pytestmark = [pytest.mark.parity, pytest.mark.numeric]


@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 5),
    steps=st.integers(1, 40),
    classes=st.integers(2, 8),
    longest=st.integers(0, 9),
    reduction=st.sampled_from(["none", "mean", "sum"]),
    last_is_blank=st.booleans(),
    dtype=st.sampled_from(["float64", "float32"]),
    seed=st.integers(0, 1000),
)
def test_ctc_loss(
    batch: int,
    steps: int,
    classes: int,
    longest: int,
    reduction: Literal["none", "mean", "sum"],
    last_is_blank: bool,
    dtype: str,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    blank = classes - 1 if last_is_blank else 0
    logits = 2 * rng.standard_normal((batch, steps, classes)).astype(dtype)
    lengths = rng.integers(1, steps + 1, batch)
    counts = rng.integers(0, longest + 1, batch)
    labels = rng.integers(0, classes - 1, (batch, longest))  # few classes: labels repeat, and some targets do not fit
    labels += labels >= blank
    targets = np.where(np.arange(longest) < counts[:, None], labels, -1)
    x = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.ctc_loss(
        torch.log_softmax(x, 2).transpose(0, 1),
        torch.tensor(np.where(targets < 0, classes, targets)),
        torch.tensor(lengths),
        torch.tensor(counts),
        blank=blank,
        reduction=reduction,
        zero_infinity=True,
    )
    expected.sum().backward()
    loss, grad = ctc_loss(logits, targets, lengths, blank=blank, zero_infinity=True, reduction=reduction)
    # a loss of almost nothing is the difference of numbers as large as the logits, and so is its gradient
    check_same(loss, expected.detach().numpy(), "loss", least=1e-2)
    check_same(grad, x.grad.numpy(), "gradient", least=1e-2 / batch)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_long_utterance(dtype: str) -> None:
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((3, 700, 29)).astype(dtype)
    targets = rng.integers(1, 29, (3, 150))
    lengths = np.array([700, 650, 400])
    x = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.ctc_loss(
        torch.log_softmax(x.double(), 2).transpose(0, 1),
        torch.tensor(targets),
        torch.tensor(lengths),
        torch.tensor([150] * 3),
    )
    expected.backward()
    loss, grad = ctc_loss(logits, targets, lengths)
    check_same(loss, expected.detach().numpy().astype(dtype), "loss")
    check_same(grad, x.grad.numpy(), "gradient")


def test_a_target_that_does_not_fit() -> None:
    logits = np.random.default_rng(0).standard_normal((2, 3, 4))
    targets = np.array([[1, 1], [1, 1]])
    lengths = np.array([2, 3])
    x = torch.tensor(logits, requires_grad=True)
    expected = torch.nn.functional.ctc_loss(
        torch.log_softmax(x, 2).transpose(0, 1),
        torch.tensor(targets),
        torch.tensor(lengths),
        torch.tensor([2, 2]),
        reduction="none",
    )
    expected.sum().backward()
    loss, grad = ctc_loss(logits, targets, lengths, reduction="none")
    assert np.isinf(expected.detach().numpy()[0])
    assert np.isinf(loss[0])
    check_same(loss[1:], expected.detach().numpy()[1:], "loss")
    assert np.array_equal(np.isnan(grad[0, :2]), np.isnan(x.grad.numpy()[0, :2]))
    check_same(grad[1], x.grad.numpy()[1], "gradient of the other")


@settings(max_examples=25, deadline=None)
@given(
    batch=st.integers(1, 4),
    steps=st.integers(1, 9),
    channels=st.integers(1, 6),
    taps=st.integers(1, 5),
    packed=st.booleans(),
    dtype=st.sampled_from(["float64", "float32"]),
    seed=st.integers(0, 1000),
)
def test_row_convolution(batch: int, steps: int, channels: int, taps: int, packed: bool, dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, grad = (rng.standard_normal((batch, steps, channels)).astype(dtype) for _ in range(2))
    weight = rng.standard_normal((taps, channels)).astype(dtype)
    lengths = rng.integers(0, steps + 1, batch) if packed else None
    inside = np.ones((batch, 1, steps)) if lengths is None else (np.arange(steps) < lengths[:, None])[:, None]
    mask = torch.tensor(inside.astype(dtype))
    tensors = [torch.tensor(each, requires_grad=True) for each in (x, weight)]
    seen = torch.nn.functional.pad(tensors[0].transpose(1, 2) * mask, (0, taps - 1))
    y = torch.nn.functional.conv1d(seen, tensors[1].T[:, None], groups=channels) * mask
    y = y.transpose(1, 2)
    (y * torch.tensor(grad)).sum().backward()
    check_same(row_convolution_forward(x, weight, lengths=lengths), y.detach().numpy(), "outputs")
    by_x, by_weight = row_convolution_backward(x, weight, grad, lengths=lengths)
    check_same(by_x, tensors[0].grad.numpy(), "gradient by x")
    check_same(by_weight, tensors[1].grad.numpy(), "gradient by the weights")
