"""Whose numerics compute whole layers: this library's own, or PyTorch's."""

from __future__ import annotations

from nnlib.backend import Backend
from nnlib.device import Device, HostDevice
from nnlib.model import Model


def layer_device(model: Model, *, backend: Backend, together: int | None = None, recompute: bool = False) -> Device:
    """A device that computes layer by layer. ``together`` and ``recompute``: see :class:`nnlib.device.HostDevice`.

    PyTorch keeps what its own gradients need: ``recompute`` changes nothing there. Raises ModuleNotFoundError saying
    what to install when PyTorch is missing.
    """
    if backend == "numpy":
        return HostDevice(model, together, recompute)
    try:
        from nnlib.torch_backend.device import TorchDevice
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "torch":
            raise
        text = "the backend torch needs PyTorch: install it with `pip install 'taihusim[torch]'`"
        raise ModuleNotFoundError(text, name=error.name) from error
    return TorchDevice(model, together)
