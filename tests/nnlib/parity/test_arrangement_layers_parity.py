"""Layers that pool, arrange, resize, add, reduce and embed against PyTorch's modules, channels first there."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.device import TRAINING
from nnlib.layers.adaptive_pooling import AdaptiveAveragePool, AdaptiveMaxPool
from nnlib.layers.arrangement import Concatenate, Flatten, Pad, Reshape, Select, Slice, Transpose
from nnlib.layers.average_pooling import AveragePool, AveragePool1d
from nnlib.layers.axis_reduction import Expand, Mean, Sum
from nnlib.layers.binary import Add, Divide, Multiply, Subtract
from nnlib.layers.dropout import Dropout
from nnlib.layers.embedding import Embedding, Gather, PositionEmbedding
from nnlib.layers.global_pooling import GlobalAveragePool, GlobalMaxPool
from nnlib.layers.layer import Layer, Run
from nnlib.layers.max_pooling import MaxPool, MaxPool1d
from nnlib.layers.operand import Operand
from nnlib.layers.resize import Upsample
from tests.nnlib.parity import TOLERANCE, Array, check_same

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=20, deadline=None)
sizes = st.integers(1, 9)


def first(x: torch.Tensor) -> torch.Tensor:
    """Channels last to channels first."""
    return x.movedim(-1, 1)


def last(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(1, -1)


def check(
    layer: Layer,
    inputs: Sequence[Array],
    function: Callable[..., torch.Tensor],
    *,
    params: dict[str, Array] | None = None,
    seed: int = 0,
    least: float = 0.0,
) -> None:
    """Output shape, output and all gradients are PyTorch's ``function``'s of the inputs and then the parameters.

    ``least``: size of the terms of gradients that are sums, against which their errors are judged.
    """
    params = params or {}
    shapes = tuple(x.shape[1:] for x in inputs)
    assert layer.parameter_shapes(shapes) == {name: array.shape for name, array in params.items()}
    y, saved = layer.forward(params, tuple(inputs), TRAINING)
    assert y.shape[1:] == layer.output_shape(shapes)
    dtype = y.dtype
    grad = np.random.default_rng(seed + 1).standard_normal(y.shape).astype(dtype)
    leaves = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in (*inputs, *params.values())]
    expected = function(*leaves)
    expected.backward(torch.tensor(grad))
    check_same(y, expected.detach().numpy(), "y")
    needs = tuple(x.dtype.kind == "f" for x in inputs)
    grads, of_params = layer.backward(params, saved, grad, needs)
    for number, (found, leaf) in enumerate(zip((*grads, *of_params.values()), leaves, strict=True)):
        if leaf.grad is None:
            assert found is None
        else:
            assert found is not None
            check_same(found, leaf.grad.numpy(), f"gradient {number}", least=least)
    none, _ = layer.backward(params, saved, grad, (False,) * len(inputs))
    assert all(each is None for each in none)


def normal(seed: int, dtype: str, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@st.composite
def windows(draw: st.DrawFn) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """Kernel, stride and padding for rows and columns, and a shape of images that they go with."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    height, width = (draw(st.integers(size, 9)) for size in kernel)
    shape = (draw(st.integers(1, 3)), height, width, draw(st.integers(1, 4)))
    return kernel, (draw(st.integers(1, 3)), draw(st.integers(1, 3))), (padding[0], padding[1]), shape


@dtypes
@examples
@given(case=windows(), ceil=st.booleans(), seed=st.integers(0, 99))
def test_pools_of_images(
    dtype: str,
    case: tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int, int, int]],
    ceil: bool,
    seed: int,
) -> None:
    kernel, stride, padding, shape = case
    x = normal(seed, dtype, *shape)
    check(
        MaxPool("p", kernel, stride, padding, ceil),
        [x],
        lambda leaf: last(F.max_pool2d(first(leaf), kernel, stride, padding, ceil_mode=ceil)),
    )
    for counted in (True, False):
        check(
            AveragePool("p", kernel, stride, padding, ceil, counted),
            [x],
            lambda leaf, counted=counted: last(F.avg_pool2d(first(leaf), kernel, stride, padding, ceil, counted)),
        )
    before, behind = padding
    if max(padding) < kernel[0] and kernel[1] > 1:
        check(
            MaxPool("p", kernel, stride, (before, behind, 0, 1)),
            [x],
            lambda leaf: last(F.max_pool2d(F.pad(first(leaf), (0, 1, before, behind), value=-1e9), kernel, stride)),
        )


@dtypes
@examples
@given(case=windows(), ceil=st.booleans(), seed=st.integers(0, 99))
def test_pools_of_sequences(
    dtype: str,
    case: tuple[tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int, int, int]],
    ceil: bool,
    seed: int,
) -> None:
    (kernel, _), (stride, _), (padding, _), (batch, length, _, channels) = case
    x = normal(seed, dtype, batch, length, channels)
    check(
        MaxPool1d("p", kernel, stride, padding, ceil),
        [x],
        lambda leaf: last(F.max_pool1d(first(leaf), kernel, stride, padding, ceil_mode=ceil)),
    )
    check(
        AveragePool1d("p", kernel, stride, padding, ceil, False),
        [x],
        lambda leaf: last(F.avg_pool1d(first(leaf), kernel, stride, padding, ceil, False)),
    )


@dtypes
@examples
@given(shape=st.tuples(st.integers(1, 3), sizes, sizes, st.integers(1, 4)), size=st.tuples(sizes, sizes))
def test_global_and_adaptive_pools(dtype: str, shape: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    x = normal(1, dtype, *shape)
    check(GlobalAveragePool("p"), [x], lambda leaf: leaf.mean((1, 2)))
    check(GlobalMaxPool("p"), [x], lambda leaf: F.adaptive_max_pool2d(first(leaf), 1)[:, :, 0, 0])
    check(AdaptiveAveragePool("p", size), [x], lambda leaf: last(F.adaptive_avg_pool2d(first(leaf), size)))
    check(AdaptiveMaxPool("p", size), [x], lambda leaf: last(F.adaptive_max_pool2d(first(leaf), size)))


@dtypes
@examples
@given(shape=st.tuples(st.integers(1, 3), sizes, sizes, st.integers(1, 4)), size=st.tuples(sizes, sizes))
def test_resizing(dtype: str, shape: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    x = normal(1, dtype, *shape)
    check(Upsample("u", size), [x], lambda leaf: last(F.interpolate(first(leaf), scale_factor=size, mode="nearest")))
    for corners in (False, True):
        check(
            Upsample("u", None, size, "bilinear", corners),
            [x],
            lambda leaf, corners=corners: last(
                F.interpolate(first(leaf), size, mode="bilinear", align_corners=corners)
            ),
        )
    check(
        Upsample("u", None, size[0], "bilinear"),
        [x[:, :, 0]],
        lambda leaf: last(F.interpolate(first(leaf), size[0], mode="linear", align_corners=False)),
    )


@dtypes
@examples
@given(shape=st.tuples(st.integers(1, 3), sizes, st.integers(2, 9), st.integers(1, 4)), data=st.data())
def test_arrangement(dtype: str, shape: tuple[int, int, int, int], data: st.DataObject) -> None:
    x, other = normal(1, dtype, *shape), normal(2, dtype, *shape)
    check(Flatten("f"), [x], lambda leaf: leaf.flatten(1))
    check(Reshape("r", (-1, shape[2])), [x], lambda leaf: leaf.reshape(len(leaf), -1, shape[2]))
    axes = tuple(data.draw(st.permutations(range(3))))
    check(Transpose("t", axes), [x], lambda leaf: leaf.permute(0, *(axis + 1 for axis in axes)))
    axis = data.draw(st.integers(-3, 2))
    place = axis + 1 if axis >= 0 else axis
    check(Concatenate("c", axis), [x, other, x], lambda *leaves: torch.cat(leaves, place))
    start, step = data.draw(st.integers(-2, 1)), data.draw(st.integers(1, 3))
    check(Slice("s", 1, start, None, step), [x], lambda leaf: leaf[:, :, start::step])
    check(Slice("s", 1, None, None, -step), [x], lambda leaf: leaf.flip(2)[:, :, ::step])
    chosen = tuple(data.draw(st.lists(st.integers(-shape[2], shape[2] - 1), min_size=1, max_size=12)))
    index = torch.tensor(chosen) % shape[2]
    check(Select("s", -2, chosen), [x], lambda leaf: leaf.index_select(2, index))
    check(
        Pad("p", ((1, 0), (2, 1), (0, 3)), "constant", 0.5),
        [x],
        lambda leaf: F.pad(leaf, (0, 3, 2, 1, 1, 0), value=0.5),
    )
    check(
        Pad("p", ((0, 0), (1, 1), (0, 0)), "reflect"),
        [x],
        lambda leaf: last(F.pad(first(leaf), (1, 1, 0, 0), "reflect")),
    )
    check(
        Pad("p", ((3, 2), (1, 0), (0, 0)), "edge"),
        [x],
        lambda leaf: last(F.pad(first(leaf), (1, 0, 3, 2), "replicate")),
    )


@dtypes
@examples
@given(shape=st.tuples(st.integers(1, 3), sizes, sizes, st.integers(1, 4)), data=st.data())
def test_several_inputs_and_reductions(dtype: str, shape: tuple[int, int, int, int], data: st.DataObject) -> None:
    x = normal(1, dtype, *shape)
    short = np.abs(normal(2, dtype, shape[0], shape[3])) + x.dtype.type(0.5)
    partly = np.abs(normal(3, dtype, shape[0], shape[1], 1, shape[3])) + x.dtype.type(0.5)

    def wide(leaf: torch.Tensor) -> torch.Tensor:
        return leaf[:, None, None]

    check(Add("a"), [x, short, partly], lambda a, b, c: a + wide(b) + c)
    check(Add("a"), [x], lambda a: a)
    check(Subtract("a"), [short, x], lambda a, b: wide(a) - b)
    check(Multiply("a"), [partly, short], lambda a, b: a * wide(b))
    check(Divide("a"), [x, short], lambda a, b: a / wide(b))
    axes = tuple(data.draw(st.lists(st.integers(0, 2), min_size=1, unique=True)))
    dims = [axis + 1 for axis in axes]
    for keep in (False, True):
        check(Mean("m", axes, keep), [np.abs(x)], lambda leaf, keep=keep: leaf.mean(dims, keepdim=keep))
        check(Sum("m", axes, keep), [np.abs(x)], lambda leaf, keep=keep: leaf.sum(dims, keepdim=keep))
    check(Expand("e", (2, *shape[1:])), [x], lambda leaf: leaf[:, None].expand(-1, 2, -1, -1, -1))


@dtypes
@examples
@given(
    shape=st.tuples(st.integers(1, 3), sizes),
    features=st.integers(1, 6),
    count=st.integers(1, 9),
    seed=st.integers(0, 9),
)
def test_embeddings(dtype: str, shape: tuple[int, int], features: int, count: int, seed: int) -> None:
    tokens = np.random.default_rng(seed).integers(0, count, shape)
    table, places = normal(seed, dtype, count, features), normal(seed + 1, dtype, shape[1], features)
    check(Embedding("e", count, features), [tokens], F.embedding, params={"weight": table})
    x = normal(seed + 2, dtype, *shape, features)
    check(PositionEmbedding("e"), [x], lambda leaf, weight: leaf + weight, params={"weight": places})
    picked = tokens % shape[1]

    def gathered(leaf: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        return leaf.gather(1, indices[..., None].expand(-1, -1, features))

    check(Gather("g", 0), [x, picked], gathered)
    turned = np.ascontiguousarray(x.transpose(0, 2, 1))
    check(Gather("g", -1), [turned, picked], lambda leaf, indices: gathered(leaf.mT, indices).mT)


@dtypes
def test_dropout_keeps_the_expectation_and_its_gradient_the_mask(dtype: str) -> None:
    x = np.ones((50, 4000), dtype=dtype)
    layer = Dropout("d", 0.25)
    y, saved = layer.forward({}, (x,), Run(training=True, key=3, first_sample=5))
    (grad,), _ = layer.backward({}, saved, x, (True,))
    assert np.array_equal(grad, y)
    torch.manual_seed(0)
    theirs = F.dropout(torch.tensor(x), 0.25).numpy()
    assert set(np.unique(y)) == set(np.unique(theirs))
    assert abs(y.mean() - theirs.mean()) < 0.01
    still, _ = layer.forward({}, (x,), Run())
    assert still is x


OPERATIONS = {"add": torch.add, "subtract": torch.subtract, "multiply": torch.multiply, "divide": torch.divide}


@dtypes
@pytest.mark.parametrize("operation", OPERATIONS)
@examples
@given(data=st.data(), shape=st.lists(sizes, min_size=1, max_size=3), first=st.booleans(), seed=st.integers(0, 99))
def test_operand(dtype: str, operation: str, data: st.DataObject, shape: list[int], first: bool, seed: int) -> None:
    """Some of a sample's last axes, long or repeated; away from zero, as either may be a divisor."""
    axes = data.draw(st.integers(0, len(shape)))
    own = tuple(data.draw(st.sampled_from([1, length])) for length in shape[len(shape) - axes :])
    x, value = (
        np.sign(each) * (np.abs(each) + 0.5) for each in (normal(seed, dtype, 3, *shape), normal(seed, dtype, *own))
    )
    function = OPERATIONS[operation]
    check(
        Operand("o", operation, own, first),
        [np.asarray(x, dtype)],
        (lambda x, value: function(value, x)) if first else function,
        params={"value": np.asarray(value, dtype)},
        least=0.1,
    )
