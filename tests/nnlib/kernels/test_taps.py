"""The pixels that a convolution brings together, against the definition; the pixel-major order, against loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nnlib.kernels.convolutions.convolution import PASSES, Convolution, Pass
from nnlib.kernels.convolutions.taps import Taps
from nnlib.kernels.implicit import pixel_major


@st.composite
def convolutions(draw: st.DrawFn, *, channels: int = 1) -> Convolution:
    kr, kc = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    padding, dilation = draw(st.integers(0, 4)), draw(st.integers(1, 3))
    groups = draw(st.integers(1, min(2, channels)))
    least = [max(1, (k - 1) * dilation + 1 - 2 * padding) for k in (kr, kc)]
    return Convolution(
        batch=draw(st.integers(1, 3)),
        ni=groups * draw(st.integers(1, channels)),
        no=groups * draw(st.integers(1, channels)),
        ri=draw(st.integers(least[0], least[0] + 9)),
        ci=draw(st.integers(least[1], least[1] + 9)),
        kr=kr,
        kc=kc,
        stride=draw(st.integers(1, 3)),
        padding=padding,
        dilation=dilation,
        groups=groups,
    )


def brought_together(convolution: Convolution) -> set[tuple[int, int, int]]:
    """(output row, tap, input row) inside both images."""
    triples = (
        (q, t, q * convolution.stride - convolution.padding + t * convolution.dilation)
        for q in range(convolution.ro)
        for t in range(convolution.kr)
    )
    return {(q, t, p) for q, t, p in triples if 0 <= p < convolution.ri}


@given(convolution=convolutions(), which=st.sampled_from(PASSES))
def test_taps_are_those_of_the_definition(convolution: Convolution, which: Pass) -> None:
    taps = Taps.of(convolution, which, "rows")
    backward = which == "input_gradient"
    by_target = {(q, t, s) for q in range(taps.targets) for t, s in taps.sources_of(q)}
    by_source = {(q, t, s) for s in range(taps.sources) for t, q in taps.targets_of(s)}
    expected = {(p, t, q) if backward else (q, t, p) for q, t, p in brought_together(convolution)}
    assert by_target == by_source == expected


@given(convolution=convolutions(), which=st.sampled_from(PASSES))
def test_steady_targets_are_those_away_from_edges(convolution: Convolution, which: Pass) -> None:
    taps = Taps.of(convolution, which, "rows")
    steady = taps.steady

    def unlimited(target: int) -> list[int]:
        shift = [tap * taps.dilation - taps.padding for tap in range(taps.taps)]
        if not taps.backward:
            return list(range(taps.taps))
        return [tap for tap, by in enumerate(shift) if (target - by) % taps.stride == 0]

    for target in range(taps.targets):
        whole = [tap for tap, _ in taps.sources_of(target)] == unlimited(target)
        if target in steady:
            assert whole
            if target + taps.period in steady:
                here, there = taps.sources_of(target), taps.sources_of(target + taps.period)
                assert [(tap, source + taps.advance) for tap, source in here] == list(there)
        elif whole and unlimited(target) == list(range(taps.taps)):
            raise AssertionError(f"target {target} has all its taps and is not in {steady}")


@given(convolution=convolutions(channels=3), seed=st.integers(0, 9))
def test_the_pixel_major_reference_is_the_sum_over_taps(convolution: Convolution, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = {
        name: rng.standard_normal(shape)
        for name, shape in (
            ("x", pixel_major.x_shape(convolution)),
            ("y", pixel_major.y_shape(convolution)),
            ("weight", pixel_major.weight_shape(convolution)),
        )
    }
    y, grad_x, grad_weight = (np.zeros_like(arrays[name]) for name in ("y", "x", "weight"))
    rows, columns = (Taps.of(convolution, "forward", dimension) for dimension in ("rows", "columns"))
    ni, no = convolution.group_ni, convolution.group_no
    for group in range(convolution.groups):
        ins, outs = slice(group * ni, (group + 1) * ni), slice(group * no, (group + 1) * no)
        for r in range(rows.targets):
            for c in range(columns.targets):
                for i, p in rows.sources_of(r):
                    for j, q in columns.sources_of(c):
                        weight, seen, grad = (
                            arrays["weight"][i, j, outs],
                            arrays["x"][p, q, ins],
                            arrays["y"][r, c, outs],
                        )
                        y[r, c, outs] += weight @ seen
                        grad_x[p, q, ins] += weight.T @ grad
                        grad_weight[i, j, outs] += grad @ seen.T
    expected = {"forward": y, "input_gradient": grad_x, "weight_gradient": grad_weight}
    for which in PASSES:
        parameters = pixel_major.parameters(convolution, which)
        given_arrays = {p.name: arrays[p.name.removeprefix("grad_")] for p in parameters[:2]}
        result = np.full(parameters[2].shape, np.nan)
        pixel_major.reference(convolution, which, {**given_arrays, parameters[2].name: result})
        assert np.abs(result - expected[which]).max() <= 1e-12 * max(1.0, np.abs(expected[which]).max())
