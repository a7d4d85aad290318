"""Layers of sequences and their lengths lowered."""

from __future__ import annotations

from nnlib.kernels.arranging.copying import Copy, shifted_move
from nnlib.kernels.arranging.embedding import GatherRows
from nnlib.kernels.arranging.rows_by_number import Picks
from nnlib.kernels.sequences.lengths import LastStepGradient, LengthsMap
from nnlib.kernels.sequences.row_convolution import Pass
from nnlib.kernels.sequences.row_convolution import RowConvolution as RowConvolutionKernel
from nnlib.layers.sequence import LastStep, RowConvolution, StridedLengths
from nnlib.lowering.site import Site, lower_backward_of, lower_forward_of


@lower_forward_of.register
def _(layer: RowConvolution, site: Site) -> None:
    kernel = _row_convolution(layer, site, "forward")
    site.launch(kernel, x=site.inputs[0], weight=site.variable("weight"), y=site.output(), **_lengths(site))


@lower_backward_of.register
def _(layer: RowConvolution, site: Site) -> None:
    site.launch(
        _row_convolution(layer, site, "weight_gradient"),
        x=site.inputs[0],
        grad_y=site.grad_output,
        grad_weight=site.parameter_gradient("weight"),
        **_lengths(site),
    )
    if site.needs[0]:
        grad = site.input_gradient()
        kernel = _row_convolution(layer, site, "input_gradient")
        weight = site.variable("weight")
        site.launch(kernel, grad_y=site.grad_output, weight=weight, grad_x=grad, **_lengths(site))
        site.contribute(grad)


@lower_forward_of.register
def _(layer: LastStep, site: Site) -> None:
    batch, (steps, channels) = site.batch, site.in_shapes[0]
    if len(site.inputs) == 1:
        move = shifted_move((batch, steps, channels), (batch, 1, channels), (0, steps - 1, 0))
        site.launch(Copy(move, site.dtype), x=site.input, y=site.output())
        return
    last = site.buffer("last", (batch, 1))
    site.launch(LengthsMap(batch=batch, dtype=site.dtype, add=-1), x=site.inputs[1], y=last)
    picks = Picks(samples=batch, tokens=1, rows=steps, width=channels)
    site.launch(GatherRows(picks, site.dtype), tokens=last, table=site.inputs[0], y=site.output())


@lower_backward_of.register
def _(layer: LastStep, site: Site) -> None:
    if not site.needs[0]:
        return
    steps, channels = site.in_shapes[0]
    masked = len(site.inputs) == 2
    kernel = LastStepGradient(batch=site.batch, steps=steps, channels=channels, dtype=site.dtype, masked=masked)
    last = {"last": site.made("last")} if masked else {}
    grad = site.input_gradient()
    site.launch(kernel, grad_y=site.grad_output, grad_x=grad, **last)
    site.contribute(grad)


@lower_forward_of.register
def _(layer: StridedLengths, site: Site) -> None:
    kernel = LengthsMap(
        batch=site.batch, dtype=site.dtype, add=2 * layer.padding - layer.kernel, divide=layer.stride, plus=1
    )
    site.launch(kernel, x=site.input, y=site.output())


def _row_convolution(layer: RowConvolution, site: Site, towards: Pass) -> RowConvolutionKernel:
    steps, channels = site.in_shapes[0]
    return RowConvolutionKernel(
        batch=site.batch,
        steps=steps,
        channels=channels,
        taps=layer.context + 1,
        dtype=site.dtype,
        towards=towards,
        masked=len(site.inputs) == 2,
    )


def _lengths(site: Site) -> dict[str, str]:
    """The argument of kernels that know lengths, if there are any."""
    return {"lengths": site.inputs[1]} if len(site.inputs) == 2 else {}
