"""The optimiser's update lowered to kernel launches over packed parameters."""

from __future__ import annotations

from collections.abc import Sequence

from nnlib.kernels.elementwise import Elementwise, Function
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.reduction import ColumnSum
from nnlib.optim import LARS, SGD, Adam, Optimizer
from nnlib.precision import DTypeName


def update_function(optimizer: Optimizer) -> Function:
    """The element-wise kernel of an optimiser."""
    match optimizer:
        case SGD(nesterov=True):
            return "nesterov"
        case SGD():
            return "sgd"
        case LARS():
            return "lars"
        case Adam():
            return "adam"


def update_kernels(*, optimizer: Optimizer, sizes: Sequence[int], sharers: int, dtype: DTypeName) -> tuple[Kernel, ...]:
    """What one core group launches to update its part of the parameters.

    ``sizes``: elements of each parameter tensor; ``sharers`` core groups take equal parts. The tensors are packed one
    behind the other, so one launch covers them all; LARS needs two norms and one update per tensor.
    """
    function = update_function(optimizer)
    if function == "lars":
        kernels: list[Kernel] = []
        for size in sizes:
            part = -(-size // sharers)
            kernels += [ColumnSum(rows=part, columns=1, dtype=dtype, squared=True)] * 2
            kernels.append(Elementwise(function, part, dtype))
        return tuple(kernels)
    return (Elementwise(function, -(-sum(sizes) // sharers), dtype),)
