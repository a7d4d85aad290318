"""The data order of the implicit convolution plans: pixels first, then channels, images last (SWCAFFE, TACO18).

Images are (rows, columns, channels, batch) and weights (kr, kc, no, ni of a group), so that a pixel is a matrix of
channels × batch that a mesh GEMM takes as it lies. The reference keeps channels last; here both orders meet.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nnlib.kernels.convolution import Convolution, Pass, forward, input_gradient, weight_gradient
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
    x, y, weight = x_shape(convolution), y_shape(convolution), weight_shape(convolution)
    match which:
        case "forward":
            return Parameter("x", x, "in"), Parameter("weight", weight, "in", common=True), Parameter("y", y, "out")
        case "input_gradient":
            return (
                Parameter("grad_y", y, "in"),
                Parameter("weight", weight, "in", common=True),
                Parameter("grad_x", x, "out"),
            )
        case "weight_gradient":
            return Parameter("grad_y", y, "in"), Parameter("x", x, "in"), Parameter("grad_weight", weight, "out")


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
    match which:
        case "forward":
            x, weight = images_to_channels_last(arrays["x"]), swap_weight_order(arrays["weight"])
            arrays["y"][...] = images_to_pixel_major(forward(convolution, x, weight))
        case "input_gradient":
            grad_y, weight = images_to_channels_last(arrays["grad_y"]), swap_weight_order(arrays["weight"])
            arrays["grad_x"][...] = images_to_pixel_major(input_gradient(convolution, grad_y, weight))
        case "weight_gradient":
            grad_y, x = images_to_channels_last(arrays["grad_y"]), images_to_channels_last(arrays["x"])
            arrays["grad_weight"][...] = swap_weight_order(weight_gradient(convolution, grad_y, x))
