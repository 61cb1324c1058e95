"""`llm-gateway audit`: who changed what, and whether anybody has changed that.

Law: reads the database itself, so that a gateway which cannot be trusted is not asked.
"""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import msgspec

from app.commands.columns import aligned
from app.commands.database import over_database
from app.commands.failure import CommandFailed
from app.db.paging import Page
from app.domain.audit.principal import COMMAND_LINE
from app.domain.audit.schemas import AuditEntry, AuditQuery
from app.domain.audit.verifying import OnProgress, Verdict
from app.domain.services import AdminServices
from app.domain.usage.periods import read_moment

_SEALS = {
    "sealed": "its end is sealed",
    "unsealed": "it has no seal yet: the next change makes one, and until then a cut-off end stays unseen",
    "foreign": "its seal was made with another master secret and says nothing here",
}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The options of `audit list`, as they were typed."""

    actor: str | None = None
    action: str | None = None
    kind: str | None = None
    object_id: str | None = None
    since: str | None = None
    until: str | None = None
    limit: int = 50


def list_entries(config: Path | None, *, asked: Asked) -> Page[AuditEntry]:
    """Return the newest entries that fit; raises `CommandFailed`."""

    async def work(services: AdminServices) -> Page[AuditEntry]:
        query = AuditQuery(
            actor=asked.actor,
            action=asked.action,
            object_kind=asked.kind,
            object_id=_id(asked.object_id),
            since=None if asked.since is None else read_moment(asked.since, name="--from"),
            until=None if asked.until is None else read_moment(asked.until, name="--to"),
        )
        return await services.auditor.entries(COMMAND_LINE, query, limit=asked.limit, cursor=None)

    return over_database(config, work)


def verify(config: Path | None, *, on_progress: OnProgress) -> Verdict:
    """Return what a walk over the whole chain has found."""

    async def work(services: AdminServices) -> Verdict:
        return await services.auditor.verify(on_progress)

    return over_database(config, work)


def as_json(result: Page[AuditEntry] | Verdict) -> str:
    """Return what `--json` prints."""
    return msgspec.json.format(msgspec.json.encode(result), indent=2).decode()


def as_table(page: Page[AuditEntry]) -> str:
    """Return aligned columns under a heading."""
    heading = ("seq", "at", "who", "action", "kind", "object", "changed")
    return aligned([heading, *map(_row, page.items)], left=len(heading))


def verdict_text(verdict: Verdict) -> str:
    """Return in words whether the chain holds."""
    if verdict.broken is not None:
        before = f"; the {verdict.checked} before it hold" if verdict.checked < verdict.broken.seq else ""
        return f"the chain is broken at entry {verdict.broken.seq}: {verdict.broken.why}{before}"
    taken_over = ""
    if verdict.ranges and verdict.seal != "unsealed":
        named = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in verdict.ranges)
        taken_over = (
            f"; {verdict.unsealed} have no seal, written by releases without seals or by somebody without the master "
            f"secret: {named}"
        )
    return f"the chain holds: {verdict.checked} entries; {_SEALS[verdict.seal]}{taken_over}"


def _row(entry: AuditEntry) -> tuple[str, ...]:
    changed = ", ".join(entry.after or {}) if entry.action in {"update", "reload"} else ""
    if entry.object_kind == "config":
        changed = ", ".join((entry.after or {}).get("settings", {}))
    moment = f"{entry.at:%Y-%m-%dT%H:%M:%SZ}"
    return (
        str(entry.seq),
        moment,
        entry.principal_name,
        entry.action,
        entry.object_kind,
        str(entry.object_id),
        changed,
    )


def _id(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise CommandFailed(f"--id {text!r} is no id such as 01980000-0000-7000-8000-000000000000") from None
