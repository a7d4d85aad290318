"""Concatenation, slices, padding, transposition, broadcasting and reductions against PyTorch, with gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.ops.arrangement import (
    PadMode,
    concatenate_backward,
    concatenate_forward,
    pad_backward,
    pad_forward,
    slice_backward,
    slice_forward,
    transpose_backward,
    transpose_forward,
)
from nnlib.ops.axis_reduction import Reduction, reduce_backward, reduce_forward
from nnlib.ops.binary import FUNCTIONS, BinaryFunction, binary_backward, binary_forward
from tests.nnlib.parity import TOLERANCE, Array, check_same

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 99)
shapes = st.lists(st.integers(1, 7), min_size=1, max_size=4).map(tuple)


def normal(seed: int, dtype: str, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def check(
    xs: Sequence[Array],
    y: Array,
    backward: Callable[[Array], Sequence[Array]],
    function: Callable[..., torch.Tensor],
    seed: int,
) -> None:
    """Output and gradients are PyTorch's ``function``'s."""
    (grad,) = normal(seed + 1, xs[0].dtype.name, y.shape)
    leaves = [torch.tensor(x, requires_grad=True) for x in xs]
    expected = function(*leaves)
    expected.backward(torch.tensor(grad))
    check_same(y, expected.detach().numpy(), "y")
    for number, (found, leaf) in enumerate(zip(backward(grad), leaves, strict=True)):
        check_same(found, leaf.grad.numpy(), f"gradient {number}")


@dtypes
@examples
@given(shape=shapes, sizes=st.lists(st.integers(1, 5), min_size=1, max_size=4), place=st.integers(0, 3), seed=seeds)
def test_concatenation(dtype: str, shape: tuple[int, ...], sizes: list[int], place: int, seed: int) -> None:
    axis = place % len(shape)
    xs = normal(seed, dtype, *((*shape[:axis], size, *shape[axis + 1 :]) for size in sizes))
    for one in (axis, axis - len(shape)):
        check(
            xs,
            concatenate_forward(xs, one),
            lambda grad, one=one: concatenate_backward(grad, sizes, one),
            lambda *leaves, one=one: torch.cat(leaves, one),
            seed,
        )


@st.composite
def sliced(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[slice, ...]]:
    """A shape, and places that leave something of each of its first axes."""
    shape = draw(shapes)
    places = []
    for length in shape[: draw(st.integers(1, len(shape)))]:
        start = draw(st.integers(0, length - 1))
        places.append(slice(start, draw(st.integers(start + 1, length)), draw(st.integers(1, 3))))
    return shape, tuple(places)


@dtypes
@examples
@given(case=sliced(), seed=seeds)
def test_slices_with_steps(dtype: str, case: tuple[tuple[int, ...], tuple[slice, ...]], seed: int) -> None:
    shape, places = case
    (x,) = normal(seed, dtype, shape)
    check(
        [x],
        slice_forward(x, places),
        lambda grad: [slice_backward(grad, shape, places)],
        lambda leaf: leaf[places],
        seed,
    )


@dtypes
@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
@examples
@given(data=st.data(), seed=seeds)
def test_padding_of_images(dtype: str, mode: PadMode, data: st.DataObject, seed: int) -> None:
    shape = tuple(data.draw(st.integers(1, 7)) for _ in range(4))

    def around(length: int) -> tuple[int, int]:
        """Numbers before and after an axis; of a constant padding also negative ones that leave something."""
        least = -((length - 1) // 2) if mode == "constant" else 0
        sides = st.integers(least, length - 1 if mode == "reflect" else 4)
        return data.draw(sides), data.draw(sides)

    rows, columns = around(shape[1]), around(shape[2])
    value = data.draw(st.sampled_from([0.0, -1.5])) if mode == "constant" else 0.0
    padding = ((0, 0), rows, columns, (0, 0))
    (x,) = normal(seed, dtype, shape)
    their_mode = "replicate" if mode == "edge" else mode
    more = {"value": value} if mode == "constant" else {}

    def function(leaf: torch.Tensor) -> torch.Tensor:
        first = leaf.permute(0, 3, 1, 2)
        return F.pad(first, (*columns, *rows), mode=their_mode, **more).permute(0, 2, 3, 1)

    check(
        [x],
        pad_forward(x, padding, mode=mode, value=value),
        lambda grad: [pad_backward(grad, shape, padding, mode=mode)],
        function,
        seed,
    )


@dtypes
@examples
@given(shape=shapes, data=st.data(), seed=seeds)
def test_transposition_and_shapes(dtype: str, shape: tuple[int, ...], data: st.DataObject, seed: int) -> None:
    axes = data.draw(st.permutations(range(len(shape))))
    (x,) = normal(seed, dtype, shape)
    check(
        [x],
        transpose_forward(x, axes),
        lambda grad: [transpose_backward(grad, axes)],
        lambda leaf: leaf.permute(*axes),
        seed,
    )


@dtypes
@pytest.mark.parametrize("function", FUNCTIONS)
@examples
@given(shape=shapes, data=st.data(), seed=seeds)
def test_broadcasting(
    dtype: str, function: BinaryFunction, shape: tuple[int, ...], data: st.DataObject, seed: int
) -> None:
    def part() -> tuple[int, ...]:
        ahead = data.draw(st.integers(0, len(shape) - 1))
        return tuple(length if data.draw(st.booleans()) else 1 for length in shape[ahead:])

    a, b = normal(seed, dtype, part(), part())
    b = np.sign(b) * (np.abs(b) + a.dtype.type(0.5))
    theirs = {"add": torch.add, "subtract": torch.sub, "multiply": torch.mul, "divide": torch.div}[function]
    check(
        [a, b],
        binary_forward(function, a, b),
        lambda grad: binary_backward(function, a, b, grad),
        theirs,
        seed,
    )


@dtypes
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@examples
@given(shape=shapes, keepdims=st.booleans(), data=st.data(), seed=seeds)
def test_reductions(
    dtype: str, reduction: Reduction, shape: tuple[int, ...], keepdims: bool, data: st.DataObject, seed: int
) -> None:
    axes = sorted(data.draw(st.sets(st.sampled_from(range(len(shape))), min_size=1)))
    (x,) = normal(seed, dtype, shape)
    x = np.abs(x)  # a sum of both signs may nearly cancel, and its error is then large beside it
    theirs = {"sum": torch.sum, "mean": torch.mean}[reduction]
    check(
        [x],
        reduce_forward(x, axes, reduction=reduction, keepdims=keepdims),
        lambda grad: [reduce_backward(grad, shape, axes, reduction=reduction)],
        lambda leaf: theirs(leaf, dim=axes, keepdim=keepdims),
        seed,
    )
    check(
        [x],
        reduce_forward(x, reduction=reduction),
        lambda grad: [reduce_backward(grad, shape, reduction=reduction)],
        theirs,
        seed,
    )
