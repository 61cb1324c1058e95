"""What the cache had to do with requests, counted from their events. Law: the numbers are those of the usage report."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import and_, case, func, literal_column, select

from app.db.engine import Connection
from app.domain.usage.periods import Period
from app.domain.usage.tables import usage_events

_columns = usage_events.c


class CacheRow(NamedTuple):
    """Requests that met one status of the cache, and what that saved."""

    requests: int
    saved_nusd: int


async def count_by_status(connection: Connection, *, period: Period, where: Mapping[str, Any]) -> dict[str, CacheRow]:
    """Return the requests of a range by their cache status, those that the cache had no part in left out."""
    is_request = and_(_columns.kind == "attempt", _columns.is_final)
    requests = func.sum(case((is_request, literal_column("1")), else_=literal_column("0")))
    statement = (
        select(_columns.cache_status, requests.label("requests"), func.sum(_columns.saved_nusd).label("saved_nusd"))
        .where(
            *period.holds(_columns.occurred_at),
            *(_columns[name] == value for name, value in where.items()),
            _columns.cache_status.is_not(None),
        )
        .group_by(_columns.cache_status)
    )
    rows = (await connection.execute(statement)).mappings()
    return {row["cache_status"]: CacheRow(int(row["requests"]), int(row["saved_nusd"])) for row in rows}
