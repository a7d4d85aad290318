"""The divergence of a normal distribution lowered."""

from __future__ import annotations

from math import prod

from nnlib.kernels.rows.row_loss import RowLoss
from nnlib.losses.gaussian_kl import GaussianKL
from nnlib.lowering.site import LossSite, lower_loss_of


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
