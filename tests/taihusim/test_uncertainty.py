"""Intervals from the errors of the parts."""

from __future__ import annotations

from math import sqrt

import pytest

from taihusim.uncertainty import Residual, Residuals, load_residuals, residual_of


def residuals(**parts: tuple[float, float, float]) -> Residuals:
    found = {name: Residual(rows=20, low=low, middle=middle, high=high) for name, (low, middle, high) in parts.items()}
    return Residuals(parts=found, most_nodes=1024, allreduce_bytes=(1e6, 1e8))


def test_one_part_is_off_by_its_factors() -> None:
    low, high = residuals(kernels=(0.9, 1.0, 1.2)).interval({"compute": 0.25, "dma_wait": 0.75}, whole=4.0)
    assert (low, high) == pytest.approx((3.6, 4.8))


def test_independent_parts_add_up_as_squares() -> None:
    errors = residuals(kernels=(0.9, 1.0, 1.1), allreduce=(0.8, 1.0, 1.3))
    low, high = errors.interval({"compute": 0.6, "communication_exposed": 0.4}, whole=5.0)
    assert low == pytest.approx(5 - sqrt(0.3**2 + 0.4**2))
    assert high == pytest.approx(5 + sqrt(0.3**2 + 0.6**2))


def test_a_part_that_is_always_off_moves_the_interval() -> None:
    """What is predicted stays inside."""
    assert residuals(kernels=(1.1, 1.2, 1.3)).interval({"compute": 1.0}, whole=1.0) == pytest.approx((1.0, 1.3))


def test_parts_without_measurements_are_taken_as_they_are() -> None:
    assert residuals().interval({"compute": 0.5, "input": 0.5}, whole=3.0) == (3.0, 3.0)


def test_quantiles_by_weight() -> None:
    even = residual_of([(float(value), 1.0) for value in range(1, 21)])
    assert (even.low, even.middle, even.high) == (1.0, 10.0, 19.0)
    heavy = residual_of([(1.0, 1.0), (2.0, 98.0), (3.0, 1.0)])
    assert (heavy.low, heavy.middle, heavy.high) == (2.0, 2.0, 2.0)
    with pytest.raises(ValueError, match="no measurements"):
        residual_of([])


def test_what_comes_with_the_package() -> None:
    shipped = load_residuals()
    assert {"kernels", "dma", "p2p", "allreduce"} <= set(shipped.parts)
    for part in shipped.parts.values():
        assert 0 < part.low <= part.middle <= part.high
    assert shipped.most_nodes == 1024
