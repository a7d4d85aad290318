"""Random kernels over sequences, and data for them: recurrent cells and layers, row convolution, CTC."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
from hypothesis import strategies as st

from nnlib.kernels.kernel import Kernel
from nnlib.kernels.sequences.ctc import CtcLoss
from nnlib.kernels.sequences.lengths import LastStepGradient, LengthsMap, StepMask
from nnlib.kernels.sequences.recurrent import RecurrentLayer, RecurrentLayerGradient
from nnlib.kernels.sequences.recurrent_cell import RecurrentCell
from nnlib.kernels.sequences.recurrent_gates import CellName
from nnlib.kernels.sequences.recurrent_shape import RecurrentShape
from nnlib.kernels.sequences.reset_first import ResetFirstGradient, ResetFirstLayer
from nnlib.kernels.sequences.row_convolution import RowConvolution
from nnlib.ops.ctc import log_softmax
from sim.chip.memory import Array

dtypes = st.sampled_from(["fp64", "fp32"])
cells = st.sampled_from(get_args(CellName))
shapes = st.builds(
    RecurrentShape,
    cell=cells,
    batch=st.integers(1, 70),
    steps=st.integers(1, 4),
    hidden=st.integers(1, 40),
    masked=st.booleans(),
    reverse=st.booleans(),
    bias=st.booleans(),
)
units = shapes.map(lambda shape: replace(shape, cell="gru", bias=False))
of_batch = {"batch": st.integers(1, 90), "dtype": dtypes}
sequence_kernels: st.SearchStrategy[Kernel] = st.one_of(
    st.builds(
        RecurrentCell,
        cell=cells,
        batch=st.integers(1, 200),
        hidden=st.integers(1, 200),
        dtype=dtypes,
        direction=st.sampled_from(["forward", "gradient"]),
        masked=st.booleans(),
    ),
    st.builds(
        RecurrentLayer, shape=shapes, dtype=dtypes, resident=st.sampled_from([None, True, False]), fresh=st.booleans()
    ),
    st.builds(
        RecurrentLayerGradient,
        shape=shapes,
        dtype=dtypes,
        resident=st.sampled_from([None, True, False]),
        fresh=st.booleans(),
    ),
    st.builds(
        RowConvolution,
        batch=st.integers(1, 9),
        steps=st.integers(1, 30),
        channels=st.integers(1, 40),
        taps=st.integers(1, 6),
        dtype=dtypes,
        towards=st.sampled_from(["forward", "input_gradient", "weight_gradient"]),
        masked=st.booleans(),
    ),
    st.builds(ResetFirstLayer, shape=units, dtype=dtypes),
    st.builds(ResetFirstGradient, shape=units, dtype=dtypes),
    st.builds(LengthsMap, **of_batch, add=st.integers(-3, 3), divide=st.integers(1, 4), plus=st.integers(-1, 1)),
    st.builds(StepMask, **of_batch, steps=st.integers(1, 90)),
    st.builds(LastStepGradient, **of_batch, steps=st.integers(1, 9), channels=st.integers(1, 70), masked=st.booleans()),
    st.builds(
        CtcLoss,
        batch=st.integers(1, 10),
        steps=st.integers(1, 12),
        classes=st.integers(2, 12),
        labels=st.integers(1, 6),
        dtype=dtypes,
        blank=st.integers(0, 1),
        masked=st.booleans(),
        normalised=st.booleans(),
        zero_infinity=st.booleans(),
    ),
)


def fill_sequences(kernel: Kernel, arrays: dict[str, Array], rng: np.random.Generator) -> None:
    """Masks, lengths and targets as they occur; weights under which states neither explode nor vanish."""
    if "inside" in arrays:
        arrays["inside"][...] = rng.integers(0, 2, arrays["inside"].shape)
    if isinstance(kernel, (RecurrentLayer, RecurrentLayerGradient, ResetFirstLayer, ResetFirstGradient)):
        arrays["weight"] /= np.sqrt(kernel.shape.hidden).astype(arrays["weight"].dtype)
    if isinstance(kernel, RowConvolution) and kernel.masked:
        arrays["lengths"][...] = rng.integers(0, kernel.steps + 1, (kernel.batch, 1))
    if isinstance(kernel, (LengthsMap, StepMask)):
        arrays[kernel.parameters()[0].name][...] = rng.integers(0, 90, (kernel.batch, 1))
    if isinstance(kernel, LastStepGradient) and kernel.masked:
        arrays["last"][...] = rng.integers(0, kernel.steps, (kernel.batch, 1))
    if isinstance(kernel, CtcLoss):
        fill_ctc(kernel, arrays, rng)


def fill_ctc(
    kernel: CtcLoss, arrays: dict[str, Array], rng: np.random.Generator, *, lost: tuple[int, ...] = ()
) -> None:
    """Targets that fit their inputs, but for the samples ``lost``."""
    arrays["log_probs"][...] = log_softmax(arrays["log_probs"])
    counts = rng.integers(0, min(kernel.labels, (kernel.steps + 1) // 2) + 1, kernel.batch)
    others = [label for label in range(kernel.classes) if label != kernel.blank]
    labels = rng.choice(others, (kernel.batch, kernel.labels))
    steps = rng.integers(np.maximum(2 * counts - 1, 1), kernel.steps + 1)
    for sample in lost:
        counts[sample], steps[sample] = min(kernel.labels, 2), 1
        labels[sample] = others[0]
    arrays["targets"][...] = np.where(np.arange(kernel.labels) < counts[:, None], labels, -1)
    if kernel.masked:
        arrays["lengths"][:, 0] = steps
    arrays["weights"][:, 0] = 0.5 + rng.random(kernel.batch)
