"""What may be done with keys. Law: a secret is returned once, by the call that makes it, and is stored nowhere."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from app.db.engine import Database
from app.db.paging import Page
from app.domain.audit.objects import AuditedObjects, patched
from app.domain.audit.principal import Principal
from app.domain.audit.transaction import AuditedTransaction
from app.domain.keys import repository
from app.domain.keys.schemas import ApiKey, ApiKeyWithSecret, CreateKey, KeySecret, PatchKey
from app.domain.keys.secrets import NewKey, Peppers, key_mac, make_key
from app.domain.tenants import repository as tenants
from app.domain.tenants.schemas import Team
from app.domain.tenants.service import resolve_organization
from app.kernel.errors import Conflict, InvalidRequest
from app.kernel.ids import uuid7


class KeyService:
    """Keys of the inference API."""

    def __init__(self, database: Database, *, peppers: Peppers) -> None:
        self._objects = AuditedObjects(database, repository.api_keys, kind="key")
        self._peppers = peppers

    async def find(self, principal: Principal, key_id: UUID) -> ApiKey:
        """Return one; raises `NotFound`."""
        return await self._objects.find(principal, key_id)

    async def page(
        self, principal: Principal, *, limit: int, cursor: str | None, **where: UUID | str | None
    ) -> Page[ApiKey]:
        """Return some, newest first; `where` may name organization_id, team_id, status; None says nothing."""
        said: dict[str, Any] = {name: value for name, value in where.items() if value is not None}
        return await self._objects.page(principal, limit=limit, cursor=cursor, where=said)

    async def create(self, transaction: AuditedTransaction, spec: CreateKey) -> ApiKeyWithSecret:
        """Make one, with its secret."""
        team = await self._team(transaction, spec.team_id)
        organization_id = await self._organization(transaction, spec, team)
        new = make_key("inference")
        fields = msgspec.structs.asdict(spec) | {
            "organization_id": organization_id,
            "expires_at": future(spec.expires_at, transaction.now),
        }
        made = ApiKey(
            **fields,
            id=uuid7(transaction.now_ns),
            public_id=new.public_id,
            created_at=transaction.now,
            updated_at=transaction.now,
        )
        await self._objects.create(transaction, made)
        await store_secret(transaction, new, peppers=self._peppers, key_id=made.id)
        return _with_secret(made, new)

    async def patch(self, transaction: AuditedTransaction, key_id: UUID, patch: PatchKey) -> ApiKey:
        """Change one that is not revoked."""
        before = await self._objects.load(transaction, key_id)
        require_usable(before.status)
        if isinstance(patch.team_id, UUID):
            team = await self._team(transaction, patch.team_id)
            _require_same_organization(team, before.organization_id)
        after = patched(before, patch)
        if patch.expires_at is not UNSET:
            after = msgspec.structs.replace(after, expires_at=future(patch.expires_at, transaction.now))
        return await self._objects.update(transaction, before, after)

    async def revoke(self, transaction: AuditedTransaction, key_id: UUID) -> ApiKey:
        """End one for good; again is the same as once."""
        before = await self._objects.load(transaction, key_id)
        if before.status == "revoked":
            return before
        after = msgspec.structs.replace(before, status="revoked", revoked_at=transaction.now)
        return await self._objects.update(transaction, before, after, action="revoke")

    async def rotate(self, transaction: AuditedTransaction, key_id: UUID, *, grace_s: int) -> ApiKeyWithSecret:
        """Give one a new secret; the old one goes on working for `grace_s` seconds, 0 meaning not at all."""
        before = await self._objects.load(transaction, key_id)
        require_usable(before.status)
        new = make_key("inference")
        await retire_secrets(transaction, owner="key_id", owner_id=key_id, grace_s=grace_s)
        await store_secret(transaction, new, peppers=self._peppers, key_id=key_id)
        after = msgspec.structs.replace(before, public_id=new.public_id)
        return _with_secret(await self._objects.update(transaction, before, after, action="rotate"), new)

    async def _team(self, transaction: AuditedTransaction, team_id: UUID | None) -> Team | None:
        if team_id is None:
            return None
        scope = transaction.principal.organization_id
        team = await tenants.teams.find(transaction.connection, team_id, scope=scope)
        if team is None:
            raise InvalidRequest("there is no such team", code="unknown_team", param="team_id")
        return team

    async def _organization(self, transaction: AuditedTransaction, spec: CreateKey, team: Team | None) -> UUID:
        if team is None:
            return await resolve_organization(transaction, spec.organization_id)
        _require_same_organization(team, spec.organization_id or team.organization_id)
        return team.organization_id


def require_usable(status: str) -> None:
    """Raise `Conflict` for a revoked key: it stays as it was when it ended."""
    if status == "revoked":
        raise Conflict("the key is revoked", code="key_revoked")


def future(moment: datetime | UnsetType | None, now: datetime) -> datetime | None:
    """Return an expiry in UTC; raises `InvalidRequest` for one that has passed or that UTC cannot express."""
    if moment is None or isinstance(moment, UnsetType):
        return None
    try:
        expiry = moment.astimezone(UTC)
    except OverflowError:
        raise InvalidRequest("expires_at is out of range", param="expires_at") from None
    if expiry <= now:
        raise InvalidRequest("expires_at has passed; to end a key now, revoke it", param="expires_at")
    return expiry


async def store_secret(
    transaction: AuditedTransaction,
    new: NewKey,
    *,
    peppers: Peppers,
    key_id: UUID | None = None,
    admin_key_id: UUID | None = None,
) -> None:
    """Store the keyed hash of a new secret, of either an inference key or an admin key.

    While the master secret is rotated that under the old one too, for processes that know no other yet.
    """
    text, (current, old) = new.text.reveal().encode(), peppers
    secret = KeySecret(
        public_id=new.public_id,
        key_id=key_id,
        admin_key_id=admin_key_id,
        mac=key_mac(current.key, text),
        kid=current.kid,
        former_mac=None if old is None else key_mac(old.key, text),
        former_kid=None if old is None else old.kid,
        created_at=transaction.now,
    )
    await repository.insert_secret(transaction.connection, secret)


async def retire_secrets(transaction: AuditedTransaction, *, owner: str, owner_id: UUID, grace_s: int) -> None:
    """Let the secrets that a key has so far end after `grace_s` seconds; `owner` is key_id or admin_key_id."""
    until = transaction.now + timedelta(seconds=grace_s)
    await repository.retire_secrets(
        transaction.connection, owner=owner, owner_id=owner_id, now=transaction.now, until=until
    )


def _require_same_organization(team: Team | None, organization_id: UUID) -> None:
    if team is not None and team.organization_id != organization_id:
        raise InvalidRequest("the team is of another organisation", code="unknown_team", param="team_id")


def _with_secret(key: ApiKey, new: NewKey) -> ApiKeyWithSecret:
    return ApiKeyWithSecret(**msgspec.structs.asdict(key), secret=new.text.reveal())
