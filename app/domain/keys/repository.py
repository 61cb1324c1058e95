"""The rows of keys and their secrets, and the one query that authentication needs."""

from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import Column, Select, and_, delete, exists, func, insert, or_, select, update

from app.db.engine import Connection, Database
from app.db.rows import Record, Rows, to_record, to_row
from app.domain.keys import tables
from app.domain.keys.schemas import AdminKey, AdminKeyRecord, ApiKey, KeyRecord, KeySecret
from app.domain.tenants.tables import organizations, teams

api_keys = Rows(tables.api_keys, ApiKey)
admin_keys = Rows(tables.admin_keys, AdminKey)

_secrets = tables.key_secrets
_keys = tables.api_keys
_admins = tables.admin_keys
_POLICIES = ("status", "models", "limits", "budget", "cache")


def _prefixed(table: Any, prefix: str) -> list[Any]:
    return [table.c[name].label(f"{prefix}_{name}") for name in _POLICIES]


_secret_columns: list[Any] = [
    _secrets.c.public_id,
    _secrets.c.mac.label("secret_mac"),
    _secrets.c.kid.label("secret_kid"),
    _secrets.c.expires_at.label("secret_expires_at"),
    _secrets.c.former_mac,
    _secrets.c.former_kid,
]

_KEY_BY_PUBLIC_ID: Select[Any] = (
    select(
        _keys.c.id.label("key_id"),
        _keys.c.name,
        _keys.c.organization_id,
        _keys.c.team_id,
        _keys.c.may_route,
        _keys.c.tags,
        _keys.c.scopes,
        _keys.c.expires_at,
        _keys.c.version,
        *(_keys.c[name] for name in _POLICIES),
        *_secret_columns,
        *_prefixed(teams, "team"),
        *_prefixed(organizations, "organization"),
    )
    .join_from(_secrets, _keys, _secrets.c.key_id == _keys.c.id)
    .join(organizations, organizations.c.id == _keys.c.organization_id)
    .outerjoin(teams, teams.c.id == _keys.c.team_id)
)

_ADMIN_BY_PUBLIC_ID: Select[Any] = select(
    _admins.c.id.label("key_id"),
    _admins.c.name,
    _admins.c.role,
    _admins.c.organization_id,
    _admins.c.status,
    _admins.c.expires_at,
    *_secret_columns[1:],
).join_from(_secrets, _admins, _secrets.c.admin_key_id == _admins.c.id)


class KeyRepository:
    """Finds presented keys; each call is one query in its own short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find_by_public_id(self, public_id: str) -> KeyRecord | None:
        """Return the snapshot of an inference key, whatever its state, or None; the caller compares the secret."""
        return await self._one(_KEY_BY_PUBLIC_ID.where(_secrets.c.public_id == public_id), KeyRecord)

    async def find_by_id(self, key_id: UUID) -> KeyRecord | None:
        """Return the snapshot of an inference key under its current secret (for tokens that are mapped to a key)."""
        current = _secrets.c.public_id == _keys.c.public_id
        return await self._one(_KEY_BY_PUBLIC_ID.where(_keys.c.id == key_id, current), KeyRecord)

    async def find_admin_by_public_id(self, public_id: str) -> AdminKeyRecord | None:
        """Return what is known of an admin key, whatever its state, or None."""
        return await self._one(_ADMIN_BY_PUBLIC_ID.where(_secrets.c.public_id == public_id), AdminKeyRecord)

    async def has_admin_key(self, now: datetime) -> bool:
        """Tell whether any admin key can be used, so that the admin plane is not open to nobody."""
        usable = (_admins.c.status == "active") & or_(_admins.c.expires_at.is_(None), _admins.c.expires_at > now)
        return bool(await self._scalar(select(exists().where(usable))))

    async def has_key(self) -> bool:
        """Tell whether any inference key was ever made."""
        return bool(await self._scalar(select(exists(select(_keys.c.id)))))

    async def _one(self, statement: Select[Any], record: type[Record]) -> Record | None:
        async with self._database.reading() as connection:
            row = (await connection.execute(statement)).mappings().first()
        return None if row is None else to_record(row, record)

    async def _scalar(self, statement: Select[Any]) -> Any:
        async with self._database.reading() as connection:
            return (await connection.execute(statement)).scalar()


async def insert_secret(connection: Connection, secret: KeySecret) -> None:
    """Add a secret to its key."""
    await connection.execute(insert(_secrets).values(to_row(secret)))


class Renewal(NamedTuple):
    """A secret's hash under the current pepper, and the one that it was found right by, which stays beside it.

    `kid_before` is the pepper of the hash that stood first until now.
    """

    public_id: str
    kid_before: str
    kid: str
    mac: bytes
    former_kid: str
    former_mac: bytes


async def renew_secret(connection: Connection, renewal: Renewal) -> None:
    """Put a secret's new hash first, unless that was done already."""
    is_as_before = (_secrets.c.public_id == renewal.public_id) & (_secrets.c.kid == renewal.kid_before)
    values = {
        "kid": renewal.kid,
        "mac": renewal.mac,
        "former_kid": renewal.former_kid,
        "former_mac": renewal.former_mac,
    }
    await connection.execute(update(_secrets).where(is_as_before).values(values))


class Standing(NamedTuple):
    """Of the secrets of a kind that can still be used: how many there are, and how many have no hash under a pepper.

    `examples` are names and public ids of some that have none.
    """

    total: int
    left: int
    examples: tuple[tuple[str, str], ...]


async def standing_of(
    connection: Connection, owner: Literal["key_id", "admin_key_id"], *, kid: str, now: datetime, examples: int
) -> Standing:
    """Count a kind of secrets by the pepper `kid`; `owner` is the column that names whose they are."""
    keys = _keys if owner == "key_id" else _admins
    usable = [keys.c.status != "revoked"]
    usable += [or_(ends.is_(None), ends > now) for ends in (keys.c.expires_at, _secrets.c.expires_at)]
    left = and_(_secrets.c.kid != kid, or_(_secrets.c.former_kid.is_(None), _secrets.c.former_kid != kid))

    def over(*columns: Any) -> Select[Any]:
        return select(*columns).join_from(_secrets, keys, _secrets.c[owner] == keys.c.id).where(*usable)

    total, left_count = (await connection.execute(over(func.count(), func.count().filter(left)))).one()
    named = over(keys.c.name, _secrets.c.public_id).where(left).order_by(keys.c.id).limit(examples)
    return Standing(total, left_count, tuple((row.name, row.public_id) for row in await connection.execute(named)))


async def retire_secrets(connection: Connection, *, owner: str, owner_id: UUID, now: datetime, until: datetime) -> None:
    """Let a key's secrets end at `until` if not sooner, and forget those that have ended.

    `owner` is the column that names the key: `key_id` or `admin_key_id`.
    """
    column: Column[UUID] = _secrets.c[owner]
    await connection.execute(delete(_secrets).where(column == owner_id, _secrets.c.expires_at <= now))
    lasting = or_(_secrets.c.expires_at.is_(None), _secrets.c.expires_at > until)
    await connection.execute(update(_secrets).where(column == owner_id, lasting).values(expires_at=until))


async def delete_keys_of_team(connection: Connection, team_id: UUID) -> None:
    """Remove the keys of a team, with their secrets."""
    await connection.execute(delete(_keys).where(_keys.c.team_id == team_id))


async def delete_keys_of_organization(connection: Connection, organization_id: UUID) -> None:
    """Remove the keys and admin keys of an organisation, with their secrets."""
    for table in (_keys, _admins):
        await connection.execute(delete(table).where(table.c.organization_id == organization_id))
