"""Pooling lowered."""

from __future__ import annotations

from collections.abc import Sequence

from nnlib.kernels.arranging.resampling import Resample
from nnlib.kernels.pointwise.broadcasting import Repeat
from nnlib.kernels.reducing import pooling as kernels
from nnlib.kernels.reducing.axis_reduction import AxisMaxGradient, AxisReduce
from nnlib.kernels.reducing.axis_rules import Averaged, AxisRule, Binned, BinPixels, Same
from nnlib.kernels.reducing.pool_window import PoolWindow
from nnlib.layers import (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    AveragePool1d,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxPool1d,
)
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.ops.pool_axis import PoolAxis
from nnlib.program import Layout

for _kind in (
    AdaptiveAveragePool,
    AdaptiveMaxPool,
    AveragePool,
    AveragePool1d,
    GlobalAveragePool,
    GlobalMaxPool,
    MaxPool,
    MaxPool1d,
):
    part_of.register(_kind, lambda _: "pool")


@lower_forward_of.register(MaxPool)
@lower_forward_of.register(MaxPool1d)
def _(layer: MaxPool | MaxPool1d, site: Site) -> None:
    layout = site.layout()
    kernel = kernels.MaxPool(_window(layer, site, layout), site.dtype)
    site.launch(kernel, x=site.input_as(layout), y=site.output(layout))


@lower_backward_of.register(MaxPool)
@lower_backward_of.register(MaxPool1d)
def _(layer: MaxPool | MaxPool1d, site: Site) -> None:
    if not site.needs[0]:
        return
    layout = site.layout()
    grad = site.input_gradient(layout=layout)
    kernel = kernels.MaxPoolGradient(_window(layer, site, layout), site.dtype)
    site.launch(kernel, x=site.input_as(layout), grad_y=site.grad_output_as(layout), grad_x=grad)
    site.contribute(grad)


@lower_forward_of.register(AveragePool)
@lower_forward_of.register(AveragePool1d)
def _(layer: AveragePool | AveragePool1d, site: Site) -> None:
    layout = site.layout()
    kernel = _average(layer, site, layout, gradient=False)
    site.launch(kernel, x=site.input_as(layout), y=site.output(layout))


@lower_backward_of.register(AveragePool)
@lower_backward_of.register(AveragePool1d)
def _(layer: AveragePool | AveragePool1d, site: Site) -> None:
    if not site.needs[0]:
        return
    layout = site.layout()
    grad = site.input_gradient(layout=layout)
    site.launch(_average(layer, site, layout, gradient=True), x=site.grad_output_as(layout), y=grad)
    site.contribute(grad)


@lower_forward_of.register
def _(layer: GlobalAveragePool, site: Site) -> None:
    _global_average(site)


@lower_backward_of.register
def _(layer: GlobalAveragePool, site: Site) -> None:
    if site.needs[0]:
        _global_average_gradient(site)


@lower_forward_of.register
def _(layer: GlobalMaxPool, site: Site) -> None:
    pixels, channels = _pixels(site)
    site.launch(AxisReduce("max", site.batch, pixels, channels, site.dtype), x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: GlobalMaxPool, site: Site) -> None:
    if not site.needs[0]:
        return
    pixels, channels = _pixels(site)
    grad = site.input_gradient()
    kernel = AxisMaxGradient(site.batch, pixels, channels, site.dtype)
    site.launch(kernel, x=site.input, y=site.name, grad_y=site.grad_output, grad_x=grad)
    site.contribute(grad)


@lower_forward_of.register
def _(layer: AdaptiveAveragePool, site: Site) -> None:
    if site.out_shape[:2] == (1, 1):
        _global_average(site)
    else:
        site.launch(_binned(site, gradient=False), x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: AdaptiveAveragePool, site: Site) -> None:
    if not site.needs[0]:
        return
    if site.out_shape[:2] == (1, 1):
        _global_average_gradient(site)
        return
    grad = site.input_gradient()
    site.launch(_binned(site, gradient=True), x=site.grad_output, y=grad)
    site.contribute(grad)


@lower_forward_of.register
def _(layer: AdaptiveMaxPool, site: Site) -> None:
    out = site.output()
    source = site.input
    if not _even(site):
        source = site.buffer("bins", _bins_shape(site))
        site.launch(_spread(site, gradient=False), x=site.input, y=source)
    site.launch(kernels.MaxPool(_bin_window(site), site.dtype), x=source, y=out)


@lower_backward_of.register
def _(layer: AdaptiveMaxPool, site: Site) -> None:
    if not site.needs[0]:
        return
    grad = site.input_gradient()
    kernel = kernels.MaxPoolGradient(_bin_window(site), site.dtype)
    if _even(site):
        site.launch(kernel, x=site.input, grad_y=site.grad_output, grad_x=grad)
    else:
        of_bins = site.buffer("grad_bins", _bins_shape(site))
        site.launch(kernel, x=site.made("bins"), grad_y=site.grad_output, grad_x=of_bins)
        site.launch(_spread(site, gradient=True), x=of_bins, y=grad)
    site.contribute(grad)


def _two(axes: Sequence[PoolAxis]) -> tuple[PoolAxis, PoolAxis]:
    """Windows along rows and columns; a sequence is an image of one column."""
    return (axes[0], axes[1]) if len(axes) == 2 else (axes[0], PoolAxis(1, 1, 1))


def _images(site: Site, layout: Layout) -> tuple[int, int]:
    """Images and their channels: in Caffe's order every channel is an image, with pixels first images are channels."""
    channels = site.in_shape[-1]
    match layout:
        case "channels-last":
            return site.batch, channels
        case "planar":
            return site.batch * channels, 1
        case "pixels-first":
            return 1, channels * site.batch


def _window(layer: MaxPool | MaxPool1d, site: Site, layout: Layout) -> PoolWindow:
    rows, columns = _two(layer.axes(site.in_shape))
    images, channels = _images(site, layout)
    return PoolWindow(images, rows, columns, channels)


def _average(layer: AveragePool | AveragePool1d, site: Site, layout: Layout, *, gradient: bool) -> Resample:
    rows, columns = (Averaged(pool, layer.count_padding) for pool in _two(layer.axes(site.in_shape)))
    images, channels = _images(site, layout)
    return Resample(images, rows, columns, channels, site.dtype, gradient, "average_pool")


def _pixels(site: Site) -> tuple[int, int]:
    """Pixels and channels of a sample."""
    channels = site.in_shape[-1]
    pixels = 1
    for length in site.in_shape[:-1]:
        pixels *= length
    return pixels, channels


def _global_average(site: Site) -> None:
    layout: Layout = "planar" if site.layout() == "planar" else "channels-last"
    pixels, _ = _pixels(site)
    images, channels = _images(site, layout)
    kernel = AxisReduce("mean", images, pixels, channels, site.dtype)
    site.launch(kernel, x=site.input_as(layout), y=site.output())


def _global_average_gradient(site: Site) -> None:
    layout: Layout = "planar" if site.layout() == "planar" else "channels-last"
    pixels, _ = _pixels(site)
    images, channels = _images(site, layout)
    grad = site.input_gradient(layout=layout)
    kernel = Repeat((images, 1, channels), (images, pixels, channels), site.dtype, 1 / pixels)
    site.launch(kernel, x=site.grad_output, y=grad)
    site.contribute(grad)


def _binned(site: Site, *, gradient: bool) -> Resample:
    rows, columns = (Binned(length, size) for length, size in _bins(site))
    return Resample(site.batch, rows, columns, site.in_shape[-1], site.dtype, gradient, "adaptive_average_pool")


def _bins(site: Site) -> list[tuple[int, int]]:
    """Pixels and bins along rows and columns."""
    return list(zip(site.in_shape[:2], site.out_shape[:2], strict=True))


def _even(site: Site) -> bool:
    """True if all bins are side by side and equally large."""
    return all(length % size == 0 for length, size in _bins(site))


def _bin_window(site: Site) -> PoolWindow:
    """Windows over bins that lie side by side."""
    rows, columns = (
        PoolAxis(size * BinPixels(length, size).width, BinPixels(length, size).width, BinPixels(length, size).width)
        for length, size in _bins(site)
    )
    return PoolWindow(site.batch, rows, columns, site.in_shape[-1])


def _bins_shape(site: Site) -> tuple[int, ...]:
    return _bin_window(site).image


def _spread(site: Site, *, gradient: bool) -> Resample:
    """The pixels of bins that overlap or differ in size, bin by bin."""
    rules: list[AxisRule] = [
        Same(length) if length == size else BinPixels(length, size) for length, size in _bins(site)
    ]
    return Resample(site.batch, rules[0], rules[1], site.in_shape[-1], site.dtype, gradient, "bin_pixels")
