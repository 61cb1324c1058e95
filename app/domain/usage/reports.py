"""What was used, reported to those who may see it. Law: every query carries the caller's scope.

The numbers of a report are those of its events to the last nano-USD, wherever the range begins and ends.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from app.db.engine import Database
from app.db.paging import Page, decode_cursor, encode_cursor, page_of
from app.domain.audit.principal import Principal
from app.domain.usage.cache_rows import CacheRow, count_by_status
from app.domain.usage.event_rows import EventKey, key_of, page_events
from app.domain.usage.fanout_rows import fanout_item, find_fanout_rows
from app.domain.usage.grouping import INTERVALS, Group, Interval, read_groups
from app.domain.usage.hours import Span
from app.domain.usage.latency import Latency, latency_of, sample
from app.domain.usage.periods import Period, read_period
from app.domain.usage.report_rows import COUNTS, MEASURES, START, find_rows
from app.domain.usage.schemas import UsageEvent
from app.domain.usage.tables import NO_TEAM
from app.kernel.clock import Clock
from app.kernel.errors import InvalidRequest
from app.kernel.money import format_usd

_EXPORT_ROWS = 500
_EVENTS = "usage_events"
_OF_FANOUTS = (Group("fanout"), Group("model"))
MAX_CURSOR = 8_192
"""The cursor of a report holds the last item's group, whose tags may be long."""


class UsageQuery(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the ledger; `since` and `until` as they were written, None where nothing was."""

    since: str | None = None
    until: str | None = None
    organization_id: UUID | None = None
    team_id: UUID | None = None
    key_id: UUID | None = None
    model: str | None = None
    provider: str | None = None
    request_id: UUID | None = None
    outcome: str | None = None

    def where(self, principal: Principal) -> dict[str, Any] | None:
        """Return the columns and the values they must have; None if nothing that the caller may see can have them.

        Raises `InvalidRequest` for a text that no column can hold.
        """
        asked = {name: getattr(self, name) for name in self.__struct_fields__ if name not in {"since", "until"}}
        values = {name: value for name, value in asked.items() if value is not None}
        for name, value in values.items():
            if isinstance(value, str) and not value.isprintable():
                raise InvalidRequest(f"{name} holds control characters", param=name)
        scope = principal.organization_id
        if self.team_id == NO_TEAM:
            return None
        if scope is None:
            return values
        return values | {"organization_id": scope} if values.get("organization_id", scope) == scope else None


class UsageExport(NamedTuple):
    """All events of a range that fit, some at a time; each page is read only when it is asked for."""

    since: datetime
    until: datetime
    pages: AsyncIterator[Sequence[UsageEvent]]


class CacheCounts(NamedTuple):
    """The requests of a range by their cache status: those that the cache had a part in."""

    period: Period
    rows: dict[str, CacheRow]


class UsageReports:
    """Reads the ledger for administrators."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def report(
        self,
        principal: Principal,
        query: UsageQuery,
        *,
        group_by: str | None,
        interval: str = "none",
        limit: int,
        cursor: str | None = None,
    ) -> Page[dict[str, Any]]:
        """Return totals or a series, in the order of time and then of the groups.

        An item has the groups' ids, `start` (of its interval, or of the range), counts, and costs in USD.
        """
        groups, step = read_groups(group_by), _read_interval(interval)
        period, where = self._period(query), query.where(principal)
        listing = f"usage:{interval}:{','.join(group.member for group in groups)}"
        after = None
        if cursor is not None:
            period, after = _read_cursor(listing, cursor, groups=groups, interval=step)
        rows: list[dict[str, Any]] = []
        if where is not None:
            async with self._database.reading() as connection:
                rows = await find_rows(
                    connection,
                    period=period,
                    groups=groups,
                    interval=step,
                    where=where,
                    after=after,
                    limit=limit + 1,
                )
        names = ([] if step == "none" else [START]) + [f"k{position}" for position in range(len(groups))]
        if not names:
            return Page([_item(rows[0] if rows else {}, groups=groups, start=period.since)], None)
        items = [_item(row, groups=groups, start=period.since) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(items, None)
        last = [rows[limit - 1][name] for name in names]
        return Page(items, encode_cursor(listing, [period.since, period.until, *last]))

    async def fanouts(
        self, principal: Principal, query: UsageQuery, *, group_by: str | None, limit: int, cursor: str | None = None
    ) -> Page[dict[str, Any]]:
        """Return what became of the legs of fan-outs, by fan-out and model and then by the groups asked for.

        An item has `fanout`, `model`, the groups' ids, counts, the share of legs that won, times and the cost in USD.
        """
        more = tuple(group for group in read_groups(group_by) if group not in _OF_FANOUTS)
        groups = (*_OF_FANOUTS, *more)
        period, where = self._period(query), query.where(principal)
        listing = f"fanouts:{','.join(group.member for group in more)}"
        after = None
        if cursor is not None:
            period, after = _read_cursor(listing, cursor, groups=groups, interval="none")
        if where is None:
            return Page([], None)
        async with self._database.reading() as connection:
            rows = await find_fanout_rows(
                connection, period=period, groups=groups, where=where, after=after, limit=limit + 1
            )
        items = [_ids(row, groups) | fanout_item(row) for row in rows[:limit]]
        if len(rows) <= limit:
            return Page(items, None)
        last = [rows[limit - 1][f"k{position}"] for position in range(len(groups))]
        return Page(items, encode_cursor(listing, [period.since, period.until, *last]))

    async def events(
        self, principal: Principal, query: UsageQuery, *, limit: int, cursor: str | None = None
    ) -> Page[UsageEvent]:
        """Return one page of the events that the principal may see, newest first."""
        period, where = self._period(query), query.where(principal)
        before = None if cursor is None else decode_cursor(_EVENTS, cursor, EventKey)  # type: ignore[arg-type] # a tuple's alias is no class
        events = await self._page(period, where, before=before, limit=limit + 1)
        return page_of(_EVENTS, events, limit=limit, key=key_of)

    async def cache_counts(self, principal: Principal, query: UsageQuery) -> CacheCounts:
        """Return what the cache had to do with the requests that the principal may see."""
        period, where = self._period(query), query.where(principal)
        if where is None:
            return CacheCounts(period, {})
        async with self._database.reading() as connection:
            return CacheCounts(period, await count_by_status(connection, period=period, where=where))

    async def latency(self, principal: Principal, query: UsageQuery, *, intervals: int) -> list[Latency]:
        """Return how long the last requests of each interval took; the range is cut into so many of one length."""
        period, where = self._period(query), query.where(principal)
        step = (period.until - period.since) / intervals
        starts = [period.since + number * step for number in range(intervals)]
        if where is None:
            return [latency_of(start, []) for start in starts]
        spans = [Span(start, start + step) for start in starts]
        async with self._database.reading() as connection:
            took = await sample(connection, spans=spans, where=where)
        return [latency_of(start, each) for start, each in zip(starts, took, strict=True)]

    async def export(self, principal: Principal, query: UsageQuery) -> UsageExport:
        """Return all events, newest first, some at a time; the first are read before this returns.

        No transaction is open between two reads, so whoever reads slowly holds nothing.
        """
        period, where = self._period(query), query.where(principal)
        first = await self._page(period, where, before=None, limit=_EXPORT_ROWS)
        return UsageExport(period.since, period.until, self._rest(first, period, where))

    async def _rest(
        self, events: Sequence[UsageEvent], period: Period, where: Mapping[str, Any] | None
    ) -> AsyncIterator[Sequence[UsageEvent]]:
        while events:
            yield events
            if len(events) < _EXPORT_ROWS:
                return
            events = await self._page(period, where, before=key_of(events[-1]), limit=_EXPORT_ROWS)

    async def _page(
        self, period: Period, where: Mapping[str, Any] | None, *, before: EventKey | None, limit: int
    ) -> list[UsageEvent]:
        if where is None:
            return []
        async with self._database.reading() as connection:
            return await page_events(connection, period=period, where=where, before=before, limit=limit)

    def _period(self, query: UsageQuery) -> Period:
        return read_period(query.since, query.until, now=self._clock.now())


def _read_interval(text: str) -> Interval:
    for interval in INTERVALS:
        if interval == text:
            return interval
    raise InvalidRequest(f"interval is one of {', '.join(INTERVALS)}", param="interval")


def _read_cursor(listing: str, cursor: str, *, groups: Sequence[Group], interval: Interval) -> tuple[Period, list[Any]]:
    """Return the range that the first page was of, and the key of the last item."""
    types = [datetime, datetime, *([] if interval == "none" else [datetime]), *(group.key_type for group in groups)]
    since, until, *key = decode_cursor(listing, cursor, tuple[*types], longest=MAX_CURSOR)  # type: ignore[valid-type] # made here
    return Period(since, until), key


def _ids(row: Mapping[str, Any], groups: Sequence[Group]) -> dict[str, Any]:
    return {group.member: group.said(row[f"k{position}"]) for position, group in enumerate(groups)}


def _item(row: Mapping[str, Any], *, groups: Sequence[Group], start: datetime) -> dict[str, Any]:
    item = _ids(row, groups)
    item["start"] = row.get(START, start)
    sums = {name: int(row.get(name) or 0) for name in MEASURES}
    for name in COUNTS:
        item[name] = sums[name]
    item["cost"] = format_usd(sums["cost_nusd"])
    item["saved_cost"] = format_usd(sums["saved_nusd"])
    return item
