"""What a rank launches for layers at which ranks exchange numbers, and for its part of other layers.

The exchange itself is no launch: the network's time for it is added where the layer stands. Parts are sent and arrive
one behind the other, so they are moved from and to their places along the last axis.
"""

from __future__ import annotations

from math import prod

from nnlib.kernels.arranging.copying import Concatenate, Copy, shifted_move, whole_move
from nnlib.layers.dropout import Dropout
from nnlib.layers.layer import Layer
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of
from workloads.parallel.exchange import CopyIn, GatherOut, ScatterOut, SumOut
from workloads.parallel.layer_parts import AttentionPart, DropoutPart, EmbeddingPart


@lower_forward_of.register(CopyIn)
@lower_forward_of.register(SumOut)
def _(layer: CopyIn | SumOut, site: Site) -> None:
    site.output_is(site.input)


@lower_backward_of.register(CopyIn)
@lower_backward_of.register(SumOut)
def _(layer: CopyIn | SumOut, site: Site) -> None:
    if site.needs[0]:
        site.pass_gradient()


@lower_forward_of.register
def _(layer: GatherOut, site: Site) -> None:
    rows, part = _rows(layer, site)
    own = {"x0": site.input}
    others = {f"x{rank}": site.buffer(f"part{rank}", (site.batch, *site.in_shape)) for rank in range(1, layer.ways)}
    padded, length = part * layer.ways, site.out_shape[-1] // len(layer.runs)
    y = site.output() if padded == length else site.buffer("padded", (rows, padded))
    site.launch(Concatenate(rows, (part,) * layer.ways, 1, site.dtype), **own, **others, y=y)
    if padded != length:
        move = shifted_move((rows, padded, 1), (rows, length, 1), (0, 0, 0))
        site.launch(Copy(move, site.dtype, label="slice"), x=y, y=site.output())


@lower_backward_of.register
def _(layer: GatherOut, site: Site) -> None:
    if not site.needs[0]:
        return
    rows, part = _rows(layer, site)
    grad = site.input_gradient()
    move = shifted_move((rows, site.out_shape[-1] // len(layer.runs), 1), (rows, part, 1), (0, 0, 0))
    site.launch(Copy(move, site.dtype, label="slice"), x=site.grad_output, y=grad)
    site.contribute(grad)


@lower_forward_of.register
def _(layer: ScatterOut, site: Site) -> None:
    rows, part = site.batch * prod(site.in_shape[:-1]), site.out_shape[-1]
    packed = site.buffer("packed", (layer.ways, rows, part))
    move = whole_move((rows, layer.ways, part), (1, 0, 2))
    site.launch(Copy(move, site.dtype, label="transpose_axes"), x=site.input, y=packed)
    site.output()


@lower_backward_of.register
def _(layer: ScatterOut, site: Site) -> None:
    if not site.needs[0]:
        return
    rows, part = site.batch * prod(site.in_shape[:-1]), site.out_shape[-1]
    own = {"x0": site.grad_output}
    shape = (site.batch, *site.out_shape)
    others = {f"x{rank}": site.buffer(f"grad_part{rank}", shape) for rank in range(1, layer.ways)}
    grad = site.input_gradient()
    site.launch(Concatenate(rows, (part,) * layer.ways, 1, site.dtype), **own, **others, y=grad)
    site.contribute(grad)


@lower_forward_of.register(DropoutPart)
@lower_forward_of.register(AttentionPart)
@lower_forward_of.register(EmbeddingPart)
def _(layer: DropoutPart | AttentionPart | EmbeddingPart, site: Site) -> None:
    alone = _alone(layer)
    lower_forward_of.dispatch(type(alone))(alone, site)


@lower_backward_of.register(DropoutPart)
@lower_backward_of.register(AttentionPart)
@lower_backward_of.register(EmbeddingPart)
def _(layer: DropoutPart | AttentionPart | EmbeddingPart, site: Site) -> None:
    alone = _alone(layer)
    lower_backward_of.dispatch(type(alone))(alone, site)


def _alone(layer: DropoutPart | AttentionPart | EmbeddingPart) -> Layer:
    """The library's layer whose kernels take as long: which numbers vanish changes no time."""
    return Dropout(layer.name, layer.rate) if isinstance(layer, DropoutPart) else layer.alone


def _rows(layer: GatherOut, site: Site) -> tuple[int, int]:
    """Stretches that are put together in a batch, and the length of a rank's part of each."""
    runs = len(layer.runs)
    return site.batch * prod(site.in_shape[:-1]) * runs, site.in_shape[-1] // runs
