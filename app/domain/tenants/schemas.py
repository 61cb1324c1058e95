"""Organisations and teams as the admin API speaks them; the full structs are also the stored records."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.domain.tenants.policies import Budget, CacheRules, Limits, ModelList, Name

DEFAULT_ORGANIZATION = UUID("00000000-0000-7000-8000-000000000001")
"""The organisation that the first migration makes; keys without a team belong to it."""

Status = Literal["active", "suspended"]


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    """A tenant. Its limits, budget, models and cache settings bind all its teams and keys."""

    id: UUID
    name: Name
    status: Status = "active"
    models: ModelList | None = None
    limits: Limits | None = None
    budget: Budget | None = None
    cache: CacheRules | None = None
    created_at: datetime
    updated_at: datetime
    version: Annotated[int, Meta(description="Counts changes; it is the ETag.")] = 1


class CreateOrganization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new organisation; only `name` is required."""

    name: Name
    models: ModelList | None = None
    limits: Limits | None = None
    budget: Budget | None = None
    cache: CacheRules | None = None


class PatchOrganization(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes to an organisation: what is absent stays, null removes."""

    name: Name | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    models: ModelList | UnsetType | None = UNSET
    limits: Limits | UnsetType | None = UNSET
    budget: Budget | UnsetType | None = UNSET
    cache: CacheRules | UnsetType | None = UNSET


class Team(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an organisation. Its settings bind its keys, within those of the organisation."""

    id: UUID
    organization_id: UUID
    name: Name
    status: Status = "active"
    models: ModelList | None = None
    limits: Limits | None = None
    budget: Budget | None = None
    cache: CacheRules | None = None
    created_at: datetime
    updated_at: datetime
    version: Annotated[int, Meta(description="Counts changes; it is the ETag.")] = 1


class CreateTeam(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new team; without `organization_id` it joins the caller's organisation, or the default one."""

    name: Name
    organization_id: UUID | None = None
    models: ModelList | None = None
    limits: Limits | None = None
    budget: Budget | None = None
    cache: CacheRules | None = None


class PatchTeam(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes to a team: what is absent stays, null removes."""

    name: Name | UnsetType = UNSET
    status: Status | UnsetType = UNSET
    models: ModelList | UnsetType | None = UNSET
    limits: Limits | UnsetType | None = UNSET
    budget: Budget | UnsetType | None = UNSET
    cache: CacheRules | UnsetType | None = UNSET
