"""The rows of `kept_answers`, read from the gateway's database behind its back, and their leases."""

import asyncio
import contextlib
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import asyncpg
import yaml
from servers.gateway import GatewayProcess
from servers.postgres import dsn


class KeptAnswers:
    """What one gateway keeps for idempotency keys, whichever database it writes to."""

    def __init__(self, gateway: GatewayProcess) -> None:
        tree = yaml.safe_load(gateway.config.read_text()) if gateway.config is not None else {}
        self._postgres = tree.get("database")
        self._file = gateway.folder / ".gateway" / "gateway.db"

    def rows(self, key_id: str) -> list[dict[str, Any]]:
        """Return what is kept for an API key."""
        return self._ask("SELECT * FROM kept_answers WHERE key_id = $1", key_id)

    def end_leases(self, key_id: str) -> None:
        """Let the leases of an API key's claims run out, as if their holders had said nothing for long."""
        past = "datetime('now', '-1 hour')" if self._postgres is None else "now() - interval '1 hour'"
        self._ask(f"UPDATE kept_answers SET lease_until = {past} WHERE key_id = $1", key_id)

    def all_bytes(self, key_id: str) -> bytes:
        """Return all that is stored: SQLite's files as they are, or every column of PostgreSQL's rows."""
        if self._postgres is None:
            return b"".join(file.read_bytes() for file in sorted(self._file.parent.glob("gateway.db*")))
        columns = [value for row in self.rows(key_id) for value in row.values()]
        return b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in columns)

    def _ask(self, statement: str, key_id: str) -> list[dict[str, Any]]:
        if self._postgres is None:
            with contextlib.closing(sqlite3.connect(self._file, timeout=10)) as connection, connection:
                connection.row_factory = sqlite3.Row
                found = connection.execute(statement.replace("$1", "?"), [UUID(key_id).hex]).fetchall()
            return [dict(row) for row in found]

        async def fetch() -> list[dict[str, Any]]:
            connection = await asyncpg.connect(dsn(str(self._postgres)), timeout=10)
            try:
                return [dict(row) for row in await connection.fetch(statement, UUID(key_id))]
            finally:
                await connection.close()

        # In a thread, so that tests inside and outside of a running loop are alike.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(fetch())).result()
