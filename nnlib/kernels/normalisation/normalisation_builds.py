"""Normalisations from sizes as a user gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from nnlib.kernels.launch import Launch
from nnlib.kernels.normalisation.batch_normalisation import BatchStatistics
from nnlib.kernels.normalisation.batch_normalisation_gradient import BatchNormalisationGradient, NormalisationSums
from nnlib.kernels.normalisation.group_normalisation import GroupNormalisation, GroupShape
from nnlib.kernels.normalisation.group_normalisation_gradient import GroupNormalisationGradient
from nnlib.kernels.normalisation.local_response import (
    LocalResponseNormalisation,
    LocalResponseNormalisationGradient,
    ResponseWindow,
)
from nnlib.kernels.normalisation.scale_shift import FoldStatistics, ScaleShift
from nnlib.kernels.reducing.reduction import ColumnSum
from nnlib.precision import DTypeName

Sizes = Mapping[str, int]
EPSILON: Final = 1e-5


def batch_norm(sizes: Sizes, dtype: DTypeName) -> tuple[Launch, ...]:
    """In training: statistics, what they and the parameters make of a number, and that done."""
    rows, columns = sizes["rows"], sizes["columns"]
    fold = FoldStatistics(columns, dtype, EPSILON, momentum=0.1, count=max(rows, 2))
    kernels = (BatchStatistics(rows, columns, dtype), fold, ScaleShift(rows, columns, dtype))
    return tuple(Launch.of(kernel) for kernel in kernels)


def batch_norm_gradient(sizes: Sizes, dtype: DTypeName) -> tuple[Launch, ...]:
    shape = sizes["rows"], sizes["columns"], dtype
    return Launch.of(NormalisationSums(*shape)), Launch.of(BatchNormalisationGradient(*shape))


def row_norm(sizes: Sizes, dtype: DTypeName, *, centred: bool) -> tuple[Launch, ...]:
    """Layer normalisation, or root-mean-square normalisation where nothing is centred."""
    return (Launch.of(GroupNormalisation(_rows(sizes, centred), dtype, EPSILON)),)


def row_norm_gradient(sizes: Sizes, dtype: DTypeName, *, centred: bool) -> tuple[Launch, ...]:
    return (
        Launch.of(GroupNormalisationGradient(_rows(sizes, centred), dtype)),
        Launch.of(NormalisationSums(sizes["rows"], sizes["columns"], dtype, "row", centred)),
    )


def group_norm(sizes: Sizes, dtype: DTypeName) -> tuple[Launch, ...]:
    return (Launch.of(GroupNormalisation(_groups(sizes), dtype, EPSILON)),)


def group_norm_gradient(sizes: Sizes, dtype: DTypeName) -> tuple[Launch, ...]:
    """By the numbers, with each sample's part of the parameters' gradients, and these added up."""
    shape = _groups(sizes)
    add = ColumnSum(shape.batch, shape.channels, dtype)
    return (
        Launch.of(GroupNormalisationGradient(shape, dtype, sums=True)),
        Launch.of(add, x="sample_gamma", total="grad_gamma"),
        Launch.of(add, x="sample_beta", total="grad_beta"),
    )


def local_response_norm(sizes: Sizes, dtype: DTypeName) -> tuple[Launch, ...]:
    """AlexNet's window."""
    return (Launch.of(LocalResponseNormalisation(sizes["rows"], sizes["columns"], ResponseWindow(), dtype)),)


def local_response_norm_gradient(sizes: Sizes, dtype: DTypeName) -> tuple[Launch, ...]:
    kernel = LocalResponseNormalisationGradient(sizes["rows"], sizes["columns"], ResponseWindow(), dtype)
    return (Launch.of(kernel),)


def _rows(sizes: Sizes, centred: bool) -> GroupShape:
    return GroupShape(batch=sizes["rows"], pixels=1, channels=sizes["columns"], centred=centred)


def _groups(sizes: Sizes) -> GroupShape:
    return GroupShape(
        batch=sizes["batch"],
        pixels=sizes["rows"],
        channels=sizes["count"] * sizes["columns"],
        groups=sizes["count"],
    )


Build = Callable[[Sizes, DTypeName], tuple[Launch, ...]]
ROWS: Final = {"rows": "rows", "columns": "columns"}
GROUPS: Final = {
    "batch": "samples",
    "rows": "pixels of a sample",
    "count": "groups",
    "columns": "channels of a group",
}
NORMALISATIONS: Final[Mapping[str, tuple[Mapping[str, str], Build, str]]] = {
    "batch_norm": (ROWS, batch_norm, "two passes"),
    "batch_norm_gradient": (ROWS, batch_norm_gradient, "two passes"),
    "layer_norm": (ROWS, partial(row_norm, centred=True), "streaming"),
    "layer_norm_gradient": (ROWS, partial(row_norm_gradient, centred=True), "two passes"),
    "rms_norm": (ROWS, partial(row_norm, centred=False), "streaming"),
    "rms_norm_gradient": (ROWS, partial(row_norm_gradient, centred=False), "two passes"),
    "group_norm": (GROUPS, group_norm, "streaming"),
    "group_norm_gradient": (GROUPS, group_norm_gradient, "streaming"),
    "local_response_norm": (ROWS, local_response_norm, "streaming"),
    "local_response_norm_gradient": (ROWS, local_response_norm_gradient, "streaming"),
}
"""Sizes of which the first is shared out among core groups and what they mean, the launches, and what they do."""
