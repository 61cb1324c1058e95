"""`llm-gateway rotate-kek`: what is stored under a new master secret. Law: online, resumable, nothing is shown.

Each credential's own key is wrapped anew; the credential itself is not sealed again. Workers that have both secrets
serve what was rewrapped and what was not. Of all else that is under the secret before, it tells how much is left.
"""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from app.commands.columns import aligned
from app.commands.database import over_database
from app.commands.failure import CommandFailed
from app.commands.sources import complete_settings, open_sources
from app.domain.keys.repository import Standing
from app.domain.remaining import Remains, Sealed
from app.domain.services import AdminServices
from app.domain.upstream.rotation import Progress, rotate
from app.kernel.ids import uuid7_text
from app.settings.environment import OLD_MASTER_SECRET


class _Done(NamedTuple):
    """What became of the credentials, and what else needs the old secret."""

    progress: Progress
    remains: Remains


def run(config: Path | None, *, say: Callable[[str], None]) -> None:
    """Rewrap every credential that is not under the master secret yet. Raises `CommandFailed` if some cannot be."""
    if complete_settings(open_sources(config)).old_master_secret is None:
        raise CommandFailed(
            f"{OLD_MASTER_SECRET} is not set. Give it the master secret under which the credentials were sealed, and "
            "GATEWAY_MASTER_SECRET the new one; running gateways need both until this has ended."
        )

    async def work(services: AdminServices) -> _Done:
        def show(progress: Progress) -> None:
            say(f"{progress.done} of {progress.total} credentials are under the new secret")

        progress = await rotate(services.auditor, services.upstream_reader, request_id=uuid7_text(), show=show)
        await services.auditor.reseal()
        return _Done(progress, await services.remaining.count())

    done = over_database(config, work)
    for line in _account(done.remains):
        say(line)
    if done.progress.unreadable:
        raise CommandFailed(_left(done.progress.unreadable))
    say("no credential needs the old secret any more")
    if done.remains.is_nothing:
        say(f"nothing else does: start the gateways without {OLD_MASTER_SECRET}")
    else:
        say(f"what else does, as told above, ends when {OLD_MASTER_SECRET} goes; run this again to see what is left")


def _account(remains: Remains) -> Iterator[str]:
    """Yield how far the rotation is of what no command can carry over."""
    yield from _keys("keys", remains.keys)
    yield from _keys("admin keys", remains.admin_keys)
    yield from _kept("responses", remains.responses)
    yield from _kept("answers to idempotency keys", remains.answers)


def _keys(kind: str, standing: Standing) -> Iterator[str]:
    yield f"{standing.total - standing.left} of {standing.total} {kind} are under the new secret"
    if not standing.left:
        return
    yield f"{standing.left} {kind} were not used since the gateways have both secrets:"
    yield aligned([("", public_id, name) for name, public_id in standing.examples], left=3)
    if standing.left > len(standing.examples):
        yield f"  and {standing.left - len(standing.examples)} more"


def _kept(kind: str, sealed: Sealed) -> Iterator[str]:
    if sealed.until is not None:
        yield f"{sealed.number} {kind} are under the old secret, the last of them kept until {_moment(sealed.until)}"


def _moment(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def _left(names: list[tuple[UUID, str]]) -> str:
    lines = "".join(f"\n  {name} ({provider_id})" for provider_id, name in names)
    return f"the credentials of these providers open under neither secret; send them anew:{lines}"
