"""The rows of a report, each part of its range from the roll-up that has the fewest rows for it.

Law: whichever are read, the sums are those of the events. Partial hours at the edges are read from the events
themselves.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    Subquery,
    Table,
    and_,
    case,
    func,
    literal,
    literal_column,
    select,
    tuple_,
    union_all,
)

from app.db.engine import Connection
from app.domain.usage.grouping import KEY_TYPES, Group, Interval, start_of
from app.domain.usage.hours import DAY, Span, split
from app.domain.usage.periods import Period
from app.domain.usage.rollup import HITS
from app.domain.usage.tables import usage_daily, usage_events, usage_hourly, usage_totals

COUNTS = (
    "requests",
    "errors",
    "cache_hits",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
)
MEASURES = (*COUNTS, "cost_nusd", "saved_nusd")
START = "start"

_events = usage_events.c
_OF_TOTALS = frozenset({"organization_id", "provider", "model"})
"""What the totals of all keys can be asked for."""


async def find_rows(
    connection: Connection,
    *,
    period: Period,
    groups: Sequence[Group],
    interval: Interval,
    where: Mapping[str, Any],
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Return rows in the order of their keys: `start` unless the interval is none, `k0`… of the groups, and MEASURES.

    `where` maps columns to the values they must have. `after` is the last key of the page before.
    """
    parts = _parts(connection, period, groups=groups, interval=interval, where=where)
    if not parts:
        return []
    names = [column.name for column in parts[0].selected_columns if column.name not in MEASURES]
    rows = union_all(*parts).subquery()
    grouped = _grouped(rows, names)
    keys = [grouped.c[name] for name in names]
    statement = select(grouped).order_by(*keys).limit(limit)
    if after is not None:
        place: list[ColumnElement[Any]] = [literal(value, KEY_TYPES[type(value)]) for value in after]
        statement = statement.where(tuple_(*keys) > tuple_(*place))
    return [dict(row) for row in (await connection.execute(statement)).mappings()]


def _grouped(rows: Subquery, names: Sequence[str]) -> Subquery:
    keys = [rows.c[name] for name in names]
    sums = [func.sum(rows.c[name]).label(name) for name in MEASURES]
    return select(*keys, *sums).group_by(*keys).subquery()


def _parts(
    connection: Connection,
    period: Period,
    *,
    groups: Sequence[Group],
    interval: Interval,
    where: Mapping[str, Any],
) -> list[Select[Any]]:
    def part(table: Table, at: Column[datetime], span: Span, measures: Sequence[ColumnElement[Any]]) -> Select[Any]:
        start = start_of(connection, at, interval=interval)
        keys = [] if start is None else [start.label(START)]
        keys += [group.key_of(connection, table.c).label(f"k{position}") for position, group in enumerate(groups)]
        fitting = [table.c[name] == value for name, value in where.items()]
        columns: list[ColumnElement[Any]] = [*keys, *measures]
        return select(*columns).where(*span.holds(at), *fitting)

    hours, edges = split(period)
    found = [part(usage_events, _events.occurred_at, edge, _measures_of_events()) for edge in edges]
    if hours is None:
        return found
    named = {*where, *(group.member for group in groups)}
    for table, at, span in _sources(hours, named=named, has_hours=interval == "hour"):
        found.append(part(table, at, span, [table.c[name] for name in MEASURES]))
    return found


def _sources(hours: Span, *, named: set[str], has_hours: bool) -> list[tuple[Table, Column[datetime], Span]]:
    """Return the roll-ups that hold whole hours; `named` is all that is asked of them, in the words of columns."""
    if named <= _OF_TOTALS:
        return [(usage_totals, usage_totals.c.hour, hours)]
    if has_hours:
        return [(usage_hourly, usage_hourly.c.hour, hours)]
    days, edges = split(hours, DAY)
    found = [(usage_hourly, usage_hourly.c.hour, edge) for edge in edges]
    return found if days is None else [*found, (usage_daily, usage_daily.c.day, days)]


def _measures_of_events() -> list[ColumnElement[Any]]:
    """Return what one event adds to each measure: what `app.domain.usage.rollup` reckons."""
    is_request = and_(_events.kind == "attempt", _events.is_final)
    counted = {
        "requests": _one_if(is_request),
        "errors": _one_if(and_(is_request, _events.outcome != "ok")),
        "cache_hits": _one_if(and_(is_request, _events.cache_status.in_(sorted(HITS)))),
        "cost_nusd": func.coalesce(_events.cost_nusd, 0),
    }
    return [(counted[name] if name in counted else _events[name]).label(name) for name in MEASURES]


def _one_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, literal_column("1")), else_=literal_column("0"))
