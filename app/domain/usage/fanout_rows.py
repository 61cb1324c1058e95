"""Which model wins when several are asked, reckoned from the events of fan-outs; an index leads to these alone.

Law: each leg is counted once, by the attempt that served it or its last; all attempts and corrections cost.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Float, Subquery, and_, case, func, literal, literal_column, select, tuple_

from app.db.engine import Connection
from app.domain.usage.grouping import KEY_TYPES, Group
from app.domain.usage.periods import Period
from app.domain.usage.tables import usage_events
from app.kernel.money import format_usd

PARTS = {"won": "won", "lost": "lost", "failed": "failed", "judged": "judge", "fused": "fuser"}
"""What is counted, by the part that the attempt had."""
LEGS = ("won", "lost", "failed")
_TOKENS = ("input_tokens", "output_tokens")
_SLOW = 0.95

_events = usage_events.c


async def find_fanout_rows(
    connection: Connection,
    *,
    period: Period,
    groups: Sequence[Group],
    where: Mapping[str, Any],
    after: Sequence[Any] | None,
    limit: int,
) -> list[dict[str, Any]]:
    """Return rows in the order of their keys: `k0`… of the groups, PARTS, tokens, `cost_nusd`, and times in ms.

    `mean_ttft_ms` and `p95_ttft_ms` are of legs with content, null where there are none. `where` and `after` are as in
    `find_rows`.
    """
    names = [f"k{position}" for position in range(len(groups))]
    events = _ranked(connection, period, groups=groups, names=names, where=where)
    keys = [events.c[name] for name in names]
    grouped = select(*keys, *_measures(events)).group_by(*keys).subquery()
    order = [grouped.c[name] for name in names]
    statement = select(grouped).order_by(*order).limit(limit)
    if after is not None:
        place: list[ColumnElement[Any]] = [literal(value, KEY_TYPES[type(value)]) for value in after]
        statement = statement.where(tuple_(*order) > tuple_(*place))
    return [dict(row) for row in (await connection.execute(statement)).mappings()]


def _ranked(
    connection: Connection, period: Period, *, groups: Sequence[Group], names: Sequence[str], where: Mapping[str, Any]
) -> Subquery:
    """Return the events of fan-outs with their keys, and the place of each leg's `ttft_ms` among those of its group."""
    keys = [group.key_of(connection, _events).label(name) for group, name in zip(groups, names, strict=True)]
    is_leg = and_(_events.kind == "attempt", _events.leg.in_(LEGS))
    ttft_ms = case((is_leg, _events.ttft_ms), else_=None).label("ttft_ms")
    columns = [_events[name] for name in (*_TOKENS, "cost_nusd")]
    part = case((_events.kind == "attempt", _events.leg), else_=None).label("part")
    events = (
        select(*keys, part, ttft_ms, *columns)
        .where(
            *period.holds(_events.occurred_at),
            *(_events[name] == value for name, value in where.items()),
            _events.fanout.is_not(None),
        )
        .subquery()
    )
    alike = [*(events.c[name] for name in names), events.c.ttft_ms.is_(None)]
    place = func.row_number().over(partition_by=alike, order_by=events.c.ttft_ms).label("place")
    places = func.count().over(partition_by=alike).label("places")
    return select(*events.c, place, places).subquery()


def _measures(events: Subquery) -> list[ColumnElement[Any]]:
    counts: list[ColumnElement[Any]] = [
        func.sum(case((events.c.part == part, literal_column("1")), else_=literal_column("0"))).label(name)
        for name, part in PARTS.items()
    ]
    sums = [func.sum(func.coalesce(events.c[name], 0)).label(name) for name in (*_TOKENS, "cost_nusd")]
    is_slow = and_(events.c.ttft_ms.is_not(None), events.c.place >= literal(_SLOW, Float) * events.c.places)
    return [
        *counts,
        *sums,
        func.avg(events.c.ttft_ms).label("mean_ttft_ms"),
        func.min(case((is_slow, events.c.ttft_ms), else_=None)).label("p95_ttft_ms"),
    ]


def fanout_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the measures of a row as a report says them."""
    said = {name: int(row[name]) for name in (*PARTS, *_TOKENS)}
    legs = sum(said[name] for name in LEGS)
    mean_ms, p95_ms = row["mean_ttft_ms"], row["p95_ttft_ms"]
    return {
        "legs": legs,
        **said,
        "win_rate": round(said["won"] / legs, 4) if legs else None,
        "mean_ttft_ms": None if mean_ms is None else math.floor(float(mean_ms) + 0.5),
        "p95_ttft_ms": p95_ms,
        "cost": format_usd(int(row["cost_nusd"])),
    }
