"""Transfers of all CPEs' boxes at once against one CPE after the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sim.chip.dma import Integers
from sim.chip.memory import Array
from sim.chip.transfer import load_part, load_region, store_part, store_region

NOWHERE = 1 << 30


@dataclass(frozen=True)
class Case:
    """Boxes of ``size`` in an array of ``shape``; ``starts`` (CPEs, axes)."""

    shape: tuple[int, int]
    size: tuple[int, int]
    starts: Integers


@st.composite
def repeated(draw: st.DrawFn) -> Case:
    """Boxes of one row each as kernels deal them out: some per row, then the next row, perhaps from amid a row's.

    The boxes reach beyond the columns and overlap; the last CPEs may have none.
    """
    columns = draw(st.lists(st.integers(-3, 6), min_size=1, max_size=4))
    cpes, skipped, missing = draw(st.integers(1, 12)), draw(st.integers(0, 3)), draw(st.integers(0, 3))
    items = [(row, column) for row in range(12) for column in columns][skipped : skipped + cpes]
    starts = items + [(NOWHERE, NOWHERE)] * missing
    return Case(shape=(draw(st.integers(4, 12)), 6), size=(1, draw(st.integers(1, 8))), starts=np.array(starts))


@st.composite
def scattered(draw: st.DrawFn) -> Case:
    """Boxes anywhere, inside or not."""
    places = st.tuples(st.integers(-4, 8), st.integers(-4, 8))
    size = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    return Case(shape=(6, 6), size=size, starts=np.array(draw(st.lists(places, min_size=1, max_size=9))))


def numbered(*shape: int) -> Array:
    return np.arange(1.0, 1 + np.prod(shape)).reshape(shape)


@pytest.mark.numeric
@given(case=st.one_of(repeated(), scattered()))
def test_load_part_is_each_box_by_itself(case: Case) -> None:
    source = numbered(*case.shape)
    found, expected = (np.full((len(case.starts), *case.size), np.nan) for _ in range(2))
    load_part(target=found, source=source, starts=case.starts)
    for part, start in zip(expected, case.starts, strict=True):
        load_region(target=part, source=source, start=start.tolist())
    np.testing.assert_array_equal(found, expected)


@pytest.mark.numeric
@given(case=st.one_of(repeated(), scattered()))
def test_store_part_writes_the_boxes_in_the_order_of_the_cpes(case: Case) -> None:
    source = numbered(len(case.starts), *case.size)
    found, expected = np.zeros(case.shape), np.zeros(case.shape)
    store_part(target=found, source=source, starts=case.starts)
    for part, start in zip(source, case.starts, strict=True):
        store_region(target=expected, source=part, start=start.tolist())
    np.testing.assert_array_equal(found, expected)


@pytest.mark.numeric
@given(start=st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_a_region_is_zero_where_it_leaves_the_array(start: tuple[int, int]) -> None:
    source, found = numbered(4, 5), np.full((3, 2), np.nan)
    load_region(target=found, source=source, start=start)
    padded = np.zeros((40, 40))
    padded[15:19, 15:20] = source
    np.testing.assert_array_equal(found, padded[15 + start[0] : 18 + start[0], 15 + start[1] : 17 + start[1]])
