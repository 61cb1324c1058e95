"""Who acts. Law: a role counts only within its scope, and outside the scope nothing is visible."""

from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

from app.kernel.errors import Forbidden


class Role(StrEnum):
    """What an administrator may do: a viewer reads, an admin also writes, an owner also manages administrators."""

    VIEWER = "viewer"
    ADMIN = "admin"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        """The place in the order of roles; a higher one includes the lower."""
        return _RANKS[self]

    def includes(self, other: "Role") -> bool:
        """Tell whether this role may do all that `other` may."""
        return self.rank >= other.rank


_RANKS = {Role.VIEWER: 0, Role.ADMIN: 1, Role.OWNER: 2}

PrincipalKind = Literal["admin_key", "environment", "command_line", "person", "session", "system"]


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """An authenticated administrator; `organization_id` is the scope, None the whole installation."""

    kind: PrincipalKind
    id: str
    name: str
    role: Role
    organization_id: UUID | None = None

    @property
    def is_of_installation(self) -> bool:
        """Whether the scope is the whole installation."""
        return self.organization_id is None

    def require_installation(self) -> None:
        """Raise `Forbidden` unless the scope is the whole installation."""
        if not self.is_of_installation:
            raise Forbidden("this needs a role on the installation", code="insufficient_scope")

    def require_role(self, role: Role) -> None:
        """Raise `Forbidden` unless this principal's role includes `role`."""
        if not self.role.includes(role):
            raise Forbidden(f"this needs the role {role.value}", code="insufficient_scope")


COMMAND_LINE = Principal(kind="command_line", id="command_line", name="llm-gateway", role=Role.OWNER)
"""Whoever may run commands on the host owns the installation."""

LEDGER = Principal(kind="system", id="ledger", name="ledger", role=Role.OWNER)
"""The gateway itself, when it finds that its books disagree."""

ENVIRONMENT = Principal(kind="environment", id="GATEWAY_ADMIN_KEY", name="GATEWAY_ADMIN_KEY", role=Role.OWNER)
"""Whoever presents the key that the environment names."""
