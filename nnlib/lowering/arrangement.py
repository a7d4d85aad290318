"""Layers that arrange numbers anew, lowered."""

from __future__ import annotations

from math import prod

from nnlib.kernels.arranging.copying import Concatenate as ConcatenateKernel
from nnlib.kernels.arranging.copying import Copy, Move, shifted_move, whole_move
from nnlib.kernels.arranging.resampling import Resample
from nnlib.kernels.reducing.axis_rules import AxisRule, Bordered, Chosen, Same, Stepped
from nnlib.layers.arrangement import Concatenate, Flatten, Pad, Reshape, Select, Slice, Transpose
from nnlib.layers.layer import Shape
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of
from nnlib.program import Layout


@lower_forward_of.register(Flatten)
@lower_forward_of.register(Reshape)
def _(layer: Flatten | Reshape, site: Site) -> None:
    site.output_is(site.input)


@lower_backward_of.register(Flatten)
@lower_backward_of.register(Reshape)
def _(layer: Flatten | Reshape, site: Site) -> None:
    if site.needs[0]:
        site.pass_gradient()


@lower_forward_of.register
def _(layer: Transpose, site: Site) -> None:
    move = whole_move((site.batch, *site.in_shape), layer.batch_axes)
    site.launch(Copy(move, site.dtype, label="transpose_axes"), x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: Transpose, site: Site) -> None:
    if not site.needs[0]:
        return
    grad = site.input_gradient()
    back = tuple(layer.batch_axes.index(axis) for axis in range(len(layer.batch_axes)))
    move = whole_move((site.batch, *site.out_shape), back)
    site.launch(Copy(move, site.dtype, label="transpose_axes"), x=site.grad_output, y=grad)
    site.contribute(grad)


@lower_forward_of.register
def _(layer: Concatenate, site: Site) -> None:
    axis, layout = _joined(layer, site)
    outer, inner = _around(site, site.out_shape, axis)
    if layout == "planar":
        outer, inner = site.batch, prod(site.out_shape[:-1])
    sizes = tuple(shape[axis] for shape in site.in_shapes)
    arrays = {f"x{number}": site.input_as(layout, number) for number in range(len(sizes))}
    site.launch(ConcatenateKernel(outer, sizes, inner, site.dtype), **arrays, y=site.output(layout))


@lower_backward_of.register
def _(layer: Concatenate, site: Site) -> None:
    axis, layout = _joined(layer, site)
    outer, inner = _around(site, site.out_shape, axis)
    if layout == "planar":
        outer, inner = site.batch, prod(site.out_shape[:-1])
    first = 0
    for number, shape in enumerate(site.in_shapes):
        if site.needs[number]:
            grad = site.input_gradient(number, layout)
            move = shifted_move((outer, site.out_shape[axis], inner), (outer, shape[axis], inner), (0, first, 0))
            site.launch(Copy(move, site.dtype, label="slice"), x=site.grad_output_as(layout), y=grad)
            site.contribute(grad, number)
        first += shape[axis]


def _joined(layer: Concatenate, site: Site) -> tuple[int, Layout]:
    """The axis, and the layout in which inputs are joined: Caffe's where channels are."""
    axis = layer.place(site.out_shape)
    planar = axis == len(site.out_shape) - 1 and site.layout() == "planar"
    return axis, "planar" if planar else "channels-last"


@lower_forward_of.register
def _(layer: Slice, site: Site) -> None:
    axis, places = layer.axis % len(site.in_shape), layer.places(site.in_shape)
    if places.step == 1:
        site.launch(Copy(_slice_move(site, axis, places), site.dtype, label="slice"), x=site.input, y=site.output())
    else:
        rule = Stepped(site.in_shape[axis], places.start, places.step, len(places))
        site.launch(_along(site, site.in_shape, axis, rule, "slice"), x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: Slice, site: Site) -> None:
    if not site.needs[0]:
        return
    axis, places = layer.axis % len(site.in_shape), layer.places(site.in_shape)
    grad = site.input_gradient()
    if places.step == 1:
        move = _slice_move(site, axis, places)
        back = shifted_move(move.target, move.source, tuple(-start for start in move.source_start))
        site.launch(Copy(back, site.dtype, label="slice_gradient"), x=site.grad_output, y=grad)
    else:
        rule = Stepped(site.in_shape[axis], places.start, places.step, len(places))
        kernel = _along(site, site.in_shape, axis, rule, "slice", gradient=True)
        site.launch(kernel, x=site.grad_output, y=grad)
    site.contribute(grad)


@lower_forward_of.register
def _(layer: Pad, site: Site) -> None:
    if layer.mode == "constant":
        site.launch(Copy(_pad_move(layer, site), site.dtype, layer.value, "pad"), x=site.input, y=site.output())
        return
    steps = _border_steps(layer, site)
    if not steps:
        site.output_is(site.input)
        return
    source = site.input
    for number, (axis, shape, after) in enumerate(steps):
        last = number == len(steps) - 1
        target = site.output() if last else site.buffer(f"padded{number}", (site.batch, *after))
        site.launch(_border(layer, site, axis, shape), x=source, y=target)
        source = target


@lower_backward_of.register
def _(layer: Pad, site: Site) -> None:
    if not site.needs[0]:
        return
    if layer.mode == "constant":
        grad = site.input_gradient()
        move = _pad_move(layer, site)
        back = shifted_move(move.target, move.source, tuple(-start for start in move.source_start))
        site.launch(Copy(back, site.dtype, label="pad_gradient"), x=site.grad_output, y=grad)
        site.contribute(grad)
        return
    steps = _border_steps(layer, site)
    if not steps:
        site.pass_gradient()
        return
    source = site.grad_output
    for number, (axis, shape, _) in reversed(list(enumerate(steps))):
        target = site.buffer(f"grad_padded{number}", (site.batch, *shape)) if number else site.input_gradient()
        site.launch(_border(layer, site, axis, shape, gradient=True), x=source, y=target)
        source = target
    site.contribute(source)


@lower_forward_of.register
def _(layer: Select, site: Site) -> None:
    axis, rule = _chosen(layer, site)
    site.launch(_along(site, site.in_shape, axis, rule, "select"), x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: Select, site: Site) -> None:
    if not site.needs[0]:
        return
    axis, rule = _chosen(layer, site)
    grad = site.input_gradient()
    site.launch(_along(site, site.in_shape, axis, rule, "select", gradient=True), x=site.grad_output, y=grad)
    site.contribute(grad)


def _around(site: Site, shape: Shape, axis: int) -> tuple[int, int]:
    """Numbers before an axis of a sample, all samples included, and behind it."""
    return site.batch * prod(shape[:axis]), prod(shape[axis + 1 :])


def _along(site: Site, shape: Shape, axis: int, rule: AxisRule, label: str, *, gradient: bool = False) -> Resample:
    """A map along an axis of samples of ``shape``."""
    outer, inner = _around(site, shape, axis)
    return Resample(outer, rule, Same(1), inner, site.dtype, gradient, label)


def _slice_move(site: Site, axis: int, places: range) -> Move:
    outer, inner = _around(site, site.in_shape, axis)
    return shifted_move((outer, site.in_shape[axis], inner), (outer, len(places), inner), (0, places.start, 0))


def _pad_move(layer: Pad, site: Site) -> Move:
    start = (0, *(-before for before, _ in layer.widths))
    return shifted_move((site.batch, *site.in_shape), (site.batch, *site.out_shape), start)


def _border_steps(layer: Pad, site: Site) -> list[tuple[int, Shape, Shape]]:
    """The axes that get borders, one after the other, and the shapes before and after each."""
    steps = []
    shape = site.in_shape
    for axis, (before, behind) in enumerate(layer.widths):
        if before or behind:
            after = (*shape[:axis], shape[axis] + before + behind, *shape[axis + 1 :])
            steps.append((axis, shape, after))
            shape = after
    return steps


def _border(layer: Pad, site: Site, axis: int, shape: Shape, *, gradient: bool = False) -> Resample:
    before, behind = layer.widths[axis]
    rule = Bordered(shape[axis], before, behind, layer.mode)
    return _along(site, shape, axis, rule, f"pad_{layer.mode}", gradient=gradient)


def _chosen(layer: Select, site: Site) -> tuple[int, AxisRule]:
    axis = layer.axis % len(site.in_shape)
    length = site.in_shape[axis]
    return axis, Chosen(length, tuple(index % length for index in layer.indices))
