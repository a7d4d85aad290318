"""The Dice loss lowered."""

from __future__ import annotations

from math import prod

from nnlib.kernels.batched import Batched
from nnlib.kernels.pointwise.elementwise import Elementwise
from nnlib.kernels.rows.dice import DiceGradient, DiceSums
from nnlib.kernels.rows.row_softmax import RowSoftmax, RowSoftmaxGradient
from nnlib.losses.dice import Dice
from nnlib.lowering.site import LossSite, lower_loss_of


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
