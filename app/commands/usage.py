"""`llm-gateway usage`: the report of the admin API as a table, with totals and with names beside the ids."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from app.commands.columns import aligned
from app.commands.database import over_database
from app.db.paging import Page
from app.domain.audit.principal import COMMAND_LINE
from app.domain.services import AdminServices
from app.domain.usage.grouping import read_groups
from app.domain.usage.report_rows import COUNTS
from app.domain.usage.reports import UsageQuery

_PAGE = 200
_COSTS = ("cost", "saved_cost")
_SUMMED = (*COUNTS, *_COSTS)
_GONE = "-"
"""The name of what was deleted; its usage stays."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of the command."""

    group_by: str | None
    since: str | None
    until: str | None
    interval: str = "none"


@dataclass(frozen=True, kw_only=True)
class Report:
    """The items of a report, which members say what each is of, and the names of keys, teams and organisations."""

    items: list[dict[str, Any]]
    groups: tuple[str, ...]
    names: dict[UUID, str] = field(default_factory=dict)


def run(config: Path | None, *, asked: Asked) -> Report:
    """Return what was asked for, all of it."""

    async def work(services: AdminServices) -> Report:
        query = UsageQuery(since=asked.since, until=asked.until)

        async def page(cursor: str | None) -> Page[dict[str, Any]]:
            return await services.usage.report(
                COMMAND_LINE, query, group_by=asked.group_by, interval=asked.interval, limit=_PAGE, cursor=cursor
            )

        start = () if asked.interval == "none" else ("start",)
        groups = (*start, *(group.member for group in read_groups(asked.group_by)))
        items = [item async for item in every(page)]
        names = await names_of(services, items)
        return Report(items=items, groups=groups, names=names)

    return over_database(config, work)


def as_json(report: Report) -> str:
    """Return what `--json` prints: the answer of the admin API."""
    return msgspec.json.format(msgspec.json.encode({"items": report.items, "cursor": None}), indent=2).decode()


def as_table(report: Report) -> str:
    """Return aligned columns under a heading, and the totals."""
    items, texts = report.items, report.groups
    heading = [*(name.removesuffix("_id") for name in texts), *_SUMMED]
    rows = [
        [*(text_of(item[name], report.names) for name in texts), *(str(item[name]) for name in _SUMMED)]
        for item in items
    ]
    totals = ["total", *([""] * (len(texts) - 1))] if texts else []
    totals += [str(sum(item[name] for item in items)) for name in COUNTS]
    totals += [f"{sum((Decimal(item[name]) for item in items), Decimal()):.9f}" for name in _COSTS]
    is_one_row = not texts and len(items) == 1
    return aligned([heading, *rows, *([] if is_one_row else [totals])], left=len(texts))


def text_of(value: object, names: dict[UUID, str]) -> str:
    """Return what a table shows of a key: an id with its name."""
    if value is None:
        return "-"
    if isinstance(value, UUID):
        return f"{value} {names.get(value, _GONE)}"
    return value.strftime("%Y-%m-%dT%H:%MZ") if isinstance(value, datetime) else str(value)


async def names_of(services: AdminServices, items: Sequence[dict[str, Any]]) -> dict[UUID, str]:
    """Return the names of the keys, teams and organisations that the items are of."""
    listings: dict[str, Any] = {
        "key_id": services.keys,
        "team_id": services.teams,
        "organization_id": services.organizations,
    }
    names: dict[UUID, str] = {}
    for member, service in listings.items():
        if not any(member in item for item in items):
            continue

        async def page(cursor: str | None, service: Any = service) -> Page[Any]:
            return await service.page(COMMAND_LINE, limit=_PAGE, cursor=cursor)  # type: ignore[no-any-return] # a page

        names |= {record.id: record.name async for record in every(page)}
    return names


async def every(page: Callable[[str | None], Awaitable[Page[Any]]]) -> AsyncIterator[Any]:
    """Iterate over the items of all pages."""
    cursor: str | None = None
    while True:
        found = await page(cursor)
        for item in found.items:
            yield item
        cursor = found.cursor
        if cursor is None:
            return
