"""Winograd's F(2×2, 3×3) as a plan: transforms of images and filters around 16 matrix products, for all three passes.

Filters are (3, 3, ni, no) as in the reference, images channels last as there or channels first. The gradient by the
input is the convolution of ``grad_y`` with the filters turned by half a turn, their channels exchanged, under a padding
of 2 - p; the gradient by the weights is the adjoint, G^T [sum over tiles of (B^T d B)^T (A dy A^T)] G.
"""

from __future__ import annotations

from dataclasses import replace

from nnlib.kernels.batched import Batched
from nnlib.kernels.convolutions.channel_groups import per_group
from nnlib.kernels.convolutions.convolution import Convolution, Pass
from nnlib.kernels.generations import DEFAULT_LIBRARY, GENERATIONS, Library
from nnlib.kernels.implicit.resident_plan import plan_resident
from nnlib.kernels.kernel import InfeasiblePlan, Kernel, UnsuitablePlan
from nnlib.kernels.launch import Launch
from nnlib.kernels.order import Order
from nnlib.kernels.products.gemm import Gemm
from nnlib.kernels.winograd.winograd_filters import FilterToPlanes, PlanesToFilter
from nnlib.kernels.winograd.winograd_images import PixelsToPlanes, PlanesToPixels
from nnlib.kernels.winograd.winograd_product import ResidentProduct
from nnlib.kernels.winograd.winograd_tiles import LARGEST_PADDING, PLANES, WHOLE, Grid, Share, check_suitable
from nnlib.precision import DTypeName
from sim.machine.spec import ProcessorSpec


def winograd(
    convolution: Convolution,
    which: Pass,
    *,
    dtype: DTypeName,
    processor: ProcessorSpec,
    library: Library = DEFAULT_LIBRARY,
    order: Order = "channels-last",
    overlapped: bool = True,
    share: Share = WHOLE,
) -> tuple[Launch, ...]:
    """The launches of a core group; arrays are named as the reference's, what lies between them ``winograd_...``.

    ``share``: of several core groups that do one convolution together in one memory, the images' tiles and the planes
    divided among them; the weights' gradient and groups are not divided. ``overlapped``: the products' transfers run
    under their compute. Raises UnsuitablePlan for a convolution that the algorithm cannot do, for a library that did
    not have it, and for groups channels first.
    """
    GENERATIONS[library].check_has("winograd")
    check_suitable(convolution)
    if share.parts > 1 and (convolution.groups > 1 or which == "weight_gradient"):
        raise UnsuitablePlan(kernel="winograd", reason="groups and weight gradients are not divided among core groups")
    if convolution.groups > 1 and order == "channels-first":
        raise UnsuitablePlan(kernel="winograd", reason="groups are copied out only where channels lie last")
    if convolution.groups > 1:
        return per_group(
            convolution,
            which,
            dtype=dtype,
            plan=lambda one: winograd(
                one, which, dtype=dtype, processor=processor, library=library, order=order, overlapped=overlapped
            ),
        )
    match which:
        case "forward":
            return _forward(
                convolution, dtype, processor, library, order, overlapped, share, source="x", target="y", rotated=False
            )
        case "input_gradient":
            turned = replace(
                convolution,
                ni=convolution.no,
                no=convolution.ni,
                ri=convolution.ro,
                ci=convolution.co,
                padding=LARGEST_PADDING - convolution.padding,
            )
            return _forward(
                turned,
                dtype,
                processor,
                library,
                order,
                overlapped,
                share,
                source="grad_y",
                target="grad_x",
                rotated=True,
            )
        case "weight_gradient":
            return _weight_gradient(convolution, dtype, library, order)


def _forward(
    convolution: Convolution,
    dtype: DTypeName,
    processor: ProcessorSpec,
    library: Library,
    order: Order,
    overlapped: bool,
    share: Share,
    *,
    source: str,
    target: str,
    rotated: bool,
) -> tuple[Launch, ...]:
    """Filters and images to planes, the products, planes to images."""
    grid, ni, no = Grid.of(convolution), convolution.ni, convolution.no
    filters, seen, made = f"winograd_{source}_filter", f"winograd_{source}_planes", f"winograd_{target}_planes"
    images = PixelsToPlanes(
        grid=grid, channels=ni, padding=convolution.padding, side="input", dtype=dtype, order=order, share=share
    )
    # rotated filters keep the order of their channels: the product takes them transposed
    stored = (no, ni) if rotated else (ni, no)
    transform = FilterToPlanes(ni=stored[0], no=stored[1], dtype=dtype, rotated=rotated)
    planes = share.of(PLANES)
    product = ResidentProduct(
        planes=PLANES,
        m=grid.tiles,
        n=no,
        k=ni,
        dtype=dtype,
        transpose_b=rotated,
        order=order,
        first=planes.start,
        count=len(planes),
        overlapped=overlapped,
        library=library,
    )
    kernel: Kernel = product
    left, right = seen, filters
    try:
        plan_resident(shape=product.shape, processor=processor)
    except InfeasiblePlan:
        gemm = Gemm(m=grid.tiles, n=no, k=ni, dtype=dtype, transpose_b=rotated, library=library)
        if order == "channels-first":
            gemm = Gemm(m=no, n=grid.tiles, k=ni, dtype=dtype, transpose_a=not rotated, library=library)
            left, right = right, left
        kernel = Batched(kernel=gemm, total=PLANES, first=planes.start, count=len(planes))
    pixels = PlanesToPixels(grid=grid, channels=no, dtype=dtype, order=order, share=share)
    return (
        Launch.of(transform, planes=filters),
        Launch.of(images, image=source, planes=seen),
        Launch.of(kernel, a=left, b=right, c=made),
        Launch.of(pixels, planes=made, image=target),
    )


def _weight_gradient(convolution: Convolution, dtype: DTypeName, library: Library, order: Order) -> tuple[Launch, ...]:
    """Images and gradients to planes, the products over all tiles, planes to filters."""
    grid, ni, no = Grid.of(convolution), convolution.ni, convolution.no
    images = PixelsToPlanes(grid=grid, channels=ni, padding=convolution.padding, side="input", dtype=dtype, order=order)
    gradients = PixelsToPlanes(grid=grid, channels=no, padding=0, side="output", dtype=dtype, order=order)
    last = order == "channels-last"
    gemm = Gemm(m=ni, n=no, k=grid.tiles, dtype=dtype, transpose_a=last, transpose_b=not last, library=library)
    return (
        Launch.of(images, image="x", planes="winograd_x_planes"),
        Launch.of(gradients, image="grad_y", planes="winograd_grad_y_planes"),
        Launch.of(
            Batched(kernel=gemm, total=PLANES),
            a="winograd_x_planes",
            b="winograd_grad_y_planes",
            c="winograd_grad_weight_planes",
        ),
        Launch.of(
            PlanesToFilter(ni=ni, no=no, dtype=dtype), planes="winograd_grad_weight_planes", weight="grad_weight"
        ),
    )
