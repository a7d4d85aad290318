"""The choice of whose functions compute layers."""

from __future__ import annotations

import sys

import pytest

from nnlib.backends import layer_device
from nnlib.device import HostDevice
from nnlib.graph import Graph
from nnlib.layers.linear import Linear
from nnlib.model import Model

MODEL = Model(Graph.chain((3,), [Linear("l", 2)]))


def test_the_own_numerics_need_nothing_else() -> None:
    device = layer_device(MODEL, backend="numpy", together=4, recompute=True)
    assert device == HostDevice(MODEL, 4, recompute=True)


def test_missing_pytorch_is_an_error_that_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [each for each in sys.modules if each.startswith(("torch", "nnlib.torch_backend"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'taihusim\[torch\]'") as caught:
        layer_device(MODEL, backend="torch")
    assert caught.value.name == "torch"
