"""The rows of organisations and teams."""

from uuid import UUID

from sqlalchemy import select

from app.db.engine import Connection
from app.db.rows import Rows
from app.domain.tenants import tables
from app.domain.tenants.schemas import Organization, Team

organizations = Rows(tables.organizations, Organization, scope_column="id")
teams = Rows(tables.teams, Team)


async def organization_ids(connection: Connection) -> list[UUID]:
    """Return the ids of all organisations, the oldest first."""
    statement = select(tables.organizations.c.id).order_by(tables.organizations.c.id)
    return [row[0] for row in await connection.execute(statement)]
