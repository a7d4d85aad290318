"""Connectionist temporal classification lowered."""

from __future__ import annotations

from nnlib.kernels.rows.row_softmax import RowSoftmax
from nnlib.kernels.sequences.ctc import CtcLoss as CtcKernel
from nnlib.losses.ctc import CtcLoss
from nnlib.lowering.site import LossSite, lower_loss_of


@lower_loss_of.register
def _(loss: CtcLoss, site: LossSite) -> None:
    assert site.target is not None
    batch, (steps, classes) = site.batch, site.shapes[0]
    log_probs = site.buffer("log_probs", (batch, steps, classes))
    softmax = RowSoftmax(batch * steps, classes, site.dtype, log=True)
    site.launch(softmax, x=site.outputs[0], y=log_probs)
    kernel = CtcKernel(
        batch=batch,
        steps=steps,
        classes=classes,
        labels=steps if loss.labels is None else loss.labels,
        dtype=site.dtype,
        blank=loss.blank,
        masked=len(site.outputs) == 2,
        normalised=loss.normalised,
        zero_infinity=loss.zero_infinity,
    )
    grad = site.gradient()
    arguments = {
        "log_probs": log_probs,
        "targets": site.target,
        "weights": site.shares,
        "grad_logits": grad,
        "loss": site.losses,
    }
    if kernel.masked:
        arguments["lengths"] = site.outputs[1]
    for each in kernel.parameters():
        if each.name not in arguments:
            arguments[each.name] = site.buffer(each.name, each.shape)
    site.launch(kernel, **arguments)
    site.contribute(grad)
