"""The database of a command: its schema is right before anything uses it, and it is closed before anything forks."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from app.commands.embedded import database_file
from app.commands.failure import CommandFailed
from app.db import schema
from app.db.engine import Database
from app.db.faults import DatabaseUnavailable
from app.domain.audit.transaction import Auditor
from app.domain.keys.admin_service import AdminKeyService
from app.domain.keys.repository import KeyRepository
from app.domain.keys.secrets import derive_pepper
from app.domain.keys.service import KeyService
from app.kernel.clock import SystemClock
from app.settings import Settings
from providers.types import Secret

Result = TypeVar("Result")


def ensure_schema(settings: Settings) -> None:
    """Make sure the schema is this release's: the embedded SQLite file is migrated, PostgreSQL must have been."""
    url = settings.database.reveal()
    try:
        revision = schema.current(url)
        if revision == schema.head():
            return
        if not settings.has_sqlite:
            raise CommandFailed(_wrong_schema(settings, revision))
        schema.upgrade(url)
    except DatabaseUnavailable as error:
        raise CommandFailed(unreachable(settings, error)) from error
    _make_private(settings)


def _make_private(settings: Settings) -> None:
    """Let only the owner read the embedded database, which holds what people asked."""
    database_file(settings).chmod(0o600)


def _wrong_schema(settings: Settings, revision: str | None) -> str:
    is_at = "has no schema yet" if revision is None else f"is at revision {revision}"
    return (
        f"the database {settings.database} {is_at}; this release needs {schema.head()}. "
        "Run `llm-gateway migrate` with the same settings."
    )


def unreachable(settings: Settings, error: BaseException) -> str:
    """Return the text for a database that does not answer, with the driver's reason."""
    reason = error.__cause__ or error
    text = " ".join(str(reason).split()).split(" [SQL:", 1)[0] or type(reason).__name__
    return f"the database {settings.database} cannot be used: {text}"


@dataclass(frozen=True, kw_only=True)
class Services:
    """The key services on an open database, as the admin API has them."""

    database: Database
    keys: KeyService
    admin_keys: AdminKeyService
    repository: KeyRepository
    auditor: Auditor


def with_services(settings: Settings, work: Callable[[Services], Awaitable[Result]]) -> Result:
    """Run `work` on a loop of its own and close the database; no thread is left. Raises `CommandFailed`."""
    if settings.master_secret is None:
        raise CommandFailed("GATEWAY_MASTER_SECRET is not set")
    try:
        return asyncio.run(_with_services(settings, work, master=settings.master_secret))
    except DatabaseUnavailable as error:
        raise CommandFailed(unreachable(settings, error)) from error


async def _with_services(
    settings: Settings, work: Callable[[Services], Awaitable[Result]], *, master: Secret
) -> Result:
    database = Database(settings.database.reveal())
    pepper = derive_pepper(master)
    try:
        return await work(
            Services(
                database=database,
                keys=KeyService(database, pepper=pepper),
                admin_keys=AdminKeyService(database, pepper=pepper),
                repository=KeyRepository(database),
                auditor=Auditor(database, clock=SystemClock(), notify=_tell_nobody),
            )
        )
    finally:
        await database.aclose()


async def _tell_nobody(_kind: object, _object_id: object) -> None:
    """Leave it to the change feed, which every worker reads within seconds."""
