"""Sessions of browsers. Law: a session allows what whoever signed in may do now, and only while that may sign in.

A session ends 30 minutes after its last use, 12 hours after it began, when it is signed out or revoked, and with the
admin key, the secret or the last grant by which it came. Its token is random, made at the sign-in, and stored nowhere.
"""

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from app.db.engine import Database
from app.db.paging import Page
from app.domain.access import repository
from app.domain.access.people import People, Person
from app.domain.access.schemas import Session, SessionRecord
from app.domain.audit.principal import Principal, Role
from app.domain.audit.transaction import AuditedTransaction, Auditor
from app.domain.keys.admin_authentication import AdminKeyAuthenticator
from app.domain.keys.secrets import Derived, parse_key
from app.kernel.clock import Clock
from app.kernel.errors import NotFound, Unauthenticated
from app.kernel.ids import uuid7

IDLE = timedelta(minutes=30)
LIFETIME = timedelta(hours=12)
RECENT = timedelta(minutes=10)
_SEEN_STEP = timedelta(minutes=1)
_TOKEN_BYTES = 32
_TOKEN_CHARS = 43


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSession:
    """A session that a request came with; `csrf_token` is what a page of ours says beside the cookie."""

    session: Session
    principal: Principal
    csrf_token: str
    is_recent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session just made, and its token, which is for the cookie only."""

    opened: OpenSession
    token: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Origin:
    """What a session hangs on; see `SessionRecord`."""

    key_public_id: str | None = None
    key_mac: bytes | None = None
    person: Person | None = None


class SessionService:
    """Makes, finds and ends sessions."""

    def __init__(
        self,
        database: Database,
        *,
        auditor: Auditor,
        authenticator: AdminKeyAuthenticator,
        people: People,
        keys: Derived,
        clock: Clock,
    ) -> None:
        """Hash tokens under the current one of `keys`; a session that began under the old one goes on under it."""
        self._database = database
        self._auditor = auditor
        self._authenticator = authenticator
        self._people = people
        self._keys = keys
        self._clock = clock

    async def sign_in_by_key(self, key: bytes, *, request_id: str) -> NewSession:
        """Make a session of whoever presents an admin key; raises as the authentication by key does."""
        principal = await self._authenticator(key)
        parsed = parse_key(key) if principal.kind == "admin_key" else None
        if parsed is None:
            origin = _Origin(key_mac=self._authenticator.environment_mac)
        else:
            origin = _Origin(key_public_id=parsed.public_id)
        return await self._open(principal, origin, request_id=request_id, signed_in_at=self._clock.now())

    async def sign_in_person(self, person: Person, *, request_id: str, signed_in_at: datetime) -> NewSession:
        """Make a session of a person whom the issuer has named; raises `Forbidden` for one without a role."""
        principal = await self._people.principal(person, kind="session")
        return await self._open(principal, _Origin(person=person), request_id=request_id, signed_in_at=signed_in_at)

    async def find(self, token: str) -> OpenSession:
        """Return the session of a token; raises `Unauthenticated` for one that has ended or never was.

        Raises `Forbidden` for a person who has no role any more.
        """
        if len(token) != _TOKEN_CHARS or not token.isascii():
            raise Unauthenticated("the session is not known", code="invalid_session")
        now = self._clock.now()
        record, key = await self._find(token)
        if record is None or record.expires_at <= now or record.seen_at + IDLE <= now:
            raise Unauthenticated("the session has ended: sign in", code="invalid_session")
        principal = await self._principal(record)
        if now - record.seen_at >= _SEEN_STEP:
            async with self._database.transaction() as connection:
                await repository.touch_session(connection, record.id, seen_at=now)
        return self._opened(record, principal, token=token, key=key)

    async def sign_out(self, opened: OpenSession, *, request_id: str) -> None:
        """End one's own session."""
        opening = self._auditor.transaction(opened.principal, request_id=request_id, least=Role.VIEWER)
        async with opening as transaction:
            await self._end(transaction, opened.session, is_own=True)

    async def page(self, principal: Principal, *, limit: int, cursor: str | None) -> Page[Session]:
        """Return some of the sessions that have not ended, newest first."""
        now = self._clock.now()
        async with self._database.reading() as connection:
            page = await repository.page_sessions(
                connection,
                scope=principal.organization_id,
                limit=limit,
                cursor=cursor,
                now=now,
                silent_since=now - IDLE,
            )
        return Page([record.shown for record in page.items], page.cursor)

    async def revoke(self, transaction: AuditedTransaction, session_id: UUID) -> None:
        """End a session of somebody within the caller's scope; raises `NotFound`."""
        transaction.principal.require_role(Role.OWNER)
        scope = transaction.principal.organization_id
        record = await repository.find_session_by_id(transaction.connection, session_id, scope=scope)
        if record is None:
            raise NotFound
        await self._end(transaction, record.shown, is_own=False)

    # -- parts --------------------------------------------------------------------------------------------------------

    async def _open(
        self, principal: Principal, origin: _Origin, *, request_id: str, signed_in_at: datetime
    ) -> NewSession:
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        person = origin.person
        by_key = "environment" if origin.key_public_id is None else "admin_key"
        opening = self._auditor.transaction(principal, request_id=request_id, least=Role.VIEWER)
        async with opening as transaction:
            now = transaction.now
            record = SessionRecord(
                id=uuid7(transaction.now_ns),
                mac=_mac(self._keys.current, token),
                identity="person" if person is not None else by_key,  # type: ignore[arg-type] # one of two words
                principal_id=principal.id,
                name=principal.name,
                role=principal.role,
                organization_id=principal.organization_id,
                key_public_id=origin.key_public_id,
                key_mac=origin.key_mac,
                subject=None if person is None else person.subject,
                claim_values=None if person is None else person.values,
                created_at=now,
                signed_in_at=signed_in_at,
                seen_at=now,
                expires_at=now + LIFETIME,
            )
            await repository.delete_ended_sessions(transaction.connection, now=now, silent_since=now - IDLE)
            await repository.insert_session(transaction.connection, record)
            await transaction.record(
                "sign_in",
                kind="session",
                object_id=record.id,
                organization_id=record.organization_id,
                before=None,
                after=record.shown,
            )
        return NewSession(opened=self._opened(record, principal, token=token, key=self._keys.current), token=token)

    async def _end(self, transaction: AuditedTransaction, session: Session, *, is_own: bool) -> None:
        if not await repository.delete_session(transaction.connection, session.id):
            return
        await transaction.record(
            "sign_out" if is_own else "revoke",
            kind="session",
            object_id=session.id,
            organization_id=session.organization_id,
            before=session,
            after=None,
        )

    async def _principal(self, record: SessionRecord) -> Principal:
        """Return what whoever signed in may do now; raises if it may not sign in any more."""
        if record.identity == "person":
            person = Person(subject=record.subject or "", name=record.name, values=record.claim_values or [])
            return await self._people.principal(person, kind="session")
        if record.key_public_id is not None:
            return await self._authenticator.readmit(record.key_public_id)
        return self._authenticator.readmit_environment(record.key_mac or b"")

    async def _find(self, token: str) -> tuple[SessionRecord | None, bytes]:
        """Return the record of a token, and the key under which it is hashed."""
        current, old = self._keys
        async with self._database.reading() as connection:
            record = await repository.find_session(connection, _mac(current, token))
            if record is not None or old is None:
                return record, current
            return await repository.find_session(connection, _mac(old, token)), old

    def _opened(self, record: SessionRecord, principal: Principal, *, token: str, key: bytes) -> OpenSession:
        csrf = hmac.digest(key, b"csrf\0" + token.encode(), "sha256").hex()
        is_recent = self._clock.now() - record.signed_in_at < RECENT
        return OpenSession(session=record.shown, principal=principal, csrf_token=csrf, is_recent=is_recent)


def _mac(key: bytes, token: str) -> bytes:
    return hmac.digest(key, b"session\0" + token.encode(), "sha256")
