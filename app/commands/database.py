"""The database of a command: its schema is right before anything uses it, and it is closed before anything forks."""

import asyncio
import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from app.commands.embedded import database_file
from app.commands.failure import CommandFailed
from app.commands.sources import complete_settings, open_sources
from app.db import schema
from app.db.engine import Database
from app.db.faults import DatabaseUnavailable
from app.domain.audit.schemas import ObjectKind
from app.domain.services import AdminServices, Host
from app.kernel.clock import SystemClock
from app.kernel.errors import GatewayError
from app.settings import Settings
from app.stores.opening import open_stores
from providers.types import Secret

Result = TypeVar("Result")

_SIGNAL_S = 2


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


def with_services(settings: Settings, work: Callable[[AdminServices], Awaitable[Result]]) -> Result:
    """Run `work` on a loop of its own and close the database; no thread is left. Raises `CommandFailed`."""
    if settings.master_secret is None:
        raise CommandFailed("GATEWAY_MASTER_SECRET is not set")
    try:
        return asyncio.run(_with_services(settings, work, master=settings.master_secret))
    except DatabaseUnavailable as error:
        raise CommandFailed(unreachable(settings, error)) from error


def over_database(config: Path | None, work: Callable[[AdminServices], Awaitable[Result]]) -> Result:
    """Run `work` with the database of the settings, once its schema is this release's. Raises `CommandFailed`."""
    settings = complete_settings(open_sources(config))
    ensure_schema(settings)
    try:
        return with_services(settings, work)
    except GatewayError as error:
        raise CommandFailed(error.message) from error


async def _with_services(
    settings: Settings, work: Callable[[AdminServices], Awaitable[Result]], *, master: Secret
) -> Result:
    notify = functools.partial(_signal, settings) if settings.has_shared_state else None
    database = Database(settings.database.reveal())
    try:
        services = AdminServices.over(
            database,
            clock=SystemClock(),
            master_secret=master,
            old_master_secret=settings.old_master_secret,
            host=Host(settings=lambda: settings, notify=notify),
        )
        return await work(services)
    finally:
        await database.aclose()


async def _signal(settings: Settings, kind: ObjectKind, object_id: UUID) -> None:
    """Tell running workers at once; without this they read the change from the database within seconds."""
    from app.gateway.core import topic_of  # noqa: PLC0415 - slow to import, and only a change needs it

    stores = open_stores(settings.state.reveal())
    try:
        async with asyncio.timeout(_SIGNAL_S):
            await stores.start()
            await stores.signals.publish(topic_of(kind), object_id.bytes)
    finally:
        await stores.aclose()
