"""Losses of numbers against as many of the target."""

from __future__ import annotations

from math import prod

from nnlib.kernels.rows.row_loss import LOSSES, LossFunction, RowLoss
from nnlib.lowering.losses.positions import add_losses, losses_of, weights_of
from nnlib.lowering.site import LossSite

SHORT_ROW = 256
"""Longer samples are cut into rows of up to so many numbers, so that all CPEs have some."""
LEAST_ROW = 16
"""Shorter rows are not worth it."""


def lower_numbers(site: LossSite, function: LossFunction, *, counted: bool, constants: tuple[float, ...] = ()) -> None:
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
        weights=weights_of(site, positions=elements, parts=parts, counted=counted),
        loss=losses_of(site, parts),
    )
    add_losses(site, parts)
    site.contribute(grad)


def row_length(elements: int) -> int:
    """Into rows of how many numbers a sample is cut: the most up to ``SHORT_ROW``, or all if those are too short."""
    length = next(each for each in range(min(SHORT_ROW, elements), 0, -1) if elements % each == 0)
    return elements if length < LEAST_ROW else length
