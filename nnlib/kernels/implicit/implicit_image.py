"""Convolution by implicit GEMM, image-size-aware: blocks of output columns of some images (SWDNN17 algorithm 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.convolutions.passes import pass_parameters, whole_pass
from nnlib.kernels.generations import Library
from nnlib.kernels.implicit.image_plan import ImagePass, ImagePlan, check_plan
from nnlib.kernels.implicit.implicit_image_pixels import PixelProgram
from nnlib.kernels.implicit.implicit_image_weights import WeightProgram
from nnlib.kernels.implicit.pixel_major import swap_weight_order, weight_shape
from nnlib.kernels.kernel import Arguments, Parameter, Use
from nnlib.precision import DTypeName
from sim.chip.memory import Array

if TYPE_CHECKING:
    from sim.chip.core_group import CoreGroup


@dataclass(frozen=True, kw_only=True)
class ImplicitImage:
    """A pass of ``convolution`` by ``plan``.

    ``share``: the rows of the output that this core group computes, from one to before another; None for all.
    """

    convolution: Convolution
    which: Pass
    dtype: DTypeName
    library: Library
    plan: ImagePlan
    share: tuple[int, int] | None = None

    @property
    def task(self) -> ImagePass:
        return ImagePass(
            convolution=self.convolution, which=self.which, dtype=self.dtype, library=self.library, share=self.share
        )

    @property
    def name(self) -> str:
        return self.task.name

    def parameters(self) -> tuple[Parameter, ...]:
        """Images in the plan's order, weights as (kr, kc, no, ni of a group)."""
        x, y = (each.shape for each in self.task.images(self.plan.order))
        out: Use = "out" if self.share is None or self.which == "weight_gradient" else "inout"
        return pass_parameters(self.which, x=x, weight=weight_shape(self.convolution), y=y, out=out)

    def reference(self, arrays: Mapping[str, Array]) -> None:
        """The pass by whole arrays."""
        x, y = self.task.images(self.plan.order)
        images = {"x": x, "grad_x": x, "y": y, "grad_y": y}
        rows = slice(*(self.share or (0, None)))
        *inputs, output = self.parameters()
        given = {
            each.name: swap_weight_order(arrays[each.name])
            if each.common
            else images[each.name].channels_last(arrays[each.name])
            for each in inputs
        }
        if self.which == "weight_gradient":
            summed = np.zeros_like(given["grad_y"])
            summed[:, rows] = given["grad_y"][:, rows]
            given["grad_y"] = summed
        result = whole_pass(replace(self.convolution, batch=x.stored_batch), self.which, given)
        if self.which == "weight_gradient":
            arrays[output.name][...] = swap_weight_order(result)
        else:
            target = images[output.name]
            target.rows_of(arrays[output.name], rows)[...] = target.rows_of(target.stored(result), rows)

    def program(self, core_group: CoreGroup, arguments: Arguments) -> None:
        """The tile program. Raises InfeasiblePlan and UnsuitablePlan."""
        check_plan(self.task, self.plan, core_group.processor)
        if self.which == "weight_gradient":
            WeightProgram(self.task, self.plan, core_group, arguments).run()
        else:
            PixelProgram(self.task, self.plan, core_group, arguments).run()
