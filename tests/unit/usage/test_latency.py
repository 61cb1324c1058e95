"""Quantiles of what requests took."""

from datetime import UTC, datetime

import pytest

from app.domain.usage.latency import Took, latency_of

START = datetime(2026, 11, 26, tzinfo=UTC)


def test_nothing_has_no_quantiles():
    found = latency_of(START, [])
    assert (found.requests, found.duration_p50_ms, found.ttft_p95_ms) == (0, None, None)


@pytest.mark.parametrize(
    ("count", "median", "high"), [(1, 1, 1), (2, 1, 2), (20, 10, 19), (100, 50, 95), (101, 51, 96)]
)
def test_quantiles_are_values_that_were_measured(count, median, high):
    found = latency_of(START, [Took(value, None) for value in range(count, 0, -1)])
    assert (found.duration_p50_ms, found.duration_p95_ms) == (median, high)


def test_the_first_token_is_of_those_that_were_timed():
    found = latency_of(START, [Took(10, None), Took(20, 5), Took(30, 7)])
    assert (found.requests, found.ttft_p50_ms, found.ttft_p95_ms) == (3, 5, 7)
