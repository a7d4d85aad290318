"""The data order of the implicit convolution plans: pixels first, then channels, images last (SWCAFFE, TACO18).

Images are (rows, columns, channels, batch) and weights (kr, kc, no, ni of a group), so that a pixel is a matrix of
channels × batch that a mesh GEMM takes as it lies. The reference keeps channels last; here both orders meet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.passes import pass_parameters, whole_pass
from nnlib.kernels.kernel import Parameter
from sim.chip.memory import Array, Shape


def x_shape(convolution: Convolution) -> Shape:
    """Images and their gradient: (ri, ci, ni, batch)."""
    return convolution.ri, convolution.ci, convolution.ni, convolution.batch


def y_shape(convolution: Convolution) -> Shape:
    """Outputs and their gradient: (ro, co, no, batch)."""
    return convolution.ro, convolution.co, convolution.no, convolution.batch


def weight_shape(convolution: Convolution) -> Shape:
    """Weights and their gradient: (kr, kc, no, ni of a group)."""
    return convolution.kr, convolution.kc, convolution.no, convolution.group_ni


def parameters(convolution: Convolution, which: Pass) -> tuple[Parameter, ...]:
    """The arguments of an implicit plan's kernel: two inputs and the output."""
    return pass_parameters(which, x=x_shape(convolution), weight=weight_shape(convolution), y=y_shape(convolution))


def images_to_pixel_major(images: Array) -> Array:
    """(batch, rows, columns, channels) to (rows, columns, channels, batch)."""
    return np.ascontiguousarray(images.transpose(1, 2, 3, 0))


def images_to_channels_last(images: Array) -> Array:
    """(rows, columns, channels, batch) to (batch, rows, columns, channels)."""
    return np.ascontiguousarray(images.transpose(3, 0, 1, 2))


def swap_weight_order(weight: Array) -> Array:
    """(kr, kc, ni of a group, no) to (kr, kc, no, ni of a group), and back."""
    return np.ascontiguousarray(weight.swapaxes(2, 3))


def reference(convolution: Convolution, which: Pass, arrays: Mapping[str, Array]) -> None:
    """The pass by whole arrays: from pixel-major inputs into the pixel-major output."""
    *inputs, output = parameters(convolution, which)
    result = whole_pass(
        convolution,
        which,
        {
            each.name: (swap_weight_order if each.common else images_to_channels_last)(arrays[each.name])
            for each in inputs
        },
    )
    arrays[output.name][...] = (swap_weight_order if which == "weight_gradient" else images_to_pixel_major)(result)
