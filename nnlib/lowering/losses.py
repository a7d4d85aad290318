"""Losses lowered."""

from __future__ import annotations

from nnlib.kernels.softmax import SoftmaxCrossEntropy
from nnlib.losses import CrossEntropy
from nnlib.lowering.site import LossSite, lower_loss_of


@lower_loss_of.register
def _(loss: CrossEntropy, site: LossSite) -> None:
    assert site.target is not None
    ((classes,),) = site.shapes
    grad = site.gradient()
    site.launch(
        SoftmaxCrossEntropy(rows=site.batch, classes=classes, dtype=site.dtype),
        logits=site.outputs[0],
        labels=site.target,
        weights=site.shares,
        grad_logits=grad,
        loss=site.losses,
    )
    site.contribute(grad)
