"""The optimiser's update and the clipping of gradients lowered to kernel launches over packed parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from nnlib.kernels.kernel import Kernel
from nnlib.kernels.pointwise.elementwise import Elementwise, Function
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.optim.adam import Adam, AdamW
from nnlib.optim.clip import Clip, ClipByNorm, ClipByValue
from nnlib.optim.lamb import LAMB
from nnlib.optim.lars import LARS
from nnlib.optim.optimizers import Optimizer
from nnlib.optim.sgd import SGD
from nnlib.optim.state import State
from nnlib.precision import DTypeName, dtype_name
from sim.chip.memory import Array

Execute = Callable[[Kernel, Mapping[str, Array]], None]
"""Runs a kernel on its arrays, in place."""


def update_function(optimizer: Optimizer) -> Function:
    """The element-wise kernel of an optimiser, the last one if there are several."""
    match optimizer:
        case SGD(nesterov=True):
            return "nesterov"
        case SGD():
            return "sgd"
        case LARS():
            return "lars"
        case Adam():
            return "adam"
        case AdamW():
            return "adamw"
        case LAMB():
            return "lamb"


def update_kernels(*, optimizer: Optimizer, sizes: Sequence[int], sharers: int, dtype: DTypeName) -> tuple[Kernel, ...]:
    """What one core group launches to update its part of the parameters.

    ``sizes``: elements of each parameter tensor; ``sharers`` core groups take equal parts. The tensors are packed one
    behind the other, so one launch covers them all. LARS needs two norms and one update per tensor; LAMB one launch for
    all directions, then the same.
    """
    function = update_function(optimizer)
    if not needs_norms(optimizer):
        return (Elementwise(function, -(-sum(sizes) // sharers), dtype),)
    kernels: list[Kernel] = []
    if isinstance(optimizer, LAMB):
        kernels.append(Elementwise("lamb_direction", -(-sum(sizes) // sharers), dtype))
    for size in sizes:
        part = -(-size // sharers)
        kernels += [_sum_of_squares(part, dtype)] * 2
        kernels.append(Elementwise(function, part, dtype))
    return tuple(kernels)


def clip_kernels(*, clip: Clip, elements: int, sharers: int, dtype: DTypeName) -> tuple[Kernel, ...]:
    """What one core group launches to clip its part of ``elements`` numbers of gradients."""
    part = -(-elements // sharers)
    match clip:
        case ClipByNorm():
            return _sum_of_squares(part, dtype), Elementwise("scale", part, dtype)
        case ClipByValue():
            return (Elementwise("clip_value", part, dtype),)


def state_kinds(optimizer: Optimizer) -> tuple[str, ...]:
    """The arrays that an optimiser keeps for each parameter."""
    return ("mean", "square") if isinstance(optimizer, Adam | AdamW | LAMB) else ("velocity",)


def needs_norms(optimizer: Optimizer) -> bool:
    """True if the update needs norms of each tensor first."""
    return isinstance(optimizer, LARS | LAMB)


def begin_update(*, optimizer: Optimizer, state: State) -> None:
    """Count the step where the optimiser does."""
    if isinstance(optimizer, Adam | AdamW | LAMB):
        state["step"] += 1


def update_hyper(
    *, optimizer: Optimizer, state: State, rate: float, norms: tuple[float, ...] | None, axes: int
) -> tuple[float, ...]:
    """The argument ``hyper`` of the update's kernel: see :mod:`nnlib.kernels.pointwise.functions.updates`.

    ``norms``: of the weight, and of the gradient (LARS) or the direction (LAMB).
    """
    decay = optimizer.decay(axes=axes)
    match optimizer:
        case SGD():
            return rate, optimizer.momentum, decay
        case LARS():
            assert norms is not None
            ratio = optimizer.ratio_of_norms(weight_norm=norms[0], grad_norm=norms[1], axes=axes)
            return rate, optimizer.momentum, decay, ratio
        case Adam() | AdamW():
            corrections = optimizer.corrections(float(state["step"][0]))
            return rate, optimizer.beta1, optimizer.beta2, optimizer.epsilon, decay, *corrections
        case LAMB():
            assert norms is not None
            ratio = optimizer.ratio_of_norms(weight_norm=norms[0], direction_norm=norms[1], axes=axes)
            return rate, ratio


def update_tensor(
    *,
    optimizer: Optimizer,
    name: str,
    weight: Array,
    grad: Array,
    state: State,
    rate: float,
    execute: Execute,
) -> None:
    """One tensor's update by the optimiser's kernels, in place; the step is already counted."""
    dtype = dtype_name(weight.dtype)
    arrays = {"weight": weight, "gradient": grad}
    arrays |= {kind: state[f"{kind}:{name}"] for kind in state_kinds(optimizer)}
    flat = {key: np.ascontiguousarray(array).reshape(-1) for key, array in arrays.items()}
    other = "gradient"
    if isinstance(optimizer, LAMB):
        moments = optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.decay(axes=weight.ndim)
        hyper = np.array([*moments, *optimizer.corrections(float(state["step"][0]))], dtype=weight.dtype)
        other = "direction"
        flat[other] = np.empty_like(flat["weight"])
        _execute(Elementwise("lamb_direction", weight.size, dtype), {**flat, "hyper": hyper}, execute)
    norms = None
    if needs_norms(optimizer):
        norms = tuple(sum_of_squares(flat[each], execute) ** 0.5 for each in ("weight", other))
    hyper = np.array(
        update_hyper(optimizer=optimizer, state=state, rate=rate, norms=norms, axes=weight.ndim), dtype=weight.dtype
    )
    _execute(Elementwise(update_function(optimizer), weight.size, dtype), {**flat, "hyper": hyper}, execute)
    for key, array in arrays.items():
        if key != "gradient":
            array[...] = flat[key].reshape(array.shape)


def clip_gradients(*, clip: Clip, grads: Mapping[str, Array], execute: Execute) -> None:
    """The gradients' clipping by kernels, in place."""
    squares = 0.0
    flat = {name: np.ascontiguousarray(grad).reshape(-1) for name, grad in grads.items()}
    if isinstance(clip, ClipByNorm):
        squares = sum(sum_of_squares(grad, execute) for grad in flat.values())
    for name, grad in grads.items():
        number = clip.factor(squares**0.5) if isinstance(clip, ClipByNorm) else clip.limit
        function: Function = "scale" if isinstance(clip, ClipByNorm) else "clip_value"
        kernel = Elementwise(function, grad.size, dtype_name(grad.dtype))
        execute(kernel, {"x": flat[name], "hyper": np.array([number], dtype=grad.dtype)})
        grad[...] = flat[name].reshape(grad.shape)


def sum_of_squares(array: Array, execute: Execute) -> float:
    """Σ x² of numbers (n,) by its kernel."""
    total = np.zeros(1, dtype=array.dtype)
    execute(_sum_of_squares(array.size, dtype_name(array.dtype)), {"x": array.reshape(-1, 1), "total": total})
    return float(total[0])


def _sum_of_squares(elements: int, dtype: DTypeName) -> ColumnSum:
    return ColumnSum(rows=elements, columns=1, dtype=dtype, squared=True)


def _execute(kernel: Elementwise, arrays: Mapping[str, Array], execute: Execute) -> None:
    execute(kernel, {parameter.name: arrays[parameter.name] for parameter in kernel.parameters()})
