"""Keeps responses, finds them again, and tells an organisation's ids from another's.

Law: what is kept is sealed under the master secret and bound to its organisation and id, so that a row moved to another
organisation opens for nobody. Kept for 30 days, at most 10,000 responses of an organisation.
"""

import asyncio
import zlib
from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

import msgspec

from app.db.engine import Database
from app.domain.keys.sealing import Cipher
from app.domain.responses import repository
from app.domain.responses.repository import KeptRow
from app.domain.responses.schemas import Issued, KeptResponse
from app.domain.responses.tables import ID_LENGTH
from app.kernel.clock import Clock
from app.kernel.errors import TooLarge

KEPT_FOR = timedelta(days=30)
MOST_KEPT = 10_000
MAX_BYTES = 8 << 20
"""The most that a response may take, compressed; a larger one is not kept."""
MAX_ISSUED = 1_000
"""How many ids of one answer are remembered."""
MAX_CONVERSATION_BYTES = 32 << 20
"""The most that the responses of a conversation may take as they are said."""
SEALED_AS = "kept responses 1"
"""The purpose of the key under which it is sealed."""
_LARGE_BYTES = 1 << 16
"""What is larger is sealed, and a conversation opened, in a thread, so that the event loop never stalls."""
_OBJECT = b"{"
"""What JSON begins with, and no map of MessagePack."""


class ResponseStore:
    """What the Responses API remembers."""

    def __init__(self, database: Database, *, cipher: Cipher, clock: Clock) -> None:
        self._database = database
        self._cipher = cipher
        self._clock = clock

    async def keep(self, kept: KeptResponse, *, organization_id: UUID) -> bool:
        """Keep a response and the ids in it; returns whether it was small enough."""
        plain = msgspec.json.encode(kept)
        if len(plain) > MAX_CONVERSATION_BYTES:
            return False
        binding = _binding(kept.id, organization_id)
        is_large = len(plain) > _LARGE_BYTES
        payload = await asyncio.to_thread(self._seal, plain, binding) if is_large else self._seal(plain, binding)
        if len(payload) > MAX_BYTES:
            return False
        now = self._clock.now()
        row = KeptRow(kept.id, kept.previous_id, self._cipher.kid, payload)
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
        known = {one for one in ids if _is_id(one)}
        if not known:
            return {}
        async with self._database.reading() as connection:
            return await repository.find_issued(
                connection, organization_id=organization_id, ids=known, now=self._clock.now()
            )

    async def conversation(self, response_id: str, *, organization_id: UUID) -> list[KeptResponse]:
        """Return a kept response and all that it went on from, the first one first; empty if a link is missing.

        Raises `TooLarge` for a conversation that is longer than a request may be.
        """
        now = self._clock.now()
        async with self._database.reading() as connection:
            links = await repository.find_chain(connection, response_id, organization_id=organization_id, now=now)
            if not links or links[0].previous_id is not None:
                return []
            if sum(link.size_bytes for link in links) > MAX_CONVERSATION_BYTES:
                raise _too_long()
            ids = [link.id for link in links]
            rows = await repository.find_all_kept(connection, ids, organization_id=organization_id, now=now)
        by_id = {row.id: row for row in rows}
        return await asyncio.to_thread(
            self._open_all, [by_id[one] for one in ids if one in by_id], organization_id, wanted=len(ids)
        )

    async def find(self, response_id: str, *, organization_id: UUID) -> KeptResponse | None:
        """Return a kept response."""
        async with self._database.reading() as connection:
            row = await repository.find_kept(
                connection, response_id, organization_id=organization_id, now=self._clock.now()
            )
        if row is None:
            return None
        is_large = len(row.payload) > _LARGE_BYTES
        plain = (
            await asyncio.to_thread(self._open, row, organization_id) if is_large else self._open(row, organization_id)
        )
        return None if plain is None else _read(plain)

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

    def _seal(self, plain: bytes, binding: bytes) -> bytes:
        return self._cipher.seal(zlib.compress(plain, level=1), bound_to=binding)

    def _open_all(self, rows: Sequence[KeptRow], organization_id: UUID, *, wanted: int) -> list[KeptResponse]:
        """Return kept responses, or none if one of them is not there or cannot be read. Raises `TooLarge`."""
        opened: list[KeptResponse] = []
        left = MAX_CONVERSATION_BYTES
        for row in rows:
            plain = self._open(row, organization_id, most=left)
            if plain is None:
                break
            left -= len(plain)
            opened.append(_read(plain))
        return opened if len(opened) == wanted else []

    def _open(self, row: KeptRow, organization_id: UUID, *, most: int = MAX_CONVERSATION_BYTES) -> bytes | None:
        """Return what a row holds; nothing if its master secret is gone, or the row was moved.

        Raises `TooLarge` for more than `most` bytes.
        """
        packed = self._cipher.open(row.payload, kid=row.kid, bound_to=_binding(row.id, organization_id))
        if packed is None:
            return None
        inflater = zlib.decompressobj()
        plain = inflater.decompress(packed, max(most, 0) + 1)
        if len(plain) > most:
            raise _too_long()
        return plain


def _read(plain: bytes) -> KeptResponse:
    """Return what was kept; rows of before are in MessagePack, which has no number of more than 64 bits."""
    decode = msgspec.json.decode if plain.startswith(_OBJECT) else msgspec.msgpack.decode
    return decode(plain, type=KeptResponse)


def _too_long() -> TooLarge:
    return TooLarge(f"the conversation is longer than {MAX_CONVERSATION_BYTES} bytes", param="previous_response_id")


def _binding(response_id: str, organization_id: UUID) -> bytes:
    return organization_id.bytes + response_id.encode()


def _is_id(text: str) -> bool:
    """Whether a text may be an id: one that no database could hold is nobody's."""
    return 0 < len(text) <= ID_LENGTH and text.isprintable()


def _short(issued: Sequence[Issued]) -> list[Issued]:
    return [one for one in issued if _is_id(one.id)][:MAX_ISSUED]
