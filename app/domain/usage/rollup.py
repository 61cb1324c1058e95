"""Events rolled up by hour, in memory: what `insert_events.sql` does on PostgreSQL, for SQLite. Law: pure."""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import NamedTuple, TypeVar

import msgspec

from app.domain.usage.schemas import UsageEvent
from app.domain.usage.tables import NO_TEAM

HITS = frozenset({"exact", "semantic", "coalesced"})
"""The cache statuses of answers that no provider was asked for."""

_HASH_BYTES = 16
_DAY_CHARS, _MIDNIGHT = 10, " 00:00:00.000000"
_NO_TEAM = NO_TEAM.hex
_NO_TAGS = "{}"

HourKey = tuple[str, str, str, str, str, str, str]
"""Hour, organisation, team, key, provider, model and tags, as SQLite keeps them."""
TotalKey = tuple[str, str, str, str]
"""Hour, organisation, provider and model."""
ScopeHour = tuple[str, str, str]
Key = TypeVar("Key", HourKey, TotalKey, ScopeHour)


class RollUp(NamedTuple):
    """Rows to be added to `usage_hourly`, `usage_daily`, `usage_totals` and `balances`; each key once."""

    hourly: dict[HourKey, list[int]]
    daily: dict[HourKey, list[int]]
    totals: dict[TotalKey, list[int]]
    balances: dict[ScopeHour, list[int]]

    def hourly_rows(self) -> Iterator[tuple[object, ...]]:
        """Return the rows of `usage_hourly`, columns in order."""
        return _with_tags(self.hourly)

    def daily_rows(self) -> Iterator[tuple[object, ...]]:
        """Return the rows of `usage_daily`, columns in order."""
        return _with_tags(self.daily)

    def total_rows(self) -> Iterator[tuple[object, ...]]:
        """Return the rows of `usage_totals`, columns in order."""
        for key, measures in self.totals.items():
            yield *key, *measures

    def balance_rows(self) -> Iterator[tuple[object, ...]]:
        """Return the rows of `balances`, columns in order."""
        for key, amounts in self.balances.items():
            yield *key, *amounts


def roll_up(events: Iterable[UsageEvent]) -> RollUp:
    """Return what the events add, in nano-USD and tokens; an absent cost adds nothing."""
    hourly: dict[HourKey, list[int]] = {}
    daily: dict[HourKey, list[int]] = {}
    totals: dict[TotalKey, list[int]] = {}
    balances: dict[ScopeHour, list[int]] = {}
    for event in events:
        hour = hour_text(event)
        organization, key = event.organization_id.hex, event.key_id.hex
        team = None if event.team_id is None else event.team_id.hex
        place = (hour, organization, team or _NO_TEAM, key, event.provider, event.model, tags_text(event.tags))
        measures = _measures(event)
        _add(hourly, place, measures)
        _add(daily, (hour[:_DAY_CHARS] + _MIDNIGHT, *place[1:]), measures)
        _add(totals, (hour, organization, event.provider, event.model), measures)
        amounts = (event.cost_nusd or 0, 1)
        _add(balances, ("organization", organization, hour), amounts)
        _add(balances, ("key", key, hour), amounts)
        if team is not None:
            _add(balances, ("team", team, hour), amounts)
    return RollUp(hourly, daily, totals, balances)


def _with_tags(rows: dict[HourKey, list[int]]) -> Iterator[tuple[object, ...]]:
    for key, measures in rows.items():
        yield *key[:6], hash_tags(key[6]), key[6], *measures


def hour_text(event: UsageEvent) -> str:
    """Return the hour in UTC that an event belongs to, as SQLite keeps it."""
    return f"{event.occurred_at.astimezone(UTC):%Y-%m-%d %H}:00:00.000000"


def tags_text(tags: dict[str, str]) -> str:
    """Return tags as JSON, the same for the same tags."""
    return msgspec.json.encode(tags, order="sorted").decode() if tags else _NO_TAGS


def hash_tags(text: str) -> bytes:
    """Return the 16 bytes that stand for tags in a key."""
    return hashlib.sha256(text.encode()).digest()[:_HASH_BYTES]


def _measures(event: UsageEvent) -> tuple[int, ...]:
    is_attempt = event.kind == "attempt"
    is_request = is_attempt and event.is_final
    return (
        is_request,
        is_attempt,
        is_request and event.outcome != "ok",
        is_request and event.cache_status in HITS,
        event.input_tokens,
        event.output_tokens,
        event.cache_read_tokens,
        event.cache_write_tokens,
        event.reasoning_tokens,
        event.cost_nusd or 0,
        event.saved_nusd,
    )


def _add(sums: dict[Key, list[int]], key: Key, amounts: tuple[int, ...]) -> None:
    known = sums.get(key)
    if known is None:
        sums[key] = [int(amount) for amount in amounts]
        return
    for position, amount in enumerate(amounts):
        known[position] += amount
