"""Embeddings and gathering lowered. Gradients are added in the order of the rows, so tokens are sorted first."""

from __future__ import annotations

from math import prod

from nnlib.kernels.arranging.copying import Copy, shifted_move, whole_move
from nnlib.kernels.arranging.embedding import GatherRows
from nnlib.kernels.arranging.rows_by_number import Picks
from nnlib.kernels.arranging.scatter import ScatterAddRows
from nnlib.kernels.arranging.sorting import SortTokens
from nnlib.kernels.pointwise.broadcasting import Broadcast
from nnlib.kernels.reducing.axis_reduction import AxisReduce
from nnlib.layers.embedding import Embedding, Gather, PositionEmbedding
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: Embedding, site: Site) -> None:
    kernel = GatherRows(_picks(layer, site), site.dtype)
    site.launch(kernel, tokens=site.input, table=site.variable("weight"), y=site.output())


@lower_backward_of.register
def _(layer: Embedding, site: Site) -> None:
    picks = _picks(layer, site)
    _scatter(site, picks, tokens=site.input, grad=site.grad_output, total=site.parameter_gradient("weight"))


@lower_forward_of.register
def _(layer: PositionEmbedding, site: Site) -> None:
    table = site.variable("weight")
    whole = site.lowering.graph.variables[table]
    if whole != site.in_shape:
        rows = site.buffer("rows", site.in_shape)
        site.launch(Copy(shifted_move(whole, site.in_shape, (0, 0)), site.dtype, label="slice"), x=table, y=rows)
        table = rows
    kernel = Broadcast("add", (site.batch, *site.in_shape), (1, *site.in_shape), site.dtype)
    site.launch(kernel, x=site.input, y=table, z=site.output())


@lower_backward_of.register
def _(layer: PositionEmbedding, site: Site) -> None:
    whole = site.lowering.graph.variables[site.variable("weight")]
    total = site.parameter_gradient("weight")
    grad = total if whole == site.in_shape else site.buffer("grad_rows", site.in_shape)
    kernel = AxisReduce("sum", 1, site.batch, prod(site.in_shape), site.dtype)
    site.launch(kernel, x=site.grad_output, y=grad)
    if grad != total:
        site.launch(Copy(shifted_move(site.in_shape, whole, (0, 0)), site.dtype, label="pad"), x=grad, y=total)
    if site.needs[0]:
        site.pass_gradient()


@lower_forward_of.register
def _(layer: Gather, site: Site) -> None:
    picks = _gather_picks(layer, site)
    table, tokens = site.inputs
    outer, length, inner = _around(layer, site)
    if outer == 1:
        site.launch(GatherRows(picks, site.dtype), tokens=tokens, table=table, y=site.output())
        return
    rows = site.buffer("rows", (site.batch, length, outer, inner))
    to_rows = whole_move((site.batch, outer, length, inner), (0, 2, 1, 3))
    site.launch(Copy(to_rows, site.dtype, label="transpose_axes"), x=table, y=rows)
    found = site.buffer("found", (site.batch, picks.tokens, outer, inner))
    site.launch(GatherRows(picks, site.dtype), tokens=tokens, table=rows, y=found)
    back = whole_move((site.batch, picks.tokens, outer, inner), (0, 2, 1, 3))
    site.launch(Copy(back, site.dtype, label="transpose_axes"), x=found, y=site.output())


@lower_backward_of.register
def _(layer: Gather, site: Site) -> None:
    if not site.needs[0]:
        return
    picks = _gather_picks(layer, site)
    outer, length, inner = _around(layer, site)
    grad = site.input_gradient(0)
    if outer == 1:
        _scatter(site, picks, tokens=site.inputs[1], grad=site.grad_output, total=grad)
    else:
        of_found = site.buffer("grad_found", (site.batch, picks.tokens, outer, inner))
        to_rows = whole_move((site.batch, outer, picks.tokens, inner), (0, 2, 1, 3))
        site.launch(Copy(to_rows, site.dtype, label="transpose_axes"), x=site.grad_output, y=of_found)
        of_rows = site.buffer("grad_rows", (site.batch, length, outer, inner))
        _scatter(site, picks, tokens=site.inputs[1], grad=of_found, total=of_rows)
        back = whole_move((site.batch, length, outer, inner), (0, 2, 1, 3))
        site.launch(Copy(back, site.dtype, label="transpose_axes"), x=of_rows, y=grad)
    site.contribute(grad, 0)


def _picks(layer: Embedding, site: Site) -> Picks:
    """All tokens of a batch pick from one table."""
    return Picks(samples=1, tokens=site.elements(site.in_shape), rows=layer.count, width=layer.features)


def _around(layer: Gather, site: Site) -> tuple[int, int, int]:
    """Of a sample the numbers before the axis, along it and behind it."""
    shape = site.in_shapes[0]
    axis = layer.place(shape)
    return prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])


def _gather_picks(layer: Gather, site: Site) -> Picks:
    """The tokens of each sample pick from it."""
    outer, length, inner = _around(layer, site)
    return Picks(samples=site.batch, tokens=prod(site.in_shapes[1]), rows=length, width=outer * inner)


def _scatter(site: Site, picks: Picks, *, tokens: str, grad: str, total: str) -> None:
    rows, order = (site.buffer(name, (picks.number,)) for name in ("sorted", "order"))
    site.launch(SortTokens(picks, site.dtype), tokens=tokens, rows=rows, order=order)
    site.launch(ScatterAddRows(picks, site.dtype), rows=rows, order=order, grad=grad, total=total)
