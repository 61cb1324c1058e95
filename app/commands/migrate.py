"""`llm-gateway migrate`: the schema to head."""

from pathlib import Path

from app.commands.database import unreachable
from app.commands.failure import CommandFailed
from app.commands.sources import open_sources, read_settings
from app.db import schema
from app.db.faults import DatabaseUnavailable


def run(config: Path | None) -> str:
    """Bring the schema to head; return what was done. Needs no master secret: no key is read."""
    settings = read_settings(open_sources(config))
    url = settings.database.reveal()
    try:
        before = schema.current(url)
        schema.upgrade(url)
    except DatabaseUnavailable as error:
        raise CommandFailed(unreachable(settings, error)) from error
    if before == schema.head():
        return f"{settings.database} is at revision {before}, the newest"
    return f"{settings.database}: {before or 'empty'} -> {schema.head()}"
