"""Blocks of rows and columns of the image-size-aware plan against the relation of pixels itself."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st

from nnlib.kernels.convolutions.taps import Taps
from nnlib.kernels.implicit.image_blocks import Columns, Rows
from nnlib.kernels.implicit.image_order import OUTSIDE


@st.composite
def any_taps(draw: st.DrawFn) -> Taps:
    taps, stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    padding, inputs = draw(st.integers(0, 3)), draw(st.integers(1, 14))
    outputs = (inputs + 2 * padding - dilation * (taps - 1) - 1) // stride + 1
    assume(outputs >= 1)
    backward = draw(st.booleans())
    return Taps(
        targets=inputs if backward else outputs,
        sources=outputs if backward else inputs,
        taps=taps,
        stride=stride,
        padding=padding,
        dilation=dilation,
        backward=backward,
    )


@given(taps=any_taps(), parts=st.integers(1, 5))
def test_blocks_of_columns_meet_the_same_pixels(taps: Taps, parts: int) -> None:
    columns = Columns(taps, min(parts * taps.period, taps.targets))
    found = set()
    for block in range(columns.blocks):
        left = columns.left(block)
        for tap in columns.of_taps:
            targets = range(left)[tap.targets(left)]
            sources = range(columns.source_width)[tap.sources(left)]
            assert len(targets) == len(sources) == tap.count(left)
            for target, source in zip(targets, sources, strict=True):
                at = source + columns.first_source(block)
                if 0 <= at < taps.sources:
                    found.add((block * columns.width + target, tap.tap, at))
    assert found == {(target, tap, at) for target in range(taps.targets) for tap, at in taps.sources_of(target)}


@given(taps=any_taps(), side_by_side=st.sampled_from([1, 3, 8]), data=st.data())
def test_blocks_of_rows_meet_the_same_pixels(taps: Taps, side_by_side: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, taps.targets - 1))
    share = range(first, data.draw(st.integers(first + 1, taps.targets)))
    rows = Rows(taps, share, side_by_side)
    found = set()
    for blocks in rows.classes:
        for number in rows.steady(blocks):
            # what is skipped has all its rows and taps, as has the next, and their places advance evenly
            assert len(blocks[number].rows) == len(blocks[number + 1].rows) == side_by_side
            assert blocks[number].taps == blocks[number + 1].taps
            for tap in blocks[number].taps:
                step = rows.sources(blocks[number + 1], tap) - rows.sources(blocks[number], tap)
                assert set(step.tolist()) == {side_by_side * taps.advance}
        for block in blocks:
            targets = rows.targets(block)
            assert targets.shape == (side_by_side,)
            for tap in block.taps:
                for target, source in zip(targets.tolist(), rows.sources(block, tap).tolist(), strict=True):
                    if source != OUTSIDE:
                        found.add((target, tap, source))
    assert found == {(target, tap, at) for target in share for tap, at in taps.sources_of(target)}
