"""How long requests took. Law: reads a bounded number of events, by an index, however many there are."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Select, literal_column, select, union_all

from app.db.engine import Connection
from app.domain.usage.hours import Span
from app.domain.usage.tables import usage_events

PER_INTERVAL = 200
"""How many requests of an interval are looked at: its last."""

_columns = usage_events.c


class Took(NamedTuple):
    """What one request took, in milliseconds; the first token is only timed of streams."""

    duration_ms: int
    ttft_ms: int | None


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """The quantiles of one interval's last requests, in milliseconds; null where nothing was timed."""

    start: datetime
    requests: int
    duration_p50_ms: int | None
    duration_p95_ms: int | None
    ttft_p50_ms: int | None
    ttft_p95_ms: int | None


async def sample(
    connection: Connection, *, spans: Sequence[Span], where: Mapping[str, Any], most: int = PER_INTERVAL
) -> list[list[Took]]:
    """Return, for each span, what its last `most` requests took."""
    found: list[list[Took]] = [[] for _ in spans]
    parts = [_part(number, span, where=where, most=most) for number, span in enumerate(spans)]
    for number, duration_ms, ttft_ms in await connection.execute(union_all(*parts)):
        found[number].append(Took(duration_ms, ttft_ms))
    return found


def _part(number: int, span: Span, *, where: Mapping[str, Any], most: int) -> Select[Any]:
    last = (
        select(literal_column(str(number)).label("number"), _columns.duration_ms, _columns.ttft_ms)
        .where(
            *span.holds(_columns.occurred_at),
            *(_columns[name] == value for name, value in where.items()),
            _columns.kind == "attempt",
            _columns.is_final,
        )
        .order_by(_columns.occurred_at.desc(), _columns.event_id.desc())
        .limit(most)
        .subquery()
    )
    return select(last)


def latency_of(start: datetime, took: Sequence[Took]) -> Latency:
    """Return the quantiles of an interval."""
    durations = sorted(each.duration_ms for each in took)
    firsts = sorted(each.ttft_ms for each in took if each.ttft_ms is not None)
    return Latency(
        start=start,
        requests=len(took),
        duration_p50_ms=_quantile(durations, percent=50),
        duration_p95_ms=_quantile(durations, percent=95),
        ttft_p50_ms=_quantile(firsts, percent=50),
        ttft_p95_ms=_quantile(firsts, percent=95),
    )


def _quantile(ordered: Sequence[int], *, percent: int) -> int | None:
    """Return the smallest value that at least `percent` of all do not exceed."""
    return ordered[-(-len(ordered) * percent // 100) - 1] if ordered else None
