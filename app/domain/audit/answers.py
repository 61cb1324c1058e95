"""Answers kept for `Idempotency-Key`.

Law: the key is taken, the effect made and the answer kept in one transaction, so that there is one effect however often
and however concurrently a request comes. Answers may hold secrets, so they are sealed under the master secret.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import msgspec

from app.domain.audit import repository
from app.domain.audit.transaction import AuditedTransaction
from app.domain.keys.sealing import Cipher
from app.kernel.errors import Conflict, InvalidRequest

SEALED_AS = "kept answers 1"
"""The purpose of the key under which it is sealed."""
_KEPT = timedelta(hours=24)
_KEY_MAX = 255


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """An answer as it was given."""

    status: int
    etag: str | None
    body: bytes


class Claim(NamedTuple):
    """An idempotency key that this transaction has taken."""

    key: str
    request_hash: bytes


class Answers:
    """Takes idempotency keys and keeps answers, sealed with `cipher`."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher

    async def claim(self, transaction: AuditedTransaction, *, key: str, request: bytes) -> Claim | Answer:
        """Take the key, or return the answer that was given under it; `request` is all that makes the request.

        Raises `Conflict` if the key was used for another request.
        """
        _check_key(key)
        request_hash = hashlib.sha256(request).digest()
        row = await repository.claim_answer(
            transaction.connection,
            principal_id=transaction.principal.id,
            key=key,
            request_hash=request_hash,
            now=transaction.now,
            expires_at=transaction.now + _KEPT,
        )
        if row is None:
            return Claim(key, request_hash)
        return self._kept(row, transaction, key=key, request_hash=request_hash)

    async def find(self, transaction: AuditedTransaction, *, key: str, request: bytes) -> Answer | None:
        """Return the answer that was given under the key, None if there is none; takes nothing.

        Raises `Conflict` if the key was used for another request.
        """
        _check_key(key)
        row = await repository.find_answer(
            transaction.connection, principal_id=transaction.principal.id, key=key, now=transaction.now
        )
        if row is None:
            return None
        return self._kept(row, transaction, key=key, request_hash=hashlib.sha256(request).digest())

    async def keep(self, transaction: AuditedTransaction, claim: Claim, answer: Answer) -> None:
        """Store the answer for 24 hours."""
        bound_to = self._binding(transaction, claim.key, claim.request_hash)
        await repository.keep_answer(
            transaction.connection,
            principal_id=transaction.principal.id,
            key=claim.key,
            status=answer.status,
            answer=self._cipher.seal(msgspec.msgpack.encode(answer), bound_to=bound_to),
            kid=self._cipher.kid,
        )

    def _kept(
        self, row: Mapping[str, Any], transaction: AuditedTransaction, *, key: str, request_hash: bytes
    ) -> Answer:
        if not hmac.compare_digest(row["request_hash"], request_hash):
            raise _conflict("this Idempotency-Key was used for another request")
        return self._open(row, bound_to=self._binding(transaction, key, request_hash))

    def _binding(self, transaction: AuditedTransaction, key: str, request_hash: bytes) -> bytes:
        return b"\0".join((transaction.principal.id.encode(), key.encode(), request_hash))

    def _open(self, row: Mapping[str, Any], *, bound_to: bytes) -> Answer:
        plain = self._cipher.open(row["answer"], kid=row["kid"], bound_to=bound_to)
        if plain is None:
            # The master secret that it was sealed under is gone: the effect must not be made twice, its answer is lost.
            raise _conflict("the answer kept under this Idempotency-Key cannot be read any more")
        return msgspec.msgpack.decode(plain, type=Answer)


def _check_key(key: str) -> None:
    if not 1 <= len(key) <= _KEY_MAX or not key.isascii() or not key.isprintable():
        raise InvalidRequest("Idempotency-Key is 1 to 255 printable ASCII characters", param="Idempotency-Key")


def _conflict(message: str) -> Conflict:
    """Return a conflict that a client library need not retry."""
    return Conflict(message, code="idempotency_conflict", headers=(("x-should-retry", "false"),))
