"""Audit entries and changes, as they are read."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

ObjectKind = Literal[
    "organization",
    "team",
    "key",
    "admin_key",
    "grant",
    "session",
    "price",
    "provider",
    "model",
    "ensemble",
    "ledger",
    "cache",
    "config",
]
Action = Literal[
    "create", "update", "delete", "revoke", "rotate", "reconcile", "purge", "reload", "sign_in", "sign_out"
]


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One change by an administrator. Entries form a chain: each hash covers the entry and the hash before it."""

    seq: Annotated[int, Meta(description="Counts entries, without gaps.")]
    at: datetime
    principal_kind: str
    principal_id: str
    principal_name: str
    action: str
    object_kind: str
    object_id: UUID
    organization_id: UUID | None
    before: Annotated[dict[str, Any] | None, Meta(description="What changed, as it was; null at a creation.")]
    after: Annotated[dict[str, Any] | None, Meta(description="What changed, as it is; null at a deletion.")]
    request_id: str
    hash: Annotated[str, Meta(description="SHA-256, in hexadecimal.")]


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries are asked for; None: whichever. `actor` is the id or the name of who acted; `until` is excluded."""

    actor: str | None = None
    action: str | None = None
    object_kind: str | None = None
    object_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """Something was written; whoever keeps a snapshot of it drops the snapshot.

    `kind` is an `ObjectKind`, or what a newer release calls one: workers of two releases read one feed.
    """

    seq: int
    at: datetime
    kind: str
    object_id: UUID


class NewEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What is hashed and stored of one change; `before` and `after` are canonical JSON."""

    at: datetime
    principal_kind: str
    principal_id: str
    principal_name: str
    action: Action
    object_kind: ObjectKind
    object_id: UUID
    organization_id: UUID | None
    before: str | None
    after: str | None
    request_id: str
