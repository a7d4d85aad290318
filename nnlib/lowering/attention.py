"""Attention lowered."""

from __future__ import annotations

from nnlib.kernels.attention.attention import Attention, AttentionKeyValueGradient, AttentionQueryGradient
from nnlib.kernels.attention.attention_shape import AttentionShape
from nnlib.kernels.pointwise.elementwise import BiasAdd
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.layers.attention import DotProductAttention, MultiHeadAttention
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of
from nnlib.ops.multi_head_attention import PARTS
from sim.chip.memory import Shape


@lower_forward_of.register
def _(layer: DotProductAttention, site: Site) -> None:
    shape = _shape(layer, site, site.in_shapes[:3])
    _attend(site, shape, {part: site.inputs[number] for number, part in enumerate(PARTS)}, out=site.output())


@lower_backward_of.register
def _(layer: DotProductAttention, site: Site) -> None:
    shape = _shape(layer, site, site.in_shapes[:3])
    # the kernels give all gradients; one that nobody needs is written all the same
    grads = [
        site.input_gradient(number) if site.needs[number] else site.buffer(f"grad_{part}", (site.batch, *shape_of))
        for number, (part, shape_of) in enumerate(zip(PARTS, site.in_shapes[:3], strict=True))
    ]
    sources = {part: site.inputs[number] for number, part in enumerate(PARTS)}
    named = {f"grad_{part}": grad for part, grad in zip(PARTS, grads, strict=True)}
    _attend_gradients(site, shape, sources, named, out=site.name, grad_out=site.grad_output)
    for number, grad in enumerate(grads):
        if site.needs[number]:
            site.contribute(grad, number)


@lower_forward_of.register
def _(layer: MultiHeadAttention, site: Site) -> None:
    sources = layer.sources(site.in_shapes)
    queries, width = sources[0]
    shape = _shape(layer, site, _projected(sources))
    rows = site.batch * queries
    if shape.packed:
        qkv = site.buffer("qkv", (site.batch, queries, 3 * width))
        _product(site, "qkv", layer.bias, m=rows, n=3 * width, k=width, a=site.inputs[0], out=qkv)
        projected = {"qkv": qkv}
    else:
        projected = {}
        for part, number in zip(PARTS, (0, 1, 1), strict=True):
            length, features = sources[number]
            projected[part] = site.buffer(part, (site.batch, length, width))
            m = site.batch * length
            _product(site, part, layer.bias, m=m, n=width, k=features, a=site.inputs[number], out=projected[part])
    attended = site.buffer("attended", (site.batch, queries, width))
    _attend(site, shape, projected, out=attended)
    _product(site, "out", layer.bias, m=rows, n=width, k=width, a=attended, out=site.output())


@lower_backward_of.register
def _(layer: MultiHeadAttention, site: Site) -> None:
    sources = layer.sources(site.in_shapes)
    queries, width = sources[0]
    shape = _shape(layer, site, _projected(sources))
    rows, bias, attended = site.batch * queries, layer.bias, site.made("attended")
    grad_attended = site.buffer("grad_attended", (site.batch, queries, width))
    _input_product(site, "out", m=rows, n=width, k=width, grad=site.grad_output, target=grad_attended)
    _parameter_gradients(site, "out", bias, m=rows, n=width, k=width, a=attended, grad=site.grad_output)
    parts = (
        {"qkv": (0, 3 * width)} if shape.packed else dict(zip(PARTS, ((0, width), (1, width), (1, width)), strict=True))
    )
    projected = {part: site.made(part) for part in parts}
    grads = {
        f"grad_{part}": site.buffer(f"grad_{part}", (site.batch, sources[number][0], outs))
        for part, (number, outs) in parts.items()
    }
    _attend_gradients(site, shape, projected, grads, out=attended, grad_out=grad_attended)
    for part, (number, outs) in parts.items():
        length, features = sources[number]
        m, grad = site.batch * length, grads[f"grad_{part}"]
        _parameter_gradients(site, part, bias, m=m, n=outs, k=features, a=site.inputs[number], grad=grad)
        if site.needs[number]:
            target = site.input_gradient(number)
            _input_product(site, part, m=m, n=outs, k=features, grad=grad, target=target)
            site.contribute(target, number)


def _projected(sources: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Shapes of the projected query, key and value."""
    width = sources[0][1]
    return tuple((sources[number][0], width) for number in (0, len(sources) - 1, len(sources) - 1))


def _shape(layer: DotProductAttention | MultiHeadAttention, site: Site, parts: tuple[Shape, ...]) -> AttentionShape:
    """The kernels' sizes for query, key and value of shapes ``parts``."""
    (queries, width), (keys, _), (_, value_width) = parts
    depth = width // layer.heads
    return AttentionShape(
        batch=site.batch,
        heads=layer.heads,
        queries=queries,
        keys=keys,
        depth=depth,
        value_depth=value_width // layer.heads,
        dtype=site.dtype,
        scale=depth**-0.5,
        causal=layer.causal,
        padded=not site.in_shapes[-1],
        dropped=layer.dropout if site.training and layer.dropout else None,
        packed=isinstance(layer, MultiHeadAttention) and len(layer.sources(site.in_shapes)) == 1,
    )


def _masks(site: Site, shape: AttentionShape, *, forward: bool) -> dict[str, str]:
    """The buffers of the masks that the kernels take."""
    found = {"lengths": site.inputs[-1]} if shape.padded else {}
    if shape.dropped is not None:
        found["hyper"] = site.random_key() if forward else f"key:{site.name}"
    return found


def _attend(site: Site, shape: AttentionShape, sources: dict[str, str], *, out: str) -> None:
    logs = site.buffer("logs", shape.scores_shape[:3])
    site.launch(Attention(shape), **sources, **_masks(site, shape, forward=True), out=out, logs=logs)


def _attend_gradients(
    site: Site, shape: AttentionShape, sources: dict[str, str], grads: dict[str, str], *, out: str, grad_out: str
) -> None:
    """The gradients by query, key and value."""
    delta = site.buffer("delta", shape.scores_shape[:3])
    common = {**sources, **_masks(site, shape, forward=False), "logs": site.made("logs"), "grad_out": grad_out}
    common["delta"] = delta
    packed = shape.packed
    by_query = {"grad_qkv": grads["grad_qkv"]} if packed else {"grad_query": grads["grad_query"]}
    by_key = by_query if packed else {name: grads[name] for name in ("grad_key", "grad_value")}
    site.launch(AttentionQueryGradient(shape), **common, **by_query, out=out)
    site.launch(AttentionKeyValueGradient(shape), **common, **by_key)


def _product(site: Site, part: str, bias: bool, *, m: int, n: int, k: int, a: str, out: str) -> None:
    """``out = a·weight + bias`` of one of the layer's products."""
    site.launch(Gemm(m=m, n=n, k=k, dtype=site.dtype), a=a, b=site.variable(f"{part}_weight"), c=out)
    if bias:
        site.launch(BiasAdd(rows=m, channels=n, dtype=site.dtype), y=out, bias=site.variable(f"{part}_bias"))


def _parameter_gradients(site: Site, part: str, bias: bool, *, m: int, n: int, k: int, a: str, grad: str) -> None:
    """The gradients of ``out = a·weight + bias`` by weight and bias."""
    kernel = Gemm(m=k, n=n, k=m, dtype=site.dtype, transpose_a=True)
    site.launch(kernel, a=a, b=grad, c=site.parameter_gradient(f"{part}_weight"))
    if bias:
        sums = ColumnSum(rows=m, columns=n, dtype=site.dtype)
        site.launch(sums, x=grad, total=site.parameter_gradient(f"{part}_bias"))


def _input_product(site: Site, part: str, *, m: int, n: int, k: int, grad: str, target: str) -> None:
    """The gradient of ``out = a·weight + bias`` by a (m, k)."""
    kernel = Gemm(m=m, n=k, k=n, dtype=site.dtype, transpose_b=True)
    site.launch(kernel, a=grad, b=site.variable(f"{part}_weight"), c=target)
