"""`llm-gateway rotate-kek`: stored credentials under a new master secret. Law: online, resumable, nothing is shown.

Each credential's own key is wrapped anew; the credential itself is not sealed again. Workers that have both secrets
serve what was rewrapped and what was not.
"""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from app.commands.database import over_database
from app.commands.failure import CommandFailed
from app.commands.sources import complete_settings, open_sources
from app.domain.services import AdminServices
from app.domain.upstream.rotation import Progress, rotate
from app.kernel.ids import uuid7_text
from app.settings.environment import OLD_MASTER_SECRET


def run(config: Path | None, *, say: Callable[[str], None]) -> None:
    """Rewrap every credential that is not under the master secret yet. Raises `CommandFailed` if some cannot be."""
    if complete_settings(open_sources(config)).old_master_secret is None:
        raise CommandFailed(
            f"{OLD_MASTER_SECRET} is not set. Give it the master secret under which the credentials were sealed, and "
            "GATEWAY_MASTER_SECRET the new one; running gateways need both until this has ended."
        )

    async def work(services: AdminServices) -> Progress:
        def show(progress: Progress) -> None:
            say(f"{progress.done} of {progress.total} credentials are under the new secret")

        return await rotate(services.auditor, services.upstream_reader, request_id=uuid7_text(), show=show)

    progress = over_database(config, work)
    if progress.unreadable:
        raise CommandFailed(_left(progress.unreadable))
    say("no credential needs the old secret any more")


def _left(names: list[tuple[UUID, str]]) -> str:
    lines = "".join(f"\n  {name} ({provider_id})" for provider_id, name in names)
    return f"the credentials of these providers open under neither secret; send them anew:{lines}"
