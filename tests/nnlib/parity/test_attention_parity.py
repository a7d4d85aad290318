"""Attention and products of stacks of matrices against PyTorch over random shapes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnlib.layers.attention import MultiHeadAttention
from nnlib.layers.layer import INFERENCE
from nnlib.ops import attention as attention_module
from nnlib.ops.attention import Masking, attention_backward, attention_forward, row_dots
from nnlib.ops.attention_dropout import KeptProbabilities
from nnlib.ops.dropout import keep_mask
from nnlib.ops.matmul import matmul_backward, matmul_forward
from nnlib.ops.multi_head_attention import multi_head_attention_backward, multi_head_attention_forward
from tests.nnlib.parity import TOLERANCE, Array, check_same

torch = pytest.importorskip("torch")
F = torch.nn.functional

pytestmark = [pytest.mark.parity, pytest.mark.numeric]
dtypes = pytest.mark.parametrize("dtype", TOLERANCE)
examples = settings(max_examples=25, deadline=None)


@dataclass(frozen=True)
class Case:
    """Sizes of an attention and what it masks."""

    batch: int
    heads: int
    queries: int
    keys: int
    depth: int
    value_depth: int
    causal: bool
    padded: bool
    mask: tuple[int, ...] | None
    seen: tuple[int, ...] | None
    rate: float
    scale: float | None
    seed: int

    def draw(self, dtype: str) -> tuple[list[Array], Masking]:
        """Query, key, value, output gradient, and the masks."""
        rng = np.random.default_rng(self.seed)
        widths = (self.depth, self.depth, self.value_depth, self.value_depth)
        lengths = (self.queries, self.keys, self.keys, self.queries)
        arrays = [
            rng.standard_normal((self.batch, length, self.heads * width)).astype(dtype)
            for length, width in zip(lengths, widths, strict=True)
        ]
        return arrays, Masking(
            causal=self.causal,
            lengths=rng.integers(0, self.keys + 1, self.batch) if self.padded else None,
            mask=None if self.mask is None else rng.standard_normal(self.mask).astype(dtype),
            seen=None if self.seen is None else rng.random(self.seen) < 0.7,
            keep=self.kept if self.rate else None,
            rate=self.rate,
        )

    @property
    def kept(self) -> KeptProbabilities:
        """What dropout keeps."""
        return KeptProbabilities(
            key=self.seed, first_sample=3, heads=self.heads, queries=self.queries, keys=self.keys, rate=self.rate
        )


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """One sample or a few, one query or key, lengths of 0, masks broadcast along any axis."""
    batch, heads, queries, keys = (draw(st.integers(1, most)) for most in (4, 3, 13, 11))
    shape = tuple(draw(st.sampled_from([1, length])) for length in (batch, heads, queries, keys))
    return Case(
        batch=batch,
        heads=heads,
        queries=queries,
        keys=keys,
        depth=draw(st.integers(1, 9)),
        value_depth=draw(st.integers(1, 7)),
        causal=draw(st.booleans()),
        padded=draw(st.booleans()),
        mask=draw(st.sampled_from([None, shape, shape[2:]])),
        seen=draw(st.sampled_from([None, shape, shape[1:]])),
        rate=draw(st.sampled_from([0.0, 0.3])),
        scale=draw(st.sampled_from([None, 0.7])),
        seed=draw(st.integers(0, 99)),
    )


def leaf(array: Array) -> torch.Tensor:
    """A tensor whose gradient is wanted."""
    return torch.tensor(array, requires_grad=True)


def heads_first(x: torch.Tensor, heads: int) -> torch.Tensor:
    """(B, T, heads·d) as (B, heads, T, d)."""
    return x.reshape(*x.shape[:2], heads, -1).transpose(1, 2)


def whole_mask(case: Case, masking: Masking, added: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor:
    """All masks as one that is added."""
    total = torch.zeros(case.batch, case.heads, case.queries, case.keys, dtype=dtype)
    if added is not None:
        total = total + added
    if masking.causal:
        total = total.masked_fill(torch.ones(case.queries, case.keys).triu(1).bool(), -torch.inf)
    if masking.seen is not None:
        total = total.masked_fill(~torch.tensor(masking.seen), -torch.inf)
    if masking.lengths is not None:
        beyond = torch.arange(case.keys) >= torch.tensor(masking.lengths)[:, None]
        total = total.masked_fill(beyond[:, None, None, :], -torch.inf)
    return total


def expected_attention(
    case: Case, masking: Masking, tensors: list[torch.Tensor], added: torch.Tensor | None
) -> torch.Tensor:
    """By PyTorch's function, or spelt out where it would draw the dropped probabilities itself."""
    q, k, v = (heads_first(each, case.heads) for each in tensors)
    mask = whole_mask(case, masking, added, q.dtype)
    if masking.keep is None:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=case.scale)
    else:
        scale = case.depth**-0.5 if case.scale is None else case.scale
        # a query without keys: PyTorch's softmax is NaN there, its attention 0
        blind = torch.isneginf(mask).all(dim=-1, keepdim=True)
        p = torch.softmax((q @ k.transpose(2, 3) * scale + mask).masked_fill(blind, 0), dim=-1).masked_fill(blind, 0)
        kept = keep_mask(case.seed, 3, tuple(p.shape), case.rate)
        y = (p * torch.tensor(kept) / (1 - case.rate)) @ v
    return y.transpose(1, 2).reshape(case.batch, case.queries, -1)


@dtypes
@pytest.mark.parametrize("block", [1, 20, 1 << 20])
@examples
@given(case=cases())
def test_attention(dtype: str, block: int, case: Case) -> None:
    (q, k, v, grad), masking = case.draw(dtype)
    grad_mask = None if masking.mask is None else np.zeros_like(masking.mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention_module, "BLOCK_SCORES", block)
        options: dict[str, Any] = {"heads": case.heads, "masking": masking, "scale": case.scale}
        y, logs = attention_forward(q, k, v, **options)
        dots = row_dots(grad, y, heads=case.heads)
        grads = attention_backward(grad, q, k, v, logs, dots=dots, grad_mask=grad_mask, **options)
    tensors = [leaf(each) for each in (q, k, v)]
    added = None if masking.mask is None else leaf(masking.mask)
    expected = expected_attention(case, masking, tensors, added)
    expected.backward(torch.tensor(grad))
    check_same(y, expected.detach().numpy(), "y")
    found = dict(zip("qkv", grads, strict=True))
    wanted = {name: tensor.grad.numpy() for name, tensor in zip("qkv", tensors, strict=True)}
    if added is not None and grad_mask is not None:
        found["mask"], wanted["mask"] = grad_mask, added.grad.numpy()
    check_gradients(found, wanted)


def check_gradients(found: dict[str, Array], expected: dict[str, Array]) -> None:
    """As everywhere, but gradients by scores are differences, and vanish where a query sees one key: PyTorch's, too,
    then are rounding errors of what cancels, which is as large as the largest gradient.
    """
    assert found.keys() == expected.keys()
    largest = max(float(np.max(np.abs(each))) for each in expected.values())
    for name, array in expected.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype), name
        error = float(np.max(np.abs(found[name] - array)))
        limit = TOLERANCE[array.dtype.name] * max(float(np.max(np.abs(array))), 0.1 * largest)
        assert error <= limit, (name, error)


def torch_parts(
    module: torch.nn.MultiheadAttention, names: Iterable[str], packed: bool, *, grad: bool = False
) -> dict[str, torch.Tensor]:
    """The module's parameters, or their gradients, by the names here; what it has packed by thirds."""

    def of(parameter: torch.Tensor) -> torch.Tensor:
        return parameter.grad if grad else parameter.data

    found = {}
    for name in names:
        part, kind = name.split("_")
        if part == "out":
            found[name] = of(getattr(module.out_proj, kind))
            continue
        whole = getattr(module, f"in_proj_{kind}")
        if whole is None:
            found[name] = of(getattr(module, f"{part[0]}_proj_weight"))
        elif packed:
            found[name] = of(whole)
        else:
            found[name] = of(whole).chunk(3)[("query", "key", "value").index(part)]
    return found


@dtypes
@pytest.mark.parametrize("sources", [1, 2, 3])
@examples
@given(case=cases(), bias=st.booleans(), separate=st.booleans())
def test_multi_head_attention(dtype: str, sources: int, case: Case, bias: bool, separate: bool) -> None:
    rng = np.random.default_rng(case.seed)
    width = case.heads * case.depth
    keys = case.queries if sources == 1 else case.keys
    widths = (width, width + 2, width + 3) if sources == 3 and separate else (width,) * 3
    inputs = tuple(
        rng.standard_normal((case.batch, length, size)).astype(dtype)
        for length, size in list(zip((case.queries, keys, keys), widths, strict=True))[:sources]
    )
    parts = ("qkv",) if sources == 1 else ("query", "key", "value")
    outs = 3 * width if sources == 1 else width
    shapes: dict[str, tuple[int, ...]] = {
        f"{part}_weight": (size, outs) for part, size in zip(parts, widths, strict=False)
    }
    shapes["out_weight"] = (width, width)
    if bias:
        shapes |= {f"{part}_bias": (outs,) for part in parts} | {"out_bias": (width,)}
    params = {name: rng.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}
    # PyTorch's module gives NaN to a query that sees no key
    lengths = rng.integers(1, keys + 1, case.batch) if case.padded else None
    masking = Masking(causal=case.causal, lengths=lengths)
    y, saved = multi_head_attention_forward(inputs, params, heads=case.heads, masking=masking)
    grad = rng.standard_normal(y.shape).astype(dtype)
    by_inputs, by_params = multi_head_attention_backward(grad, params, saved)

    module = torch.nn.MultiheadAttention(
        width, case.heads, bias=bias, batch_first=True, kdim=widths[1], vdim=widths[2], dtype=getattr(torch, dtype)
    )
    with torch.no_grad():
        for name, tensor in torch_parts(module, params, sources == 1).items():
            tensor.copy_(torch.tensor(params[name].T))
    tensors = [leaf(each) for each in inputs]
    query, key, value = tensors[0], tensors[min(1, sources - 1)], tensors[-1]
    expected, _ = module(
        query,
        key,
        value,
        need_weights=False,
        attn_mask=torch.ones(case.queries, keys).triu(1).bool() if case.causal else None,
        key_padding_mask=None if lengths is None else torch.arange(keys) >= torch.tensor(lengths)[:, None],
    )
    expected.backward(torch.tensor(grad))
    check_same(y, expected.detach().numpy(), "y")
    names = [f"input {number}" for number in range(sources)]
    check_gradients(
        dict(zip(names, by_inputs, strict=True)) | by_params,
        {name: tensor.grad.numpy() for name, tensor in zip(names, tensors, strict=True)}
        | {name: tensor.numpy().T for name, tensor in torch_parts(module, params, sources == 1, grad=True).items()},
    )


@st.composite
def stacks(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of two stacks of matrices that broadcast, stored untransposed."""
    m, n, k = (draw(st.integers(1, 9)) for _ in range(3))
    leading = draw(st.lists(st.integers(1, 4), max_size=3))

    def stack(rows: int, columns: int) -> tuple[int, ...]:
        own = [draw(st.sampled_from([1, length])) for length in leading[draw(st.integers(0, len(leading))) :]]
        return (*own, rows, columns)

    return stack(m, k), stack(k, n)


@dtypes
@examples
@given(shapes=stacks(), transposed=st.tuples(st.booleans(), st.booleans()), seed=st.integers(0, 99))
def test_matmul(
    dtype: str, shapes: tuple[tuple[int, ...], tuple[int, ...]], transposed: tuple[bool, bool], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    a, b = (
        rng.standard_normal((*shape[:-2], *(shape[:-3:-1] if swap else shape[-2:]))).astype(dtype)
        for shape, swap in zip(shapes, transposed, strict=True)
    )
    options: dict[str, Any] = {"transpose_a": transposed[0], "transpose_b": transposed[1]}
    y = matmul_forward(a, b, **options)
    grad = rng.standard_normal(y.shape).astype(dtype)
    grads = matmul_backward(grad, a, b, **options)
    tensors = [leaf(a), leaf(b)]
    left, right = (t.transpose(-1, -2) if swap else t for t, swap in zip(tensors, transposed, strict=True))
    expected = left @ right
    expected.backward(torch.tensor(grad))
    check_same(y, expected.detach().numpy(), "y")
    for name, found, tensor in zip("ab", grads, tensors, strict=True):
        assert found is not None
        check_same(found, tensor.grad.numpy(), f"grad {name}")


@dtypes
@examples
@given(case=cases(), memory=st.booleans(), bias=st.booleans())
def test_the_multi_head_attention_layer(dtype: str, case: Case, memory: bool, bias: bool) -> None:
    rng = np.random.default_rng(case.seed)
    width = case.heads * case.depth
    keys = case.keys if memory else case.queries
    shapes = ((case.queries, width), (keys, width))[: 2 if memory else 1]
    layer = MultiHeadAttention("a", case.heads, case.causal, bias)
    params = {name: rng.standard_normal(shape).astype(dtype) for name, shape in layer.parameter_shapes(shapes).items()}
    inputs: list[Any] = [rng.standard_normal((case.batch, *shape)).astype(dtype) for shape in shapes]
    lengths = rng.integers(1, keys + 1, case.batch) if case.padded else None
    everything = (*inputs, lengths) if lengths is not None else tuple(inputs)
    y, saved = layer.forward(params, everything, INFERENCE)
    assert y.shape[1:] == layer.output_shape(shapes)
    grad = rng.standard_normal(y.shape).astype(dtype)
    by_inputs, by_params = layer.backward(params, saved, grad, (True,) * len(everything))
    assert lengths is None or by_inputs[-1] is None
    module = torch.nn.MultiheadAttention(width, case.heads, bias=bias, batch_first=True, dtype=getattr(torch, dtype))
    with torch.no_grad():
        for name, tensor in torch_parts(module, params, not memory).items():
            tensor.copy_(torch.tensor(params[name].T))
    tensors = [leaf(each) for each in inputs]
    expected, _ = module(
        tensors[0],
        tensors[-1],
        tensors[-1],
        need_weights=False,
        attn_mask=torch.ones(case.queries, keys).triu(1).bool() if case.causal else None,
        key_padding_mask=None if lengths is None else torch.arange(keys) >= torch.tensor(lengths)[:, None],
    )
    expected.backward(torch.tensor(grad))
    check_same(y, expected.detach().numpy(), "y")
    names = [f"input {number}" for number in range(len(inputs))]
    found = {name: each for name, each in zip(names, by_inputs, strict=False) if each is not None}
    check_gradients(
        found | by_params,
        {name: tensor.grad.numpy() for name, tensor in zip(names, tensors, strict=True)}
        | {name: each.numpy().T for name, each in torch_parts(module, params, not memory, grad=True).items()},
    )
