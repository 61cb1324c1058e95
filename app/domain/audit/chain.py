"""What holds the audit chain together: the hash of an entry, the seal on each, and that on the last one.

Law: a hash needs no secret, so that anybody may check the chain; a seal needs the master secret, so that whoever can
only write to the database can neither add an entry, nor compute the chain anew, nor cut off its end.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from app.domain.audit.schemas import NewEntry

GENESIS = bytes(32)
"""What the first entry follows."""

HASHED = NewEntry.__struct_fields__
"""The columns that a hash covers, beside the entry's number and the hash before it."""


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """The last entry that was written, under a seal.

    `unsealed` counts the entries before it that were taken over from releases that did not seal.
    """

    seq: int
    hash: bytes
    unsealed: int
    kid: str
    seal: bytes


class Seal:
    """Seals the end of the chain with a key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self.kid = hashlib.sha256(key).hexdigest()[:16]

    def head(self, seq: int, entry_hash: bytes, *, unsealed: int) -> Head:
        """Return the head for an entry that ends the chain."""
        return Head(
            seq=seq,
            hash=entry_hash,
            unsealed=unsealed,
            kid=self.kid,
            seal=self._code(seq, entry_hash, unsealed=unsealed),
        )

    def entry(self, seq: int, entry_hash: bytes) -> bytes:
        """Return the seal on one entry: 8 bytes that name the key, and 32 of the seal itself."""
        return bytes.fromhex(self.kid) + hmac.digest(self._key, b"entry:%d:" % seq + entry_hash, "sha256")

    def is_ours(self, mark: bytes) -> bool:
        """Tell whether an entry's seal claims to be made with this key."""
        return mark.startswith(bytes.fromhex(self.kid))

    def fits_entry(self, seq: int, entry_hash: bytes, *, mark: bytes) -> bool:
        """Tell whether the seal of an entry was made with this key, for what the entry says."""
        return hmac.compare_digest(mark, self.entry(seq, entry_hash))

    def fits(self, head: Head) -> bool:
        """Tell whether the head was made with this key and is as it was."""
        return hmac.compare_digest(head.seal, self._code(head.seq, head.hash, unsealed=head.unsealed))

    def _code(self, seq: int, entry_hash: bytes, *, unsealed: int) -> bytes:
        return hmac.digest(self._key, b"%d:%d:" % (seq, unsealed) + entry_hash, "sha256")


def hash_of(seq: int, values: Mapping[str, Any], previous: bytes) -> bytes:
    """Return the hash of an entry by its column values: SHA-256 of the hash before it and the canonical JSON."""
    return hashlib.sha256(previous + msgspec.json.encode([seq, values], order="sorted")).digest()
