"""No layer and no loss without kernels, forward and backward; each is found by its name."""

from __future__ import annotations

import pytest

from nnlib.layers.catalogue import LAYERS
from nnlib.layers.layer import Layer
from nnlib.layers.sequence import StridedLengths
from nnlib.losses.catalogue import LOSSES
from nnlib.losses.loss import Loss
from nnlib.lowering.rules import load_rules
from nnlib.lowering.site import lower_backward_of, lower_forward_of, lower_loss_of
from tests.nnlib.kinds import every_layer, every_loss

WITHOUT_GRADIENT = {StridedLengths}
"""Layers of integers."""


@pytest.mark.parametrize("kind", every_layer(), ids=lambda kind: kind.__name__)
def test_layers(kind: type[Layer]) -> None:
    load_rules(kind)
    assert lower_forward_of.dispatch(kind) is not lower_forward_of.dispatch(object)
    has_gradient = lower_backward_of.dispatch(kind) is not lower_backward_of.dispatch(object)
    assert has_gradient == (kind not in WITHOUT_GRADIENT)


@pytest.mark.parametrize("kind", every_loss(), ids=lambda kind: kind.__name__)
def test_losses(kind: type[Loss]) -> None:
    load_rules(kind)
    assert lower_loss_of.dispatch(kind) is not lower_loss_of.dispatch(object)


def test_all_are_found_by_name() -> None:
    assert dict(LAYERS) == {kind.__name__: kind for kind in every_layer()}
    assert dict(LOSSES) == {kind.__name__: kind for kind in every_loss()}
