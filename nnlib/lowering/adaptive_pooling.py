"""Pooling of bins that cover the image lowered."""

from __future__ import annotations

from nnlib.kernels.arranging.resampling import Resample
from nnlib.kernels.reducing import pooling as kernels
from nnlib.kernels.reducing.axis_rules import AxisRule, Binned, BinPixels, Same
from nnlib.kernels.reducing.pool_window import PoolWindow
from nnlib.layers.adaptive_pooling import AdaptiveAveragePool, AdaptiveMaxPool
from nnlib.lowering.global_pooling import global_average, global_average_gradient
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of, part_of
from nnlib.ops.pool_axis import PoolAxis

part_of.register(AdaptiveAveragePool, lambda _: "pool")
part_of.register(AdaptiveMaxPool, lambda _: "pool")


@lower_forward_of.register
def _(layer: AdaptiveAveragePool, site: Site) -> None:
    if site.out_shape[:2] == (1, 1):
        global_average(site)
    else:
        site.launch(_binned(site, gradient=False), x=site.input, y=site.output())


@lower_backward_of.register
def _(layer: AdaptiveAveragePool, site: Site) -> None:
    if not site.needs[0]:
        return
    if site.out_shape[:2] == (1, 1):
        global_average_gradient(site)
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
