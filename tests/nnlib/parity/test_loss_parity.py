"""Losses and their gradients against PyTorch's, parts of batches, positions left out and odd shapes included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from nnlib.losses.loss import Loss
from nnlib.losses.regression import L1, MeanSquaredError, SmoothL1
from nnlib.ops.binary_cross_entropy import binary_cross_entropy, binary_cross_entropy_with_logits
from nnlib.ops.dice import binary_dice, binary_dice_with_logits, dice, dice_with_logits
from nnlib.ops.gaussian_kl import gaussian_kl
from nnlib.ops.loss import softmax_cross_entropy
from nnlib.ops.regression_loss import mean_absolute_error, mean_squared_error, smooth_l1
from tests.nnlib.parity import TOLERANCE, Array, check_same

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric, pytest.mark.slow]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)
shapes = st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple)
seeds = st.integers(0, 1 << 30)


def normal(seed: int, shape: tuple[int, ...], dtype: str) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def check(found: tuple[float, Array], expected: Any, theirs: Any, dtype: str, *, minuend: Any = None) -> None:
    """Loss and gradient; ``expected`` is PyTorch's loss, not yet differentiated.

    ``minuend``: what the loss is a small remainder of, where it is one; errors are judged against its size.
    """
    least = [0.0, 0.0]
    if minuend is not None:
        minuend.backward(retain_graph=True)
        least = [abs(float(minuend.detach())), float(np.max(np.abs(theirs.grad.numpy())))]
        theirs.grad = None
    expected.backward()
    value = float(expected.detach())
    check_same(np.array([found[0]]).astype(dtype), np.array([value]).astype(dtype), "loss", least=least[0])
    gradient = theirs.grad.numpy()
    # where everything cancels, against the size of one share
    check_same(found[1], gradient, "gradient", least=max(least[1], 0.01 / gradient.size))


@dtypes
@examples
@given(
    shape=shapes,
    classes=st.integers(2, 9),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    weighted=st.booleans(),
    seed=seeds,
)
def test_cross_entropy(
    dtype: str, shape: tuple[int, ...], classes: int, smoothing: float, weighted: bool, seed: int
) -> None:
    """All positions valid: PyTorch's sum over their number."""
    rng = np.random.default_rng(seed)
    logits, labels = 3 * normal(seed, (*shape, classes), dtype), rng.integers(0, classes, shape)
    weights = rng.uniform(0.1, 3, classes).astype(dtype) if weighted else None
    theirs = torch.tensor(logits, requires_grad=True)
    expected = F.cross_entropy(
        theirs.reshape(-1, classes),
        torch.tensor(labels).reshape(-1),
        weight=None if weights is None else torch.tensor(weights),
        label_smoothing=smoothing,
        reduction="sum",
    )
    found = softmax_cross_entropy(logits, labels, class_weights=weights, smoothing=smoothing)
    check(found, expected / labels.size, theirs, dtype)
    # images lie in memory with the batch innermost
    turned = softmax_cross_entropy(np.asfortranarray(logits), labels, class_weights=weights, smoothing=smoothing)
    check_same(turned[1], found[1], "gradient in another order")


@dtypes
@examples
@given(batch=st.integers(1, 5), positions=st.integers(1, 7), classes=st.integers(2, 5), seed=seeds)
def test_cross_entropy_of_some_positions(dtype: str, batch: int, positions: int, classes: int, seed: int) -> None:
    """Each sample is PyTorch's mean over its own valid positions; their shares are those of a part of a batch."""
    rng = np.random.default_rng(seed)
    logits, labels = normal(seed, (batch, positions, classes), dtype), rng.integers(-1, classes, (batch, positions))
    labels[0, 0] = 0
    shares = rng.uniform(0.1, 1, batch)
    theirs = torch.tensor(logits, requires_grad=True)
    expected = sum(
        F.cross_entropy(theirs[b], torch.tensor(labels[b]), ignore_index=-1) * shares[b]
        for b in range(batch)
        if (labels[b] >= 0).any()
    )
    found = softmax_cross_entropy(logits, labels, shares, total=1.0)
    check(found, expected, theirs, dtype)
    assert not found[1][labels < 0].any()


REGRESSIONS: dict[str, tuple[Callable[..., tuple[float, Array]], type[Loss], Callable[..., Any]]] = {
    "mse": (mean_squared_error, MeanSquaredError, F.mse_loss),
    "l1": (mean_absolute_error, L1, F.l1_loss),
    "smooth l1": (smooth_l1, SmoothL1, F.smooth_l1_loss),
}


@dtypes
@pytest.mark.parametrize("name", REGRESSIONS)
@examples
@given(shape=shapes, beta=st.floats(0.1, 3), seed=seeds)
def test_regression(dtype: str, name: str, shape: tuple[int, ...], beta: float, seed: int) -> None:
    """The operation by equal shares, the loss by any."""
    ours, kind, of_torch = REGRESSIONS[name]
    prediction, target = normal(seed, shape, dtype), normal(seed + 1, shape, dtype)
    options = {"beta": beta} if name == "smooth l1" else {}
    theirs = torch.tensor(prediction, requires_grad=True)
    check(ours(prediction, target, **options), of_torch(theirs, torch.tensor(target), **options), theirs, dtype)
    shares = np.random.default_rng(seed).uniform(0.1, 1, shape[0])
    theirs = torch.tensor(prediction, requires_grad=True)
    each = of_torch(theirs, torch.tensor(target), reduction="none", **options).reshape(shape[0], -1).mean(1)
    loss = kind(outputs=("y",), target="t", **options)
    value, (grad,) = loss.forward((prediction,), target, shares)
    assert grad is not None
    check((value, grad), (each * torch.tensor(shares)).sum(), theirs, dtype)


@dtypes
@examples
@given(shape=shapes, size=st.sampled_from([1.0, 10.0, 500.0]), weight=st.sampled_from([1.0, 0.3, 4.0]), seed=seeds)
def test_binary_cross_entropy(dtype: str, shape: tuple[int, ...], size: float, weight: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.uniform(0, 1, shape).astype(dtype)
    logits = normal(seed, shape, dtype) * np.array(size, dtype)
    theirs = torch.tensor(logits, requires_grad=True)
    expected = F.binary_cross_entropy_with_logits(theirs, torch.tensor(target), pos_weight=theirs.new_tensor(weight))
    check(binary_cross_entropy_with_logits(logits, target, positive_weight=weight), expected, theirs, dtype)
    probabilities = rng.uniform(0.001, 0.999, shape).astype(dtype)
    theirs = torch.tensor(probabilities, requires_grad=True)
    expected = F.binary_cross_entropy(theirs, torch.tensor(target))
    check(binary_cross_entropy(probabilities, target), expected, theirs, dtype)


@dtypes
@examples
@given(shape=shapes, seed=seeds)
def test_binary_cross_entropy_of_some_positions(dtype: str, shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.uniform(-0.5, 1, shape).astype(dtype)
    target.flat[0] = 0.5
    logits, shares = normal(seed, shape, dtype), rng.uniform(0.1, 1, shape[0])
    theirs = torch.tensor(logits, requires_grad=True)
    flat, truth = theirs.reshape(shape[0], -1), torch.tensor(target.reshape(shape[0], -1))
    terms = [
        F.binary_cross_entropy_with_logits(flat[b][truth[b] >= 0], truth[b][truth[b] >= 0]) * share
        for b, share in enumerate(shares)
        if (truth[b] >= 0).any()
    ]
    check(binary_cross_entropy_with_logits(logits, target, shares), sum(terms), theirs, dtype)


def overlap(p: Any, t: Any, valid: Any, smooth: float, squared: bool) -> tuple[Any, Any]:
    """A sample's overlap, and with its divisor held fixed; p and t (positions, classes). PyTorch differentiates."""
    p, t = p[valid], t[valid]
    sizes = (p * p + t * t if squared else p + t).sum(0) + smooth
    both = 2 * (p * t).sum(0) + smooth
    return (both / sizes).mean(), (both / sizes.detach()).mean()


@dtypes
@pytest.mark.parametrize("with_logits", [False, True])
@examples
@given(
    shape=shapes,
    classes=st.integers(1, 5),
    smooth=st.sampled_from([1.0, 1e-2]),
    squared=st.booleans(),
    seed=seeds,
)
def test_dice(
    dtype: str, with_logits: bool, shape: tuple[int, ...], classes: int, smooth: float, squared: bool, seed: int
) -> None:
    """One class is the binary loss."""
    rng = np.random.default_rng(seed)
    binary = classes == 1
    given_ = normal(seed, shape if binary else (*shape, classes), dtype)
    if not with_logits:
        given_ = rng.uniform(0.01, 0.99, given_.shape).astype(dtype)
    labels: NDArray[Any] = rng.uniform(-0.3, 1, shape).astype(dtype) if binary else rng.integers(-1, classes, shape)
    shares = rng.uniform(0.1, 1, shape[0])
    theirs = torch.tensor(given_, requires_grad=True)
    p = theirs.reshape(shape[0], -1, classes)
    if with_logits:
        p = torch.sigmoid(p) if binary else torch.softmax(p, dim=-1)
    flat = labels.reshape(shape[0], -1)
    t = torch.tensor(flat[..., None] if binary else (flat[..., None] == np.arange(classes)).astype(dtype))
    valid = torch.tensor(flat >= 0)
    each = [overlap(p[b], t[b], valid[b], smooth, squared) for b in range(shape[0])]
    expected = sum((1 - whole) * share for (whole, _), share in zip(each, shares, strict=True))
    # a loss of almost nothing is 1 less almost 1, and its gradient a difference of two slopes
    minuend = sum(part * share for (_, part), share in zip(each, shares, strict=True))
    if binary:
        found = (binary_dice_with_logits if with_logits else binary_dice)(
            given_, labels, shares, smooth=smooth, squared=squared
        )
    else:
        found = (dice_with_logits if with_logits else dice)(given_, labels, shares, smooth=smooth, squared=squared)
    check(found, expected, theirs, dtype, minuend=minuend)


@dtypes
@examples
@given(shape=shapes, seed=seeds)
def test_gaussian_kl(dtype: str, shape: tuple[int, ...], seed: int) -> None:
    mean, log_variance = normal(seed, shape, dtype), normal(seed + 1, shape, dtype)
    shares = np.random.default_rng(seed).uniform(0.1, 1, shape[0])
    theirs = [torch.tensor(each, requires_grad=True) for each in (mean, log_variance)]
    distribution = torch.distributions.Normal(theirs[0], torch.exp(theirs[1] / 2))
    standard = torch.distributions.Normal(torch.zeros(shape, dtype=theirs[0].dtype), 1.0)
    each = torch.distributions.kl_divergence(distribution, standard).reshape(shape[0], -1).sum(1)
    loss, (by_mean, by_log_variance) = gaussian_kl(mean, log_variance, shares)
    check((loss, by_mean), (each * torch.tensor(shares)).sum(), theirs[0], dtype)
    scale = max(1.0, float(np.max(np.abs(theirs[1].grad.numpy()))))
    assert np.max(np.abs(by_log_variance - theirs[1].grad.numpy())) <= TOLERANCE[dtype] * scale
