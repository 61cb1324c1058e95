"""Which budgets are set."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Table, select

from app.db.engine import Connection
from app.domain.keys.tables import api_keys
from app.domain.quotas.use import Account
from app.domain.tenants.policies import Budget, ScopeKind
from app.domain.tenants.tables import organizations, teams

_TABLES: tuple[tuple[ScopeKind, Table], ...] = (("organization", organizations), ("team", teams), ("key", api_keys))
_AT_ONCE = 1_000


async def budgets_set(connection: Connection) -> AsyncIterator[tuple[Account, Budget]]:
    """Yield every budget of the admin API, and what it sits on."""
    for kind, table in _TABLES:
        async for row in _rows(connection, table, has_budget=True):
            yield _account(kind, row), msgspec.convert(row["budget"], Budget)


async def every_organization(connection: Connection) -> AsyncIterator[Account]:
    """Yield every organisation."""
    async for row in _rows(connection, organizations, has_budget=False):
        yield _account("organization", row)


async def _rows(connection: Connection, table: Table, *, has_budget: bool) -> AsyncIterator[Any]:
    after: UUID | None = None
    while True:
        statement = select(table).order_by(table.c.id).limit(_AT_ONCE)
        if has_budget:
            statement = statement.where(table.c.budget.is_not(None))
        if after is not None:
            statement = statement.where(table.c.id > after)
        rows = (await connection.execute(statement)).mappings().all()
        for row in rows:
            yield row
        if len(rows) < _AT_ONCE:
            return
        after = rows[-1]["id"]


def _account(kind: ScopeKind, row: Any) -> Account:
    organization_id = row["id"] if kind == "organization" else row["organization_id"]
    return Account(scope=kind, id=row["id"], organization_id=organization_id)
