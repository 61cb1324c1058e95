"""Which role a person has whom the issuer names. Law: one role in one place, read anew for every request.

A person acts by the highest role of all that the issuer's claim and the grants give, and of equal ones by the widest:
what one grant allows is never added to what another does.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import UUID

import msgspec

from app.db.engine import Database
from app.domain.access import repository
from app.domain.audit.principal import Principal, PrincipalKind, Role
from app.kernel.errors import Forbidden, Unauthenticated
from app.settings.model import Settings

_MAX_SUBJECT = 255
_MAX_VALUES = 200
_MAX_ID = 64
_MAX_NAME = 200


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """What an issuer's proved claims say of somebody; `values` are those of the role claim."""

    subject: str
    name: str
    values: list[str]

    @property
    def principal_id(self) -> str:
        """The name in the audit; it begins as no id of a key does."""
        text = f"oidc:{self.subject}"
        return text if len(text) <= _MAX_ID else f"oidc:{hashlib.sha256(text.encode()).hexdigest()[:48]}"


class People:
    """Turns people into principals."""

    def __init__(self, database: Database, *, settings: Callable[[], Settings]) -> None:
        """Read grants from the database, and by `settings` what the file maps."""
        self._database = database
        self._settings = settings

    async def principal(self, person: Person, *, kind: PrincipalKind) -> Principal:
        """Return who a person is here; raises `Forbidden` for somebody who has no role."""
        jwt = self._settings().admin.jwt
        if jwt is None:
            raise Unauthenticated
        roles: list[tuple[Role, UUID | None]] = [
            (Role(jwt.roles[value]), None) for value in person.values if value in jwt.roles
        ]
        async with self._database.reading() as connection:
            found = await repository.grants_for(connection, subject=person.subject, values=person.values)
        roles += [(grant.role, grant.organization_id) for grant in found]
        if not roles:
            raise Forbidden("nobody has given you a role here", code="no_role")
        role, organization_id = max(roles, key=lambda item: (item[0].rank, item[1] is None))
        return Principal(
            kind=kind, id=person.principal_id, name=person.name, role=role, organization_id=organization_id
        )


def read_person(claims: Mapping[str, Any], *, role_claim: str) -> Person:
    """Return the person of proved claims; raises `Unauthenticated` if they name nobody."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MAX_SUBJECT or not subject.isprintable():
        raise Unauthenticated
    names = (claims.get(name) for name in ("name", "preferred_username", "email"))
    name = next((name for name in names if isinstance(name, str) and name.strip()), subject)
    shown = "".join(letter for letter in name if letter.isprintable())[:_MAX_NAME]
    return Person(subject=subject, name=shown or subject[:_MAX_NAME], values=list(_values(claims, role_claim)))


def _values(claims: Mapping[str, Any], role_claim: str) -> Iterator[str]:
    found: Any = claims.get(role_claim)
    if found is None:
        found = claims
        for step in role_claim.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
    listed = found if isinstance(found, list) else [found]
    for value in listed[:_MAX_VALUES]:
        if isinstance(value, str) and 0 < len(value) <= _MAX_SUBJECT and "\0" not in value:
            yield value
