"""Binary cross-entropy lowered."""

from __future__ import annotations

from nnlib.losses.binary_cross_entropy import BinaryCrossEntropy
from nnlib.lowering.losses.numbers import lower_numbers
from nnlib.lowering.site import LossSite, lower_loss_of


@lower_loss_of.register
def _(loss: BinaryCrossEntropy, site: LossSite) -> None:
    if loss.logits:
        lower_numbers(site, "binary_cross_entropy_with_logits", counted=True, constants=(loss.positive_weight,))
    else:
        lower_numbers(site, "binary_cross_entropy", counted=True)
