"""Keeps responses, finds them again, and tells an organisation's ids from another's.

Law: what is kept is sealed under the master secret and bound to its organisation and id, so that a row moved to another
organisation opens for nobody. Kept for 30 days, at most 10,000 responses of an organisation.
"""

import hashlib
import os
import zlib
from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from app.db.engine import Database
from app.domain.responses import repository
from app.domain.responses.repository import KeptRow
from app.domain.responses.schemas import Issued, KeptResponse
from app.domain.responses.tables import ID_LENGTH
from app.kernel.clock import Clock

KEPT_FOR = timedelta(days=30)
MOST_KEPT = 10_000
MAX_BYTES = 8 << 20
"""The most that a response may take, compressed; a larger one is not kept."""
_NONCE_BYTES = 12


class ResponseStore:
    """What the Responses API remembers. `seal_key` is 32 bytes."""

    def __init__(self, database: Database, *, seal_key: bytes, clock: Clock) -> None:
        self._database = database
        self._cipher = AESGCM(seal_key)
        self._kid = hashlib.sha256(seal_key).hexdigest()[:16]
        self._clock = clock

    async def keep(self, kept: KeptResponse, *, organization_id: UUID) -> bool:
        """Keep a response and the ids in it; returns whether it was small enough."""
        payload = self._seal(kept, organization_id)
        if len(payload) > MAX_BYTES:
            return False
        now = self._clock.now()
        row = KeptRow(kept.id, kept.previous_id, self._kid, payload)
        ids = [Issued(id=kept.id, response_id=kept.id), *(Issued(id=i, response_id=kept.id) for i in kept.item_ids)]
        async with self._database.transaction() as connection:
            await repository.insert_kept(
                connection, row, organization_id=organization_id, now=now, expires_at=now + KEPT_FOR
            )
            await repository.insert_issued(
                connection, _short(ids), organization_id=organization_id, now=now, expires_at=now + KEPT_FOR
            )
        return True

    async def remember(self, ids: Sequence[str], *, provider: str, organization_id: UUID) -> None:
        """Remember what a provider keeps for an organisation: a response first, then what belongs to it."""
        now = self._clock.now()
        response_id = ids[0] if ids else None
        issued = [Issued(id=one, provider=provider, response_id=response_id) for one in dict.fromkeys(ids)]
        async with self._database.transaction() as connection:
            await repository.insert_issued(
                connection, _short(issued), organization_id=organization_id, now=now, expires_at=now + KEPT_FOR
            )

    async def issued(self, ids: Collection[str], *, organization_id: UUID) -> dict[str, Issued]:
        """Return those of the ids that the organisation may refer to."""
        async with self._database.reading() as connection:
            return await repository.find_issued(
                connection, organization_id=organization_id, ids=ids, now=self._clock.now()
            )

    async def conversation(self, response_id: str, *, organization_id: UUID) -> list[KeptResponse]:
        """Return a kept response and all that it went on from, the first one first; empty if a link is missing."""
        async with self._database.reading() as connection:
            rows = await repository.find_chain(
                connection, response_id, organization_id=organization_id, now=self._clock.now()
            )
        kept = [self._open(row, organization_id) for row in rows]
        whole = [one for one in kept if one is not None]
        is_whole = bool(rows) and len(whole) == len(rows) and rows[0].previous_id is None
        return whole if is_whole else []

    async def find(self, response_id: str, *, organization_id: UUID) -> KeptResponse | None:
        """Return a kept response."""
        async with self._database.reading() as connection:
            rows = await repository.find_chain(
                connection, response_id, organization_id=organization_id, now=self._clock.now()
            )
        return self._open(rows[-1], organization_id) if rows else None

    async def forget(self, response_id: str, *, organization_id: UUID) -> None:
        """Forget a response, whoever keeps it."""
        async with self._database.transaction() as connection:
            await repository.delete_response(connection, response_id, organization_id=organization_id)

    async def sweep(self) -> int:
        """Forget what has expired and what is too much, a batch a transaction; returns how many rows went."""
        gone = batch = await self._sweep_expired()
        while batch:
            batch = await self._sweep_expired()
            gone += batch
        async with self._database.reading() as connection:
            over = await repository.organizations_over(connection, keep=MOST_KEPT)
        for organization_id in over:
            async with self._database.transaction() as connection:
                gone += await repository.delete_surplus(connection, organization_id=organization_id, keep=MOST_KEPT)
        return gone

    async def _sweep_expired(self) -> int:
        async with self._database.transaction() as connection:
            return await repository.delete_expired(connection, now=self._clock.now())

    def _seal(self, kept: KeptResponse, organization_id: UUID) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        plain = zlib.compress(msgspec.msgpack.encode(kept), level=1)
        return nonce + self._cipher.encrypt(nonce, plain, _binding(kept.id, organization_id))

    def _open(self, row: KeptRow, organization_id: UUID) -> KeptResponse | None:
        """Return a kept response; none if the master secret was changed since, or the row was moved."""
        try:
            plain = self._cipher.decrypt(
                row.payload[:_NONCE_BYTES], row.payload[_NONCE_BYTES:], _binding(row.id, organization_id)
            )
        except InvalidTag:
            return None
        return msgspec.msgpack.decode(zlib.decompress(plain), type=KeptResponse)


def _binding(response_id: str, organization_id: UUID) -> bytes:
    return organization_id.bytes + response_id.encode()


def _short(issued: Sequence[Issued]) -> list[Issued]:
    return [one for one in issued if 0 < len(one.id) <= ID_LENGTH]
