"""Random kernels of normalisation, and data for them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from nnlib.kernels.kernel import Kernel
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
from sim.chip.memory import Array

dtypes = st.sampled_from(["fp64", "fp32"])
rows, channels = st.integers(1, 300), st.integers(1, 70)
response_windows = st.builds(
    ResponseWindow, size=st.integers(1, 7), alpha=st.sampled_from([1e-4, 2.0]), beta=st.sampled_from([0.75, 0.5, 1.1])
)


@st.composite
def group_shapes(draw: st.DrawFn) -> GroupShape:
    """Rows and images, one group to one per channel."""
    groups = draw(st.integers(1, 6))
    return GroupShape(
        batch=draw(st.integers(1, 90)),
        pixels=draw(st.sampled_from([1, 1, 5, 13, 49])),
        channels=groups * draw(st.integers(1, 8)),
        groups=groups,
        affine=draw(st.booleans()),
        centred=draw(st.booleans()),
    )


normalisations: st.SearchStrategy[Kernel] = st.one_of(
    st.builds(BatchStatistics, rows=rows, channels=channels, dtype=dtypes),
    st.builds(
        FoldStatistics,
        channels=st.integers(1, 2000),
        dtype=dtypes,
        epsilon=st.just(1e-3),
        affine=st.booleans(),
        momentum=st.sampled_from([None, 0.1, 1.0]),
        count=st.integers(2, 50),
    ),
    st.builds(ScaleShift, rows=rows, channels=channels, dtype=dtypes, shifted=st.booleans()),
    st.builds(
        NormalisationSums,
        rows=rows,
        channels=channels,
        dtype=dtypes,
        statistics_of=st.sampled_from(["channel", "row"]),
        centred=st.booleans(),
    ),
    st.builds(BatchNormalisationGradient, rows=rows, channels=channels, dtype=dtypes, affine=st.booleans()),
    st.builds(GroupNormalisation, shape=group_shapes(), dtype=dtypes, epsilon=st.just(1e-5)),
    st.builds(GroupNormalisationGradient, shape=group_shapes(), dtype=dtypes, sums=st.booleans()),
    st.builds(LocalResponseNormalisation, rows=rows, channels=channels, window=response_windows, dtype=dtypes),
    st.builds(LocalResponseNormalisationGradient, rows=rows, channels=channels, window=response_windows, dtype=dtypes),
)


def fill_normalisation(kernel: Kernel, arrays: dict[str, Array]) -> None:
    """Variances are not negative; sums may not nearly cancel, their error is then large beside them."""
    for name in ("variance", "running_variance"):
        if name in arrays and isinstance(kernel, FoldStatistics):
            arrays[name][...] = np.abs(arrays[name])
    if isinstance(kernel, BatchStatistics):
        arrays["x"] += 1
    if isinstance(kernel, NormalisationSums):
        arrays["grad_y"] += 2
        arrays["x"] += 3
        arrays["inverse_deviation"][...] = np.abs(arrays["inverse_deviation"])
