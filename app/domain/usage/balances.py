"""What accounts were charged, and whether the books agree. Law: an answer is one statement, so it is of one moment."""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, Select, func, literal, null, or_, select, union_all

from app.db.engine import Connection
from app.domain.usage.hours import Span, hour_of, next_hour, split, start_of_hour
from app.domain.usage.tables import NO_TEAM, balances, usage_events, usage_hourly

ScopeKind = Literal["organization", "team", "key"]

_IDS_AT_ONCE = 1_000
_NOTHING = literal(0)
_events, _hourly = usage_events.c, usage_hourly.c
_SCOPES: tuple[ScopeKind, ...] = ("organization", "team", "key")


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """An hour of an account on which the books disagree; amounts in nano-USD."""

    scope_kind: ScopeKind
    scope_id: UUID
    hour: datetime
    events_nusd: int
    balance_nusd: int
    hourly_nusd: int


async def account_total(
    connection: Connection, *, scope_kind: ScopeKind, scope_id: UUID, since: datetime | None, until: datetime | None
) -> int:
    """Return what the account was charged for requests admitted in [since, until), in nano-USD; None is without end.

    Whole hours come from the balances, partial ones at the edges from the events.
    """
    hours, edges = split(Span(since, until))
    parts = [_events_total(scope_kind, scope_id, edge) for edge in edges]
    if hours is not None:
        parts.append(_balances_total(scope_kind, scope_id, hours))
    if not parts:
        return 0
    amounts = union_all(*parts).subquery()
    return int((await connection.execute(select(func.sum(amounts.c.cost_nusd)))).scalar_one() or 0)


async def known_events(connection: Connection, ids: Collection[UUID]) -> set[UUID]:
    """Return those of the ids that are in the ledger."""
    found: set[UUID] = set()
    wanted = list(ids)
    for start in range(0, len(wanted), _IDS_AT_ONCE):
        statement = select(_events.event_id).where(_events.event_id.in_(wanted[start : start + _IDS_AT_ONCE]))
        found.update((await connection.execute(statement)).scalars())
    return found


async def find_drift(connection: Connection, *, since: datetime, until: datetime) -> list[Drift]:
    """Return where events, balances and hourly usage disagree, in the hours that [since, until) touches.

    Reads every event of these hours: ask for few hours at a time.
    """
    hours = Span(start_of_hour(since), next_hour(until))
    books = union_all(*_books_of_events(connection, hours), *_books_of_hourly(hours), _books_of_balances(hours))
    amount = books.subquery().c
    events, balance, hourly = (func.sum(amount[name]) for name in ("events_nusd", "balance_nusd", "hourly_nusd"))
    key = (amount.scope_kind, amount.scope_id, amount.hour)
    statement = (
        select(*key, events.label("events_nusd"), balance.label("balance_nusd"), hourly.label("hourly_nusd"))
        .group_by(*key)
        .having(or_(events != balance, events != hourly))
        .order_by(amount.hour, amount.scope_kind, amount.scope_id)
    )
    return [_drift(row) for row in (await connection.execute(statement)).mappings()]


def _events_total(scope_kind: ScopeKind, scope_id: UUID, span: Span) -> Select[Any]:
    total = func.coalesce(func.sum(_events.cost_nusd), 0).label("cost_nusd")
    return select(total).where(_events[f"{scope_kind}_id"] == scope_id, *span.holds(_events.occurred_at))


def _balances_total(scope_kind: ScopeKind, scope_id: UUID, span: Span) -> Select[Any]:
    column = balances.c
    total = func.coalesce(func.sum(column.cost_nusd), 0).label("cost_nusd")
    return select(total).where(column.scope_kind == scope_kind, column.scope_id == scope_id, *span.holds(column.hour))


def _books_of_events(connection: Connection, span: Span) -> list[Select[Any]]:
    """Return the sums of the events, once read and then summed by every scope."""
    ids = (_events.organization_id, _events.team_id, _events.key_id)
    hour = hour_of(connection, _events.occurred_at).label("hour")
    by_account = (
        select(*ids, hour, func.coalesce(func.sum(_events.cost_nusd), 0).label("cost_nusd"))
        .where(*span.holds(_events.occurred_at))
        .group_by(*ids, hour)
        .cte("by_account")
    )
    account = by_account.c
    return [
        _book(kind, account[f"{kind}_id"], account.hour, events=account.cost_nusd).where(
            account[f"{kind}_id"].is_not(null())
        )
        for kind in _SCOPES
    ]


def _books_of_hourly(span: Span) -> list[Select[Any]]:
    return [
        _book(kind, _hourly[f"{kind}_id"], _hourly.hour, hourly=_hourly.cost_nusd).where(
            *span.holds(_hourly.hour), _hourly[f"{kind}_id"] != NO_TEAM
        )
        for kind in _SCOPES
    ]


def _books_of_balances(span: Span) -> Select[Any]:
    column = balances.c
    book = _book(column.scope_kind, column.scope_id, column.hour, balance=column.cost_nusd)
    return book.where(*span.holds(column.hour))


def _book(
    kind: ColumnElement[str] | str,
    scope_id: ColumnElement[UUID],
    hour: ColumnElement[datetime],
    *,
    events: ColumnElement[int] = _NOTHING,
    balance: ColumnElement[int] = _NOTHING,
    hourly: ColumnElement[int] = _NOTHING,
) -> Select[Any]:
    columns: tuple[ColumnElement[Any], ...] = (
        (literal(kind) if isinstance(kind, str) else kind).label("scope_kind"),
        scope_id.label("scope_id"),
        hour.label("hour"),
        events.label("events_nusd"),
        balance.label("balance_nusd"),
        hourly.label("hourly_nusd"),
    )
    return select(*columns)


def _drift(row: Any) -> Drift:
    amounts = {name: int(row[name]) for name in ("events_nusd", "balance_nusd", "hourly_nusd")}
    return Drift(scope_kind=row["scope_kind"], scope_id=row["scope_id"], hour=row["hour"], **amounts)
