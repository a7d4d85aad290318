"""Losses lowered: shares are spread over positions, and the positions' losses added up for each sample."""

from __future__ import annotations

from math import prod

from nnlib.kernels.batched import Batched
from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.pointwise.spread_shares import SpreadShares
from nnlib.kernels.reducing.axis_reduction import AxisReduce
from nnlib.kernels.rows.dice import DiceGradient, DiceSums
from nnlib.kernels.rows.row_loss import LOSSES, LossFunction, RowLoss
from nnlib.kernels.rows.row_softmax import RowSoftmax, RowSoftmaxGradient
from nnlib.kernels.rows.softmax import SoftmaxCrossEntropy
from nnlib.losses import L1, BinaryCrossEntropy, CrossEntropy, Dice, GaussianKL, MeanSquaredError, SmoothL1
from nnlib.lowering.site import LossSite, lower_loss_of

SHORT_ROW = 256
"""Longer samples are cut into rows of up to so many numbers, so that all CPEs have some."""
LEAST_ROW = 16
"""Shorter rows are not worth it."""


@lower_loss_of.register
def _(loss: CrossEntropy, site: LossSite) -> None:
    assert site.target is not None
    *rest, classes = site.shapes[0]
    positions = prod(rest)
    grad = site.gradient()
    site.launch(
        SoftmaxCrossEntropy(
            rows=site.batch * positions,
            classes=classes,
            dtype=site.dtype,
            class_weights=loss.class_weights,
            smoothing=loss.label_smoothing,
        ),
        logits=site.outputs[0],
        labels=site.target,
        weights=_weights(site, positions=positions, parts=positions, counted=True),
        grad_logits=grad,
        loss=_losses(site, positions),
    )
    _add_losses(site, positions)
    site.contribute(grad)


@lower_loss_of.register
def _(loss: MeanSquaredError, site: LossSite) -> None:
    _numbers(site, "mean_squared_error", counted=False)


@lower_loss_of.register
def _(loss: L1, site: LossSite) -> None:
    _numbers(site, "mean_absolute_error", counted=False)


@lower_loss_of.register
def _(loss: SmoothL1, site: LossSite) -> None:
    _numbers(site, "smooth_l1", counted=False, constants=(loss.beta,))


@lower_loss_of.register
def _(loss: BinaryCrossEntropy, site: LossSite) -> None:
    if loss.logits:
        _numbers(site, "binary_cross_entropy_with_logits", counted=True, constants=(loss.positive_weight,))
    else:
        _numbers(site, "binary_cross_entropy", counted=True)


@lower_loss_of.register
def _(loss: GaussianKL, site: LossSite) -> None:
    elements = prod(site.shapes[0])
    grads = [site.gradient(number) for number in range(2)]
    site.launch(
        RowLoss("gaussian_kl", site.batch, elements, site.dtype),
        mean=site.outputs[0],
        log_variance=site.outputs[1],
        weights=site.shares,
        grad_mean=grads[0],
        grad_log_variance=grads[1],
        loss=site.losses,
    )
    for number, grad in enumerate(grads):
        site.contribute(grad, number)


@lower_loss_of.register
def _(loss: Dice, site: LossSite) -> None:
    assert site.target is not None
    shape = site.shapes[0]
    classes = 1 if loss.binary else shape[-1]
    positions = prod(shape) // classes
    whole = (site.batch, positions, classes)
    probabilities, rows = site.outputs[0], site.batch * positions
    if loss.logits:
        probabilities = site.buffer("probabilities", whole)
        kernel = Elementwise("sigmoid", rows, site.dtype) if loss.binary else RowSoftmax(rows, classes, site.dtype)
        site.launch(kernel, x=site.outputs[0], y=probabilities)
    sums = DiceSums(positions, classes, site.dtype, binary=loss.binary, squared=loss.squared)
    both, sizes = (site.buffer(suffix, (site.batch, classes)) for suffix in ("both", "sizes"))
    site.launch(
        Batched(kernel=sums, total=site.batch),
        probabilities=probabilities,
        labels=site.target,
        both=both,
        sizes=sizes,
    )
    gradient = DiceGradient(
        positions, classes, site.dtype, smooth=loss.smooth, binary=loss.binary, squared=loss.squared
    )
    grad = site.gradient()
    by_probabilities = site.buffer("grad_probabilities", whole) if loss.logits else grad
    site.launch(
        Batched(kernel=gradient, total=site.batch),
        probabilities=probabilities,
        labels=site.target,
        both=both,
        sizes=sizes,
        share=site.shares,
        grad_probabilities=by_probabilities,
        loss=site.losses,
    )
    if loss.binary and loss.logits:
        kernel = Elementwise("sigmoid_gradient", rows, site.dtype)
        site.launch(kernel, y=probabilities, grad_y=by_probabilities, grad_x=grad)
    elif loss.logits:
        back = RowSoftmaxGradient(rows, classes, site.dtype)
        site.launch(back, y=probabilities, grad_y=by_probabilities, grad_x=grad)
    site.contribute(grad)


def _numbers(site: LossSite, function: LossFunction, *, counted: bool, constants: tuple[float, ...] = ()) -> None:
    """A loss of numbers of the only output against as many of the target."""
    assert site.target is not None
    elements = prod(site.shapes[0])
    columns = row_length(elements)
    parts = elements // columns
    definition, grad = LOSSES[function], site.gradient()
    first, second = definition.inputs
    arguments = {first: site.outputs[0], second: site.target, definition.gradients[0]: grad}
    site.launch(
        RowLoss(function, site.batch * parts, columns, site.dtype, constants),
        **arguments,
        weights=_weights(site, positions=elements, parts=parts, counted=counted),
        loss=_losses(site, parts),
    )
    _add_losses(site, parts)
    site.contribute(grad)


def row_length(elements: int) -> int:
    """Into rows of how many numbers a sample is cut: the most up to ``SHORT_ROW``, or all if those are too short."""
    length = next(each for each in range(min(SHORT_ROW, elements), 0, -1) if elements % each == 0)
    return elements if length < LEAST_ROW else length


def _weights(site: LossSite, *, positions: int, parts: int, counted: bool) -> str:
    """The buffer (batch, parts) of what a position of each part counts.

    ``counted``: only positions with a target that is not negative.
    """
    if positions == 1:
        return site.shares
    weights = site.buffer("weights", (site.batch, parts))
    if not counted:
        site.launch(SpreadShares(site.batch, parts, site.dtype, positions), shares=site.shares, weights=weights)
        return weights
    assert site.target is not None
    valid = site.buffer("valid", (site.batch, positions))
    counts = site.buffer("counts", (site.batch, 1))
    site.launch(Elementwise("not_negative", site.batch * positions, site.dtype), x=site.target, y=valid)
    site.launch(AxisReduce("sum", site.batch, positions, 1, site.dtype), x=valid, y=counts)
    spread = SpreadShares(site.batch, parts, site.dtype, counted=True)
    site.launch(spread, shares=site.shares, counts=counts, weights=weights)
    return weights


def _losses(site: LossSite, parts: int) -> str:
    """The buffer of the loss of each part of a sample."""
    return site.losses if parts == 1 else site.buffer("parts", (site.batch, parts))


def _add_losses(site: LossSite, parts: int) -> None:
    """Add up the losses of a sample's parts."""
    if parts > 1:
        kernel = AxisReduce("sum", site.batch, parts, 1, site.dtype)
        site.launch(kernel, x=f"{site.name}:parts", y=site.losses)
