"""Grants and sessions, as the admin API speaks them; `Grant` is also the stored record."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.domain.audit.principal import Role
from app.domain.tenants.policies import NO_CONTROLS

Matches = Annotated[
    Literal["subject", "claim"],
    Meta(description="What `value` is held to: the `sub` claim of a token, or the values of `admin.jwt.role_claim`."),
]
Value = Annotated[str, Meta(min_length=1, max_length=255, pattern=NO_CONTROLS, description="Exactly.")]
Identity = Literal["admin_key", "environment", "person"]


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A role for people whom the issuer names, on the installation (`organization_id` null) or on one organisation."""

    id: UUID
    matches: Matches
    value: Value
    role: Role
    organization_id: UUID | None = None
    created_at: datetime
    updated_at: datetime
    version: Annotated[int, Meta(description="Counts changes; it is the ETag.")] = 1


class CreateGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new grant; without `organization_id` it has the caller's own scope."""

    matches: Matches
    value: Value
    role: Role
    organization_id: UUID | None = None


class PatchGrant(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change to a grant: whom it is for, and where, never changes."""

    role: Role | UnsetType = UNSET


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that is signed in. `role` and `organization_id` are as they were at the sign-in."""

    id: UUID
    identity: Annotated[Identity, Meta(description="What was signed in with.")]
    principal_id: str
    name: str
    role: Role
    organization_id: UUID | None
    created_at: datetime
    signed_in_at: Annotated[datetime, Meta(description="When the person last proved who it is.")]
    seen_at: Annotated[datetime, Meta(description="To the minute.")]
    expires_at: Annotated[datetime, Meta(description="The end, however busy; half an hour of silence is one too.")]


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A session as it is stored.

    `key_public_id` names the secret of an admin key that was presented, `key_mac` is the keyed hash of the
    environment's key; `subject` and `claim_values` are what the issuer said of a person.
    """

    id: UUID
    mac: bytes
    identity: Identity
    principal_id: str
    name: str
    role: Role
    organization_id: UUID | None
    key_public_id: str | None = None
    key_mac: bytes | None = None
    subject: str | None = None
    claim_values: list[str] | None = None
    created_at: datetime
    signed_in_at: datetime
    seen_at: datetime
    expires_at: datetime

    @property
    def shown(self) -> Session:
        """What of it may be shown."""
        return Session(**{name: getattr(self, name) for name in Session.__struct_fields__})


class SignInRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in at the issuer that has begun."""

    state_mac: bytes
    browser_mac: bytes
    return_to: str
    is_fresh: bool
    expires_at: datetime
