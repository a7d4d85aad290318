"""Random shapes of convolutions."""

from __future__ import annotations

from hypothesis import strategies as st

from nnlib.kernels.convolutions.convolution import Convolution


@st.composite
def any_convolution(
    draw: st.DrawFn, *, kernel: tuple[int, int], padding: int, pixels: int, ni: int, no: int
) -> Convolution:
    """Kernels that fit: strides, padding, dilation, groups, odd and even sizes, each up to the number given.

    ``ni`` and ``no``: channels of a group.
    """
    groups, dilation, pad = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(0, padding))
    kr, kc = (draw(st.integers(1, most)) for most in kernel)
    ri, ci = (draw(st.integers(max(1, dilation * (k - 1) + 1 - 2 * pad), pixels)) for k in (kr, kc))
    return Convolution(
        batch=draw(st.integers(1, 4)),
        ni=groups * draw(st.integers(1, ni)),
        no=groups * draw(st.integers(1, no)),
        ri=ri,
        ci=ci,
        kr=kr,
        kc=kc,
        stride=draw(st.integers(1, 3)),
        padding=pad,
        dilation=dilation,
        groups=groups,
    )
