"""Arrays as tensors and back, without copying where both can see the same memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

Tensor: TypeAlias = Any
"""A ``torch.Tensor``: PyTorch's own types are not looked at where it is not installed."""


def to_tensor(array: NDArray[Any], device: str) -> Tensor:
    """The array's numbers, on the CPU in the array's own memory."""
    if not array.flags.writeable or any(stride < 0 for stride in array.strides):
        array = array.copy()
    return torch.from_numpy(array).to(device)


def to_array(tensor: Tensor) -> NDArray[Any]:
    """The tensor's numbers, from the CPU in the tensor's own memory."""
    found: NDArray[Any] = tensor.detach().cpu().numpy()
    return found


def images(x: Tensor) -> Tensor:
    """(B, H, W, C) seen as PyTorch has images, (B, C, H, W): its ``channels_last``."""
    return x.permute(0, 3, 1, 2)


def channels_last(x: Tensor) -> Tensor:
    """PyTorch's (B, C, H, W) seen as (B, H, W, C)."""
    return x.permute(0, 2, 3, 1)


def default_device() -> str:
    """``cuda`` where there is a GPU, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def numpy_dtype(x: Tensor) -> np.dtype[Any]:
    """What NumPy calls the tensor's precision."""
    return np.dtype(str(x.dtype).removeprefix("torch."))


def aligned(inputs: Sequence[Tensor]) -> list[Tensor]:
    """With as many axes each as the longest has: those of a sample are aligned at the end, the batch stays in front."""
    axes = max(x.ndim for x in inputs)
    return [x.reshape(len(x), *(1,) * (axes - x.ndim), *x.shape[1:]) for x in inputs]
