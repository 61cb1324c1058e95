"""What the ledger's events say of budgets."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select

from app.db.engine import Connection
from app.domain.tenants.policies import ScopeKind
from app.domain.usage.tables import usage_events


async def spent_nusd(
    connection: Connection, *, scope: ScopeKind, scope_id: UUID, organization_id: UUID, since: datetime | None
) -> int:
    """Return what the events of an organisation, or of one of its teams or keys, have cost since then, in nano-USD."""
    columns = usage_events.c
    conditions = [columns.organization_id == organization_id]
    if scope != "organization":
        conditions.append((columns.team_id if scope == "team" else columns.key_id) == scope_id)
    if since is not None:
        conditions.append(columns.occurred_at >= since)
    spent = (await connection.execute(select(func.sum(columns.cost_nusd)).where(*conditions))).scalar()
    return int(spent or 0)
