"""The arrays of a convolution's passes by name, in whatever order of axes, and the passes by whole arrays."""

from __future__ import annotations

from collections.abc import Mapping

from nnlib.kernels.convolutions.convolution import Convolution, Pass, forward, input_gradient, weight_gradient
from nnlib.kernels.kernel import Parameter, Use
from sim.chip.memory import Array, Shape


def pass_parameters(
    which: Pass, *, x: Shape, weight: Shape, y: Shape, out: Use = "out"
) -> tuple[Parameter, Parameter, Parameter]:
    """The arguments of a kernel that does a pass, from the shapes of images, weights and outputs: the result last."""
    match which:
        case "forward":
            return Parameter("x", x, "in"), Parameter("weight", weight, "in", common=True), Parameter("y", y, out)
        case "input_gradient":
            return (
                Parameter("grad_y", y, "in"),
                Parameter("weight", weight, "in", common=True),
                Parameter("grad_x", x, out),
            )
        case "weight_gradient":
            return Parameter("grad_y", y, "in"), Parameter("x", x, "in"), Parameter("grad_weight", weight, out)


def whole_pass(convolution: Convolution, which: Pass, arrays: Mapping[str, Array]) -> Array:
    """The result from the inputs among ``arrays``, all in the reference's order."""
    match which:
        case "forward":
            return forward(convolution, arrays["x"], arrays["weight"])
        case "input_gradient":
            return input_gradient(convolution, arrays["grad_y"], arrays["weight"])
        case "weight_gradient":
            return weight_gradient(convolution, arrays["grad_y"], arrays["x"])
