"""No layer and no loss without kernels, forward and backward; each is a public name."""

from __future__ import annotations

import pytest

from nnlib import layers, losses
from nnlib.layers import Layer, StridedLengths
from nnlib.losses import Loss
from nnlib.lowering.rules import load_rules
from nnlib.lowering.site import lower_backward_of, lower_forward_of, lower_loss_of
from tests.nnlib.kinds import every_layer, every_loss

WITHOUT_GRADIENT = {StridedLengths}
"""Layers of integers."""


@pytest.mark.parametrize("kind", every_layer(), ids=lambda kind: kind.__name__)
def test_layers(kind: type[Layer]) -> None:
    assert kind.__name__ in layers.__all__
    load_rules(kind)
    assert lower_forward_of.dispatch(kind) is not lower_forward_of.dispatch(object)
    has_gradient = lower_backward_of.dispatch(kind) is not lower_backward_of.dispatch(object)
    assert has_gradient == (kind not in WITHOUT_GRADIENT)


@pytest.mark.parametrize("kind", every_loss(), ids=lambda kind: kind.__name__)
def test_losses(kind: type[Loss]) -> None:
    assert kind.__name__ in losses.__all__
    load_rules(kind)
    assert lower_loss_of.dispatch(kind) is not lower_loss_of.dispatch(object)


def test_each_is_in_the_file_that_is_loaded_for_it() -> None:
    assert set(layers.PLACES) == set(layers.__all__)
    for name in layers.__all__:
        place = getattr(getattr(layers, name), "__module__", "nnlib.layers.layer")
        assert place == f"nnlib.layers.{layers.PLACES[name]}"
    with pytest.raises(AttributeError, match="Conv9d"):
        _ = layers.Conv9d


def test_all_are_found() -> None:
    public = {getattr(layers, name) for name in layers.__all__}
    assert {kind for kind in public if isinstance(kind, type) and issubclass(kind, Layer)} == {Layer, *every_layer()}
    assert {getattr(losses, name) for name in losses.__all__} == {Loss, *every_loss()}
