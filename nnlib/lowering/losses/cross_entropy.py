"""Cross-entropy lowered."""

from __future__ import annotations

from math import prod

from nnlib.kernels.rows.softmax import SoftmaxCrossEntropy
from nnlib.losses.cross_entropy import CrossEntropy
from nnlib.lowering.losses.positions import add_losses, losses_of, weights_of
from nnlib.lowering.site import LossSite, lower_loss_of


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
        weights=weights_of(site, positions=positions, parts=positions, counted=True),
        grad_logits=grad,
        loss=losses_of(site, positions),
    )
    add_losses(site, positions)
    site.contribute(grad)
