"""What is kept for a repeated request, and what it is found by."""

from enum import Enum
from typing import NamedTuple
from uuid import UUID

import msgspec

from app.kernel.errors import Conflict

Headers = tuple[tuple[bytes, bytes], ...]


class IdempotencyConflict(Conflict):
    """The Idempotency-Key cannot serve this request: it was used for another, or its answer is not kept."""

    code = "idempotency_conflict"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message, param="Idempotency-Key")


class Slot(NamedTuple):
    """Where an answer is kept: the caller's key, the path it asked, and the idempotency key that it gave."""

    key_id: UUID
    path: str
    idempotency_key: str


class Claim(NamedTuple):
    """The right to answer in a slot: for whom, for which request (a SHA-256), and who holds it."""

    slot: Slot
    organization_id: UUID
    request_hash: bytes
    holder: UUID


class Standing(Enum):
    """What became of a claim that nothing was kept for."""

    OURS = "the claim is ours"
    HELD = "somebody else is on the way to the answer"


class KeptAnswer(msgspec.Struct, frozen=True, array_like=True):
    """A 200 as it was given. `headers` are those that say who served; `is_live` is whether it came as a stream."""

    is_live: bool
    content_type: bytes
    headers: Headers
    body: bytes
