"""The rows of `usage_events`, read from the gateway's database behind its back."""

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import yaml
from servers.gateway import GatewayProcess
from servers.postgres import dsn

VISIBLE_WITHIN_S = 2.0
"""How soon after its answer an event must be in the database."""
_POLL_S = 0.02
_IDS = ("event_id", "request_id", "organization_id", "team_id", "key_id")


class Ledger:
    """The events of one gateway, whichever database it writes to."""

    def __init__(self, gateway: GatewayProcess) -> None:
        tree = yaml.safe_load(gateway.config.read_text()) if gateway.config is not None else {}
        self.url: str | None = tree.get("database")
        """Its PostgreSQL; absent in embedded mode."""
        self._file = gateway.folder / ".gateway" / "gateway.db"

    def events(self, **where: UUID | str) -> list[dict[str, Any]]:
        """Return the events that have these values (`request_id`, `key_id`), attempts in order."""
        given = {name: UUID(str(value)) for name, value in where.items()}
        rows = self._from_sqlite(given) if self.url is None else self._from_postgres(given)
        return sorted(rows, key=lambda row: (row["occurred_at"], row["attempt"]))

    def wait(self, count: int, *, within_s: float = VISIBLE_WITHIN_S, **where: UUID | str) -> list[dict[str, Any]]:
        """Return those events as soon as there are `count`, or after `within_s` those that there are."""
        return self.wait_until(lambda events: len(events) >= count, within_s=within_s, **where)

    def wait_for_all(self, count: int, **where: UUID | str) -> list[dict[str, Any]]:
        """Return those events once there are `count`, and whatever came within a second after."""
        self.wait(count, **where)
        return self.wait(count + 1, within_s=1, **where)

    def wait_until(
        self, is_so: Callable[[list[dict[str, Any]]], bool], *, within_s: float, **where: UUID | str
    ) -> list[dict[str, Any]]:
        """Return those events as soon as `is_so`, or after `within_s` as they are."""
        deadline = time.monotonic() + within_s
        while not is_so(found := self.events(**where)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return found

    def _from_sqlite(self, where: dict[str, UUID]) -> list[dict[str, Any]]:
        said = " AND ".join(f"{name} = ?" for name in where) or "1"
        with contextlib.closing(sqlite3.connect(f"file:{self._file}?mode=ro", uri=True, timeout=10)) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute(
                f"SELECT * FROM usage_events WHERE {said}",
                [value.hex for value in where.values()],
            ).fetchall()
        return [_from_text(dict(row)) for row in rows]

    def _from_postgres(self, where: dict[str, UUID]) -> list[dict[str, Any]]:
        said = " AND ".join(f"{name} = ${at}" for at, name in enumerate(where, 1)) or "true"
        statement = f"SELECT * FROM usage_events WHERE {said}"

        async def fetch() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(dsn(str(self.url)), timeout=10)
            try:
                rows = await connection.fetch(statement, *where.values())
            finally:
                await connection.close()
            return [dict(row) | {"tags": json.loads(row["tags"])} for row in rows]

        # In a thread, so that tests inside and outside of a running loop are alike.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(fetch())).result()


def _from_text(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row of SQLite as PostgreSQL has it."""
    ids = {name: UUID(row[name]) if row[name] else None for name in _IDS}
    moment = datetime.fromisoformat(row["occurred_at"]).replace(tzinfo=UTC)
    return {**row, **ids, "occurred_at": moment, "tags": json.loads(row["tags"]), "stream": bool(row["stream"])}


def cost_nusd(input_tokens: int, output_tokens: int) -> int:
    """Return what tokens cost at `servers.configs.PRICE`: 150 and 600 nano-USD each."""
    return 150 * input_tokens + 600 * output_tokens


def usd(nusd: int) -> str:
    """Return nano-USD as the API writes them."""
    return f"{nusd // 10**9}.{nusd % 10**9:09d}"
