"""Tile programs against PyTorch: all kernels but convolutions, over ragged shapes, in both precisions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.kernels.arranging.layout import Transpose
from nnlib.kernels.convolutions.caffe_order import RowIm2col
from nnlib.kernels.convolutions.channel_groups import CopyColumns
from nnlib.kernels.convolutions.im2col import Col2im, Im2col
from nnlib.kernels.generations import GENERATIONS, Library
from nnlib.kernels.kernel import InfeasiblePlan, Kernel
from nnlib.kernels.pointwise.elementwise import BiasAdd, Elementwise, Function, SumCopies
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.reducing.pooling import MaxPool, MaxPoolGradient
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.kernels.rows.softmax import SoftmaxCrossEntropy
from nnlib.kernels.simulation import compute_kernel, empty_arrays
from nnlib.kernels.window import Window
from nnlib.precision import DTYPES, DTypeName
from tests.nnlib.kernels.launches import with_ldm
from tests.nnlib.parity import Array, check_same, nchw, nhwc

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric, pytest.mark.slow]
TOLERANCE = {"fp64": 1e-12, "fp32": 1e-5}
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=8, deadline=None)
seeds = st.integers(0, 1 << 30)


def computed(kernel: Kernel, arrays: dict[str, Array]) -> dict[str, Array]:
    """All arrays after the tile program ran, on CPEs of 8 KiB if that is enough; outputs begin as NaN."""
    data = empty_arrays(kernel)
    for name, array in arrays.items():
        data[name][...] = array.reshape(data[name].shape)
    try:
        compute_kernel(kernel, processor=with_ldm(8192), data=data)
    except InfeasiblePlan:
        compute_kernel(kernel, processor=with_ldm(65_536), data=data)
    return data


def normal(seed: int, dtype: DTypeName, *shapes: tuple[int, ...]) -> list[Array]:
    numbers = np.random.default_rng(seed)
    return [numbers.standard_normal(shape).astype(DTYPES[dtype]) for shape in shapes]


def same(found: Array, expected: torch.Tensor, dtype: DTypeName) -> None:
    theirs = expected.detach().numpy()
    check_same(found.reshape(theirs.shape), theirs, dtype, tolerance=TOLERANCE[dtype])


@dtypes
@pytest.mark.parametrize("library", GENERATIONS)
@settings(max_examples=6, deadline=None)
@given(
    sizes=st.tuples(*3 * [st.integers(1, 150)]),
    transposes=st.tuples(st.booleans(), st.booleans()),
    accumulate=st.booleans(),
    seed=seeds,
)
def test_gemm(
    library: Library,
    dtype: DTypeName,
    sizes: tuple[int, int, int],
    transposes: tuple[bool, bool],
    accumulate: bool,
    seed: int,
) -> None:
    m, n, k = sizes
    a, b, c = normal(seed, dtype, (m, k), (k, n), (m, n))
    expected = torch.from_numpy(a) @ torch.from_numpy(b) + (torch.from_numpy(c) if accumulate else 0)
    kernel = Gemm(m, n, k, dtype, *transposes, library=library, accumulate=accumulate)
    arrays = {"a": a.T if transposes[0] else a, "b": b.T if transposes[1] else b}
    same(computed(kernel, {**arrays, "c": c} if accumulate else arrays)["c"], expected, dtype)


@dtypes
@examples
@given(elements=st.integers(1, 5000), seed=seeds)
def test_relu_and_its_gradient(dtype: DTypeName, elements: int, seed: int) -> None:
    x, grad_y = normal(seed, dtype, (elements,), (elements,))
    theirs = torch.tensor(x, requires_grad=True)
    y = F.relu(theirs)
    y.backward(torch.from_numpy(grad_y))
    ours = computed(Elementwise("relu", elements, dtype), {"x": x})["y"]
    same(ours, y, dtype)
    same(
        computed(Elementwise("relu_gradient", elements, dtype), {"y": ours, "grad_y": grad_y})["grad_x"],
        theirs.grad,
        dtype,
    )


@dtypes
@examples
@given(rows=st.integers(1, 400), columns=st.integers(1, 1100), copies=st.integers(1, 5), seed=seeds)
def test_bias_and_sums(dtype: DTypeName, rows: int, columns: int, copies: int, seed: int) -> None:
    rows = min(rows, 1 + 40_000 // columns)
    x, bias, several = normal(seed, dtype, (rows, columns), (columns,), (copies, columns))
    added = computed(BiasAdd(rows, columns, dtype), {"y": x, "bias": bias})["y"]
    same(added, torch.from_numpy(x) + torch.from_numpy(bias), dtype)
    for squared in (False, True):
        total = computed(ColumnSum(rows, columns, dtype, squared), {"x": x})["total"]
        same(total, (torch.from_numpy(x) ** (2 if squared else 1)).sum(0), dtype)
    total = computed(SumCopies(copies, columns, dtype), {"copies": several})["total"]
    same(total, torch.from_numpy(several).sum(0), dtype)


@dtypes
@examples
@given(rows=st.integers(1, 500), classes=st.integers(1, 60), seed=seeds)
def test_softmax_cross_entropy(dtype: DTypeName, rows: int, classes: int, seed: int) -> None:
    logits, weights = normal(seed, dtype, (rows, classes), (rows,))
    labels = np.random.default_rng(seed).integers(0, classes, rows)
    theirs = torch.tensor(logits, requires_grad=True)
    loss = F.cross_entropy(theirs, torch.from_numpy(labels), reduction="none") * torch.from_numpy(weights)
    loss.sum().backward()
    arrays = {"logits": logits, "labels": labels[:, None], "weights": weights[:, None]}
    ours = computed(SoftmaxCrossEntropy(rows, classes, dtype), arrays)
    # one class: the loss is nothing but rounding
    if classes > 1:
        same(ours["loss"], loss, dtype)
        same(ours["grad_logits"], theirs.grad, dtype)
    assert np.allclose(ours["loss"][:, 0], loss.detach().numpy(), atol=1e-6)


HYPER = {"rate": 0.1, "momentum": 0.9, "decay": 0.01, "ratio": 0.3, "beta1": 0.8, "beta2": 0.99, "epsilon": 1e-6}


@dtypes
@pytest.mark.parametrize("function", ["sgd", "nesterov", "adam"])
@examples
@given(elements=st.integers(1, 3000), seed=seeds)
def test_updates(function: Function, dtype: DTypeName, elements: int, seed: int) -> None:
    """Three steps from the beginning."""
    kernel = Elementwise(function, elements, dtype)
    weight, *gradients = normal(seed, dtype, *4 * [(elements,)])
    theirs = torch.tensor(weight, requires_grad=True)
    common = {"lr": HYPER["rate"], "weight_decay": HYPER["decay"]}
    if function == "adam":
        optimizer = torch.optim.Adam([theirs], betas=(HYPER["beta1"], HYPER["beta2"]), eps=HYPER["epsilon"], **common)
    else:
        nesterov = function == "nesterov"
        optimizer = torch.optim.SGD([theirs], momentum=HYPER["momentum"], nesterov=nesterov, **common)
    state = {"weight": weight}
    for name in ("mean", "square") if function == "adam" else ("velocity",):
        state[name] = np.zeros_like(weight)
    for step, gradient in enumerate(gradients, start=1):
        corrections = {f"correction{n}": 1 - HYPER[f"beta{n}"] ** step for n in (1, 2)}
        hyper = np.array([{**HYPER, **corrections}[name] for name in kernel.hyper])
        done = computed(kernel, {**state, "gradient": gradient, "hyper": hyper})
        state = {name: done[name] for name in state}
        theirs.grad = torch.from_numpy(gradient)
        optimizer.step()
        same(state["weight"], theirs, dtype)


@dtypes
@examples
@given(elements=st.integers(1, 3000), seed=seeds)
def test_lars(dtype: DTypeName, elements: int, seed: int) -> None:
    """The first step is PyTorch's with a rate scaled by the trust ratio; what the ratio is comes from two norms."""
    weight, gradient = normal(seed, dtype, (elements,), (elements,))
    norms = [
        np.sqrt(computed(ColumnSum(elements, 1, dtype, squared=True), {"x": each})["total"][0])
        for each in (weight, gradient)
    ]
    ratio = float(norms[0] / norms[1])
    assert ratio == pytest.approx(float(torch.tensor(weight).norm() / torch.tensor(gradient).norm()), rel=1e-5)
    ratio = min(ratio, 2.0)
    theirs = torch.tensor(weight, requires_grad=True)
    theirs.grad = torch.from_numpy(gradient)
    optimizer = torch.optim.SGD([theirs], lr=HYPER["rate"] * ratio, momentum=HYPER["momentum"], weight_decay=0.01)
    optimizer.step()
    kernel = Elementwise("lars", elements, dtype)
    hyper = np.array([{**HYPER, "ratio": ratio}[name] for name in kernel.hyper])
    arrays = {"weight": weight, "gradient": gradient, "velocity": np.zeros_like(weight), "hyper": hyper}
    same(computed(kernel, arrays)["weight"], theirs, dtype)


@st.composite
def windows(draw: st.DrawFn, *, pooling: bool = False) -> Window:
    """Ragged against every block."""
    kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    dilation = 1 if pooling else draw(st.integers(1, 2))
    padding = 0 if pooling else draw(st.integers(0, 2))
    height, width = (draw(st.integers(max(1, dilation * (k - 1) + 1 - 2 * padding), 12)) for k in kernel)
    channels, stride = draw(st.integers(1, 9)), draw(st.integers(1, 3))
    return Window(draw(st.integers(1, 5)), height, width, channels, kernel, stride, padding, dilation)


@dtypes
@examples
@given(window=windows(pooling=True), seed=seeds)
def test_max_pool_and_its_gradient(dtype: DTypeName, window: Window, seed: int) -> None:
    (x,) = normal(seed, dtype, (window.batch, window.height, window.width, window.channels))
    theirs = torch.tensor(nchw(x), requires_grad=True)
    y = F.max_pool2d(theirs, window.kernel, window.stride)
    (grad_y,) = normal(seed + 1, dtype, tuple(y.permute(0, 2, 3, 1).shape))
    y.backward(torch.from_numpy(nchw(grad_y)))
    same(computed(MaxPool(window, dtype), {"x": x})["y"], y.permute(0, 2, 3, 1), dtype)
    found = computed(MaxPoolGradient(window, dtype), {"x": x, "grad_y": grad_y})["grad_x"]
    same(found, theirs.grad.permute(0, 2, 3, 1), dtype)


@dtypes
@settings(max_examples=12, deadline=None)
@given(window=windows(), seed=seeds)
def test_im2col_and_col2im_are_unfold_and_fold(dtype: DTypeName, window: Window, seed: int) -> None:
    pixels = window.out_height * window.out_width
    x, cols = normal(
        seed,
        dtype,
        (window.batch, window.height, window.width, window.channels),
        (window.batch, window.channels * window.taps, pixels),
    )
    options = {"dilation": window.dilation, "padding": window.padding, "stride": window.stride}
    gathered = F.unfold(torch.from_numpy(nchw(x)), window.kernel, **options).numpy()
    added = F.fold(torch.from_numpy(cols), (window.height, window.width), window.kernel, **options).numpy()

    def last(theirs: Array) -> Array:
        """(batch, channels · taps, pixels) as (batch, pixels, taps, channels)."""
        return theirs.reshape(window.batch, window.channels, window.taps, pixels).transpose(0, 3, 2, 1)

    def first(theirs: Array) -> Array:
        """The same as (channels · taps, batch, pixels)."""
        return np.ascontiguousarray(theirs.transpose(1, 0, 2))

    image_first = np.ascontiguousarray(x.transpose(3, 0, 1, 2))
    found = computed(Im2col(window, dtype), {"x": x})["cols"]
    assert np.array_equal(found.reshape(last(gathered).shape), last(gathered))
    found = computed(Im2col(window, dtype, "channels-first"), {"x": image_first})["cols"]
    assert np.array_equal(found.reshape(first(gathered).shape), first(gathered))
    if window.dilation == 1:
        found = computed(RowIm2col(window, dtype), {"x": nchw(x)})["cols"]
        assert np.array_equal(found.reshape(first(gathered).shape), first(gathered))
    found = computed(Col2im(window, dtype), {"cols": np.ascontiguousarray(last(cols))})["x"]
    same(found, torch.from_numpy(nhwc(added).copy()), dtype)
    found = computed(Col2im(window, dtype, "channels-first"), {"cols": first(cols)})["x"]
    same(found, torch.from_numpy(added.transpose(1, 0, 2, 3).copy()), dtype)


@dtypes
@examples
@given(sizes=st.tuples(st.integers(1, 4), st.integers(1, 200), st.integers(1, 90)), column=st.floats(0, 1), seed=seeds)
def test_transposes_and_copies(dtype: DTypeName, sizes: tuple[int, int, int], column: float, seed: int) -> None:
    (x,) = normal(seed, dtype, sizes)
    found = computed(Transpose(*sizes, dtype), {"x": x})["y"]
    assert torch.equal(torch.from_numpy(found), torch.from_numpy(x).transpose(1, 2))
    _, rows, columns = sizes
    first = int(column * (columns - 1))
    kernel = CopyColumns(
        rows=rows,
        columns=columns - first,
        source_columns=columns,
        target_columns=columns - first,
        dtype=dtype,
        source_first=first,
    )
    found = computed(kernel, {"source": x[0]})["target"]
    assert torch.equal(torch.from_numpy(found), torch.from_numpy(x[0])[:, first:])
