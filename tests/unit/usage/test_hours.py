"""Ranges split into whole hours and edges: every moment falls into one part, and only moments of the range do."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.domain.usage.hours import HOUR, Span, next_hour, split, start_of_hour

FIRST = datetime(2026, 11, 22, tzinfo=UTC)
moments = st.integers(0, 72 * 3_600_000_000).map(lambda microseconds: FIRST + timedelta(microseconds=microseconds))
ends = moments | moments.map(start_of_hour) | st.none()


def is_in(span: Span, moment: datetime) -> bool:
    return (span.since is None or moment >= span.since) and (span.until is None or moment < span.until)


@given(since=ends, until=ends, moment=moments)
def test_every_moment_of_a_range_is_in_one_of_its_parts(since, until, moment):
    hours, edges = split(Span(since, until))
    parts = [*edges, *([] if hours is None else [hours])]
    for asked in (moment, since or moment, (until or moment) - timedelta(microseconds=1)):
        assert sum(is_in(part, asked) for part in parts) == is_in(Span(since, until), asked)


@given(since=ends, until=ends)
def test_whole_hours_are_whole_and_edges_are_shorter(since, until):
    hours, edges = split(Span(since, until))
    if hours is not None:
        assert all(end is None or end == start_of_hour(end) for end in hours)
        assert None in hours or hours.since < hours.until
    assert len(edges) <= 2
    assert all(edge.until - edge.since < HOUR for edge in edges)


@given(moments)
def test_the_next_hour_is_not_before_the_moment(moment):
    assert moment <= next_hour(moment) < moment + HOUR


def test_hours_are_those_of_utc():
    zone = datetime.fromisoformat("2026-11-23T12:10:00+05:30")
    assert start_of_hour(zone) == datetime(2026, 11, 23, 6, tzinfo=UTC)
