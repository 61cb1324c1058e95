"""Snapshots of keys in this process, so that a warm key costs no query.

A snapshot lives until its key, team or organisation changes: a signal says so within a second, and the change log is
read every two seconds for signals that were lost. While the database is down, snapshots go on for 300 s.
Law: a load that overlaps a change is not kept, so an old snapshot never comes back.
"""

import asyncio
import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from app.domain.keys.principal import Principal, principal_of
from app.domain.keys.schemas import KeyRecord
from app.domain.keys.secrets import Peppers, key_mac, parse_key
from app.kernel.clock import Clock
from app.kernel.errors import Forbidden, GatewayError, Unauthenticated, Unavailable
from app.kernel.waiting import outcome_of

_LOG = logging.getLogger("gateway.keys")
_NS = 1_000_000_000
_POLL_S = 2.0
_STALE_NS = 300 * _NS
_ABSENT_NS = 5 * _NS
_MAX_RECORDS = 100_000
_MAX_ABSENT = 10_000
_MAX_LOADS = 3
_ID_CHARS = 36
_MAX_SEEN = 10_000


class Change(Protocol):
    """A row of the change log."""

    @property
    def seq(self) -> int: ...  # noqa: D102 - the columns' own names
    @property
    def kind(self) -> str: ...  # noqa: D102 - as above
    @property
    def object_id(self) -> UUID: ...  # noqa: D102 - as above


class Source(Protocol):
    """Where keys and changes are read."""

    async def find_by_public_id(self, public_id: str) -> KeyRecord | None:
        """Return a key by the public id of any of its secrets."""
        ...

    async def find_by_id(self, key_id: UUID) -> KeyRecord | None:
        """Return a key by its own id."""
        ...


class Renew(Protocol):
    """Has keys hashed anew that were found right by the pepper before."""

    def note(self, public_id: str, token: bytes, *, stored: KeyRecord) -> None:
        """Hear of a key that was presented and is right; returns at once."""
        ...


class _Known(NamedTuple):
    """A token that was verified: who it is, and when it ends (wall nanoseconds; absent: never)."""

    principal: Principal
    ends_ns: int | None
    public_id: str


class KeyDirectory:
    """Tells who presents a key. One for each worker process."""

    def __init__(
        self,
        source: Source,
        *,
        changes: Callable[[int], Awaitable[Sequence[Change]]],
        peppers: Peppers,
        clock: Clock,
        renewals: Renew | None = None,
        admin_mac: bytes | None = None,
    ) -> None:
        """Read keys from `source`, and from `changes` the change log after a sequence number.

        `renewals` hears of each key that is right when it is first seen. `admin_mac` is the keyed hash, under the
        current pepper, of an admin key that may have any form: the environment's.
        """
        self._source = source
        self._changes = changes
        self._peppers = peppers
        self._renewals = renewals
        self._clock = clock
        self._admin_mac = admin_mac
        self._known: dict[bytes, _Known] = {}
        self._digests: dict[str, set[bytes]] = {}
        self._dependents: dict[UUID, set[str]] = {}
        self._seen: dict[int, None] = {}
        self._records: dict[str, KeyRecord] = {}
        self._absent: dict[str, int] = {}
        self._loading: dict[str, asyncio.Future[KeyRecord | None]] = {}
        self._generation = 0
        self._seq = 0
        self._fresh_until_ns = clock.monotonic_ns() + _STALE_NS
        self._task: asyncio.Task[None] | None = None

    # -- asking -------------------------------------------------------------------------------------------------------

    async def authenticate(self, token: bytes) -> Principal:
        """Return whose key this is.

        Raises `Unauthenticated` for a key that is malformed, unknown, wrong, revoked or expired, `Forbidden` for one
        that is suspended or opens the admin API, and `Unavailable` when nobody can tell.
        """
        digest = hashlib.sha256(token).digest()
        known = self._known.get(digest)
        if known is not None and self._clock.monotonic_ns() < self._fresh_until_ns:
            if known.ends_ns is not None and self._clock.now_ns() >= known.ends_ns:
                raise Unauthenticated("this API key has expired", code="key_expired")
            return known.principal
        return await self._verify(token, digest)

    async def principal(self, name: str) -> Principal:
        """Return the key of this id or public id, for a token verified elsewhere; raises as `authenticate`."""
        record = await self._record(name)
        if record is None:
            raise Unauthenticated
        return self._admit(record, check_secret=False).principal

    async def _verify(self, token: bytes, digest: bytes) -> Principal:
        parsed = parse_key(token)
        if parsed is None:
            raise self._refusal(token)
        if parsed.kind == "admin":
            raise _of_admin()
        generation = self._generation
        record = await self._record(parsed.public_id)
        if self._peppers.match(token, record) is None or record is None:
            raise self._refusal(token)
        known = self._admit(record, check_secret=True)
        if self._renewals is not None:
            self._renewals.note(parsed.public_id, token, stored=record)
        if generation == self._generation and known.public_id in self._records:
            self._known[digest] = known
            self._digests.setdefault(known.public_id, set()).add(digest)
        return known.principal

    def _refusal(self, token: bytes) -> GatewayError:
        """Return what is wrong with a key that no record has."""
        presented = key_mac(self._peppers.current.key, token)
        is_admin = self._admin_mac is not None and hmac.compare_digest(presented, self._admin_mac)
        return _of_admin() if is_admin else Unauthenticated()

    def _admit(self, record: KeyRecord, *, check_secret: bool) -> _Known:
        """Return what the record allows; raises for a key that may not be used now."""
        if record.status == "revoked":
            raise Unauthenticated
        ends = [_wall_ns(moment) for moment in (record.expires_at, record.secret_expires_at if check_secret else None)]
        ending = min((end for end in ends if end is not None), default=None)
        if ending is not None and self._clock.now_ns() >= ending:
            raise Unauthenticated("this API key has expired", code="key_expired")
        for scope, status in (
            ("API key", record.status),
            ("team", record.team_status),
            ("organization", record.organization_status),
        ):
            if status == "suspended":
                raise Forbidden(f"this {scope} is suspended", code="suspended")
        return _Known(principal_of(record), ending, record.public_id)

    # -- loading ------------------------------------------------------------------------------------------------------

    async def _record(self, public_id: str) -> KeyRecord | None:
        """Return a key's record, asking the database once however many ask at the same time."""
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._fresh_until_ns:
            record = self._records.get(public_id)
            if record is not None:
                return record
            if self._absent.get(public_id, 0) > now_ns:
                return None
        pending = self._loading.get(public_id)
        if pending is None:
            pending = asyncio.ensure_future(self._load(public_id))
            self._loading[public_id] = pending
            pending.add_done_callback(lambda done: self._loaded(public_id, done))
        return await outcome_of(pending)

    def _loaded(self, public_id: str, done: "asyncio.Future[KeyRecord | None]") -> None:
        """Forget a load that is over; its failure is no secret even if whoever asked has left."""
        self._loading.pop(public_id, None)
        if not done.cancelled():
            done.exception()

    async def _find(self, name: str) -> KeyRecord | None:
        if len(name) == _ID_CHARS:
            return await self._source.find_by_id(UUID(name))
        return await self._source.find_by_public_id(name)

    async def _load(self, public_id: str) -> KeyRecord | None:
        for _ in range(_MAX_LOADS):
            generation = self._generation
            try:
                record = await self._find(public_id)
            except GatewayError as error:
                raise Unavailable(
                    "the key cannot be checked now", code="database_unavailable", retry_after_s=1
                ) from error
            if generation == self._generation:
                self._keep(public_id, record)
                return record
        return record

    def _keep(self, public_id: str, record: KeyRecord | None) -> None:
        if record is None:
            if len(self._absent) >= _MAX_ABSENT:
                del self._absent[next(iter(self._absent))]
            self._absent[public_id] = self._clock.monotonic_ns() + _ABSENT_NS
            return
        if public_id in self._records:
            self._drop(public_id)
        elif len(self._records) >= _MAX_RECORDS:
            self._drop(next(iter(self._records)))
        self._records[public_id] = record
        for object_id in _objects_of(record):
            self._dependents.setdefault(object_id, set()).add(public_id)

    # -- changing -----------------------------------------------------------------------------------------------------

    def forget(self, object_id: UUID) -> None:
        """Drop what depends on a key, team or organisation that has changed."""
        self._generation += 1
        for public_id in list(self._dependents.get(object_id, ())):
            self._drop(public_id)

    def forget_all(self) -> None:
        """Drop everything: signals may have been missed."""
        self._generation += 1
        self._known.clear()
        self._digests.clear()
        self._records.clear()
        self._dependents.clear()
        self._absent.clear()

    def _drop(self, public_id: str) -> None:
        """Drop one record and every token that was verified by it."""
        for digest in self._digests.pop(public_id, ()):
            del self._known[digest]
        record = self._records.pop(public_id)
        for object_id in _objects_of(record):
            owned = self._dependents[object_id]
            owned.discard(public_id)
            if not owned:
                del self._dependents[object_id]

    def start(self) -> None:
        """Begin to read the change log."""
        self._task = asyncio.get_running_loop().create_task(self._poll(), name="key-changes")

    async def stop(self) -> None:
        """Stop reading the change log."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _poll(self) -> None:
        while True:
            try:
                await self.catch_up()
            except GatewayError as error:
                _LOG.warning("changes of keys cannot be read: %s", error)
            except Exception:  # noqa: BLE001 - a supervisor: without this task every key is unknown after five minutes
                _LOG.exception("changes of keys cannot be read")
            await asyncio.sleep(_POLL_S)

    async def catch_up(self) -> None:
        """Read the change log once and drop what changed. Raises `GatewayError` when the database is down."""
        was_stale = self._clock.monotonic_ns() >= self._fresh_until_ns
        changes = await self._changes(self._seq)
        if was_stale:
            self.forget_all()
        for change in changes:
            self._seq = max(self._seq, change.seq)
            if change.seq not in self._seen:
                self._seen[change.seq] = None
                self.forget(change.object_id)
        while len(self._seen) > _MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._fresh_until_ns = self._clock.monotonic_ns() + _STALE_NS


def _of_admin() -> Forbidden:
    return Forbidden("an admin key cannot call the inference API", code="wrong_credential_type")


def _wall_ns(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1_000_000) * 1_000


def _objects_of(record: KeyRecord) -> Iterator[UUID]:
    """Yield the ids of the objects whose change makes a record stale."""
    yield record.key_id
    yield record.organization_id
    if record.team_id is not None:
        yield record.team_id
