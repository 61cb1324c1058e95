"""Who may answer a repeated request, and the answer that was given.

Law: a slot is claimed before its call is made and the claim is a lease, so that a call whose process died can be made
again and no other is made twice. What is kept is sealed under the master secret and bound to its slot and its request.
Kept for 24 hours.
"""

import asyncio
import hmac
import zlib
from datetime import timedelta

import msgspec

from app.db.engine import Database
from app.domain.answers import repository
from app.domain.answers.repository import Row
from app.domain.answers.schemas import Claim, IdempotencyConflict, KeptAnswer, Slot, Standing
from app.domain.keys.sealing import Cipher
from app.kernel.clock import Clock

KEPT_FOR = timedelta(hours=24)
LEASE = timedelta(seconds=30)
MAX_BYTES = 1 << 20
"""The longest body that is kept; that a longer one was given is kept in its stead."""
SEALED_AS = "inference answers 1"
"""The purpose of the key under which it is sealed."""
_STATUS = 200
_LARGE_BYTES = 1 << 16
"""What is larger is sealed and opened in a thread, so that the event loop never stalls."""


class AnswerStore:
    """Claims and answers of one installation."""

    def __init__(self, database: Database, *, cipher: Cipher, clock: Clock) -> None:
        self._database = database
        self._cipher = cipher
        self._clock = clock

    async def claim(self, claim: Claim) -> KeptAnswer | Standing:
        """Claim a slot, or return the answer in it, or say that another holds it.

        Raises `IdempotencyConflict` if the slot is another request's, or its answer is not there to be given again.
        """
        async with self._database.transaction() as connection:
            now = await repository.moment(connection, self._clock)
            is_ours = await repository.take(
                connection, claim, now=now, lease_until=now + LEASE, expires_at=now + KEPT_FOR
            )
            row = None if is_ours else await repository.find(connection, claim.slot)
        if is_ours:
            return Standing.OURS
        if row is None:
            # It was given back a moment ago.
            return Standing.HELD
        if not hmac.compare_digest(row.request_hash, claim.request_hash):
            raise IdempotencyConflict("this Idempotency-Key was used for another request")
        return Standing.HELD if row.status is None else await self._opened(row, claim)

    async def is_held(self, slot: Slot) -> bool:
        """Whether somebody is on the way to the answer of a slot."""
        async with self._database.reading() as connection:
            lease_until = await repository.find_claim(connection, slot)
            return lease_until is not None and lease_until > await repository.moment(connection, self._clock)

    async def renew(self, claim: Claim) -> bool:
        """Prolong the lease of a claim; returns whether it was still held."""
        async with self._database.transaction() as connection:
            now = await repository.moment(connection, self._clock)
            return await repository.renew(connection, claim, lease_until=now + LEASE, expires_at=now + KEPT_FOR)

    async def keep(self, claim: Claim, answer: KeptAnswer | None) -> bool:
        """Keep an answer, or, without one, that it was too large; returns whether the claim was still held."""
        payload = None
        if answer is not None:
            plain, binding = msgspec.msgpack.encode(answer), _binding(claim)
            is_large = len(plain) > _LARGE_BYTES
            payload = await asyncio.to_thread(self._seal, plain, binding) if is_large else self._seal(plain, binding)
        async with self._database.transaction() as connection:
            now = await repository.moment(connection, self._clock)
            return await repository.keep(
                connection, claim, status=_STATUS, kid=self._cipher.kid, payload=payload, expires_at=now + KEPT_FOR
            )

    async def release(self, claim: Claim) -> None:
        """Give a claim back, so that the next request with its key is a new one."""
        async with self._database.transaction() as connection:
            await repository.release(connection, claim)

    async def sweep(self) -> int:
        """Forget what has expired, a batch a transaction; returns how many rows went."""
        gone = batch = await self._sweep_batch()
        while batch:
            batch = await self._sweep_batch()
            gone += batch
        return gone

    async def _sweep_batch(self) -> int:
        async with self._database.transaction() as connection:
            now = await repository.moment(connection, self._clock)
            return await repository.delete_expired(connection, now=now)

    async def _opened(self, row: Row, claim: Claim) -> KeptAnswer:
        if row.payload is None:
            raise too_large_to_keep()
        binding = _binding(claim)
        is_large = len(row.payload) > _LARGE_BYTES
        plain = await asyncio.to_thread(self._open, row, binding) if is_large else self._open(row, binding)
        if plain is None:
            # The master secret that it was sealed under is gone: the call must not be made twice, its answer is lost.
            raise IdempotencyConflict("the answer kept under this Idempotency-Key cannot be read any more")
        return msgspec.msgpack.decode(plain, type=KeptAnswer)

    def _seal(self, plain: bytes, binding: bytes) -> bytes:
        return self._cipher.seal(zlib.compress(plain, level=1), bound_to=binding)

    def _open(self, row: Row, binding: bytes) -> bytes | None:
        packed = self._cipher.open(row.payload or b"", kid=row.kid, bound_to=binding)
        return None if packed is None else zlib.decompress(packed)


def too_large_to_keep() -> IdempotencyConflict:
    """Return the refusal of a request that was answered, at more length than is kept."""
    message = f"the answer given under this Idempotency-Key was larger than {MAX_BYTES} bytes, so it is not kept"
    return IdempotencyConflict(message)


def _binding(claim: Claim) -> bytes:
    """Return what a sealed answer belongs to; neither a path nor a key has a zero byte in it."""
    slot = claim.slot
    return b"\0".join((slot.key_id.hex.encode(), slot.path.encode(), slot.idempotency_key.encode(), claim.request_hash))
