"""`llm-gateway fanouts`: which model wins when several are asked, as a table or as the admin API says it."""

from pathlib import Path
from typing import Any

from app.commands.columns import aligned
from app.commands.database import over_database
from app.commands.usage import Asked, Report, every, names_of, text_of
from app.db.paging import Page
from app.domain.audit.principal import COMMAND_LINE
from app.domain.services import AdminServices
from app.domain.usage.grouping import read_groups
from app.domain.usage.reports import UsageQuery

_PAGE = 200
_KEYS = ("fanout", "model")
_MEASURES = ("legs", "won", "lost", "failed", "judged", "fused", "win_rate", "mean_ttft_ms", "p95_ttft_ms", "cost")


def run(config: Path | None, *, asked: Asked) -> Report:
    """Return what was asked for, all of it."""

    async def work(services: AdminServices) -> Report:
        query = UsageQuery(since=asked.since, until=asked.until)

        async def page(cursor: str | None) -> Page[dict[str, Any]]:
            return await services.usage.fanouts(
                COMMAND_LINE, query, group_by=asked.group_by, limit=_PAGE, cursor=cursor
            )

        items = [item async for item in every(page)]
        members = [*_KEYS, *(group.member for group in read_groups(asked.group_by))]
        return Report(items=items, groups=tuple(dict.fromkeys(members)), names=await names_of(services, items))

    return over_database(config, work)


def as_table(report: Report) -> str:
    """Return aligned columns under a heading."""
    heading = [*(name.removesuffix("_id") for name in report.groups), *_MEASURES]
    rows = [
        [
            *(text_of(item[name], report.names) for name in report.groups),
            *("-" if item[name] is None else str(item[name]) for name in _MEASURES),
        ]
        for item in report.items
    ]
    return aligned([heading, *rows], left=len(report.groups))
