"""That the installation keeps an owner. Law: the last one cannot be taken away, unless the environment names a key."""

from collections.abc import Callable
from uuid import UUID

from sqlalchemy import or_, select

from app.domain.access import repository
from app.domain.audit.transaction import AuditedTransaction
from app.domain.keys.tables import admin_keys
from app.kernel.errors import Conflict
from app.settings.model import Settings


class Ownership:
    """Who else owns the installation."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        """Read by `settings` those in force."""
        self._settings = settings

    async def require_another(self, transaction: AuditedTransaction, *, besides: UUID) -> None:
        """Raise `Conflict` unless somebody owns the installation besides this admin key or grant.

        Writers of administration queue, so two owners cannot take each other away at once.
        """
        settings = self._settings()
        if settings.admin_key is not None or await self._has_key(transaction, besides):
            return
        jwt = settings.admin.jwt
        if jwt is not None:
            if "owner" in jwt.roles.values():
                return
            if await repository.has_owner_by_grant(transaction.connection, besides=besides):
                return
        raise Conflict("this is the installation's last owner: make another one first", code="last_owner")

    async def _has_key(self, transaction: AuditedTransaction, besides: UUID) -> bool:
        lasts = or_(admin_keys.c.expires_at.is_(None), admin_keys.c.expires_at > transaction.now)
        statement = select(admin_keys.c.id).where(
            admin_keys.c.role == "owner",
            admin_keys.c.organization_id.is_(None),
            admin_keys.c.status == "active",
            admin_keys.c.id != besides,
            lasts,
        )
        return (await transaction.connection.execute(statement.limit(1))).first() is not None
