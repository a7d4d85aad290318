"""The optimiser's update lowered to kernel launches over packed parameters."""

from __future__ import annotations

from collections.abc import Sequence

from nnlib.kernels.elementwise import Elementwise, Function
from nnlib.kernels.kernel import Kernel
from nnlib.kernels.reduction import ColumnSum
from nnlib.optim import LARS, SGD, Adam, Optimizer, State
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


def state_kinds(optimizer: Optimizer) -> tuple[str, ...]:
    """The arrays that an optimiser keeps for each parameter."""
    return ("mean", "square") if isinstance(optimizer, Adam) else ("velocity",)


def needs_norms(optimizer: Optimizer) -> bool:
    """True if the update needs the norms of weight and gradient first."""
    return isinstance(optimizer, LARS)


def begin_update(*, optimizer: Optimizer, state: State) -> None:
    """Count the step where the optimiser does."""
    if isinstance(optimizer, Adam):
        state["step"] += 1


def update_hyper(
    *, optimizer: Optimizer, state: State, rate: float, norms: tuple[float, ...] | None, axes: int
) -> tuple[float, ...]:
    """The argument ``hyper`` of the update's kernel: see :mod:`nnlib.kernels.elementwise`."""
    match optimizer:
        case SGD():
            return rate, optimizer.momentum, optimizer.weight_decay
        case LARS():
            assert norms is not None
            ratio = optimizer.ratio_of_norms(weight_norm=norms[0], grad_norm=norms[1], axes=axes)
            return rate, optimizer.momentum, optimizer.weight_decay, ratio
        case Adam():
            corrections = optimizer.corrections(float(state["step"][0]))
            moments = optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.weight_decay
            return rate, *moments, *corrections
