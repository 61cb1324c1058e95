"""Keys as the admin API and the data plane speak them; `ApiKey` and `AdminKey` are also the stored records."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.domain.audit.principal import Role
from app.domain.tenants.policies import Budget, CacheRules, Limits, ModelList, Name, Tags

KeyStatus = Literal["active", "suspended", "revoked"]
Scope = Literal["inference", "models"]
Scopes = Annotated[
    list[Scope], Meta(min_length=1, max_length=8, description="`inference`: every path; `models`: only listing models.")
]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339, with an offset.")]

GRACE_MAX_S = 2_592_000
"""Thirty days: the longest that a rotated secret goes on working."""


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the inference API. Its secret is shown once, when it is made or rotated."""

    id: UUID
    public_id: Annotated[str, Meta(description="The part of the secret that is ever shown again.")]
    name: Name
    organization_id: UUID
    team_id: UUID | None = None
    status: KeyStatus = "active"
    models: ModelList | None = None
    limits: Limits | None = None
    budget: Budget | None = None
    cache: CacheRules | None = None
    may_route: Annotated[bool, Meta(description="Whether `x-gateway-route` is obeyed.")] = False
    tags: Tags = {}
    scopes: Scopes = msgspec.field(default_factory=lambda: ["inference"])
    expires_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    revoked_at: datetime | None = None
    version: Annotated[int, Meta(description="Counts changes; it is the ETag.")] = 1


class ApiKeyWithSecret(ApiKey, frozen=True, kw_only=True):
    """A key, with its secret, which is not shown again."""

    secret: Annotated[str, Meta(description="Keep it: it is shown only here.")]


class CreateKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new key; only `name` is required. Without a team it is of the caller's organisation, or the default one."""

    name: Name
    organization_id: UUID | None = None
    team_id: UUID | None = None
    models: ModelList | None = None
    limits: Limits | None = None
    budget: Budget | None = None
    cache: CacheRules | None = None
    may_route: bool = False
    tags: Tags = {}
    scopes: Scopes = msgspec.field(default_factory=lambda: ["inference"])
    expires_at: Moment | None = None


class PatchKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes to a key: what is absent stays, null removes. A team must be of the key's own organisation."""

    name: Name | UnsetType = UNSET
    team_id: UUID | UnsetType | None = UNSET
    status: Literal["active", "suspended"] | UnsetType = UNSET
    models: ModelList | UnsetType | None = UNSET
    limits: Limits | UnsetType | None = UNSET
    budget: Budget | UnsetType | None = UNSET
    cache: CacheRules | UnsetType | None = UNSET
    may_route: bool | UnsetType = UNSET
    tags: Tags | UnsetType = UNSET
    scopes: Scopes | UnsetType = UNSET
    expires_at: Moment | UnsetType | None = UNSET


class Rotate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a secret is replaced: the old one goes on working for `grace_s` seconds."""

    grace_s: Annotated[int, Meta(ge=0, le=GRACE_MAX_S)] = 0


AT_ONCE = Rotate()
"""What a rotation is that says nothing."""


class AdminKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key of the admin API, on the installation (`organization_id` null) or on one organisation."""

    id: UUID
    public_id: Annotated[str, Meta(description="The part of the secret that is ever shown again.")]
    name: Name
    role: Role
    organization_id: UUID | None = None
    status: KeyStatus = "active"
    expires_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    revoked_at: datetime | None = None
    version: Annotated[int, Meta(description="Counts changes; it is the ETag.")] = 1


class AdminKeyWithSecret(AdminKey, frozen=True, kw_only=True):
    """An admin key, with its secret, which is not shown again."""

    secret: Annotated[str, Meta(description="Keep it: it is shown only here.")]


class CreateAdminKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new admin key; without `organization_id` it has the caller's own scope."""

    name: Name
    role: Role
    organization_id: UUID | None = None
    expires_at: Moment | None = None


class PatchAdminKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes to an admin key: what is absent stays, null removes."""

    name: Name | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    status: Literal["active", "suspended"] | UnsetType = UNSET
    expires_at: Moment | UnsetType | None = UNSET


class KeySecret(msgspec.Struct, frozen=True, kw_only=True):
    """One secret of a key, as it is stored: its keyed hash, and the id of the pepper.

    `former_mac` is the hash under the pepper before, which processes that know no other go by.
    """

    public_id: str
    key_id: UUID | None = None
    admin_key_id: UUID | None = None
    mac: bytes
    kid: str
    former_mac: bytes | None = None
    former_kid: str | None = None
    created_at: datetime
    expires_at: datetime | None = None


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that authenticating and admitting one request needs, in one flat immutable snapshot."""

    key_id: UUID
    public_id: str
    name: str
    organization_id: UUID
    team_id: UUID | None
    status: KeyStatus
    models: ModelList | None
    limits: Limits | None
    budget: Budget | None
    cache: CacheRules | None
    may_route: bool
    tags: dict[str, str]
    scopes: list[Scope]
    expires_at: datetime | None
    version: int
    secret_mac: bytes
    secret_kid: str
    former_mac: bytes | None = None
    former_kid: str | None = None
    secret_expires_at: datetime | None
    team_status: Literal["active", "suspended"] | None
    team_models: ModelList | None
    team_limits: Limits | None
    team_budget: Budget | None
    team_cache: CacheRules | None
    organization_status: Literal["active", "suspended"]
    organization_models: ModelList | None
    organization_limits: Limits | None
    organization_budget: Budget | None
    organization_cache: CacheRules | None


class AdminKeyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What authenticating one admin request needs."""

    key_id: UUID
    name: str
    role: Role
    organization_id: UUID | None
    status: KeyStatus
    expires_at: datetime | None
    secret_mac: bytes
    secret_kid: str
    former_mac: bytes | None = None
    former_kid: str | None = None
    secret_expires_at: datetime | None
