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
from app.domain.keys.secrets import Derived, key_id

GENESIS = bytes(32)
"""What the first entry follows."""

HASHED = NewEntry.__struct_fields__
"""The columns that a hash covers, beside the entry's number and the hash before it."""

_KID_BYTES = 8


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
    """Seals the end of the chain with the current key; while the master secret is rotated it knows the old one too."""

    def __init__(self, keys: Derived) -> None:
        self._key = keys.current
        self._keys = keys.by_kid
        self.kid = key_id(keys.current)

    def head(self, seq: int, entry_hash: bytes, *, unsealed: int) -> Head:
        """Return the head for an entry that ends the chain."""
        return Head(
            seq=seq,
            hash=entry_hash,
            unsealed=unsealed,
            kid=self.kid,
            seal=_head_code(self._key, seq, entry_hash, unsealed=unsealed),
        )

    def entry(self, seq: int, entry_hash: bytes) -> bytes:
        """Return the seal on one entry: 8 bytes that name the key, and 32 of the seal itself."""
        return _mark(self.kid, self._key, seq, entry_hash)

    def knows(self, kid: str) -> bool:
        """Tell whether a seal of this key can be judged here."""
        return kid in self._keys

    def is_ours(self, mark: bytes) -> bool:
        """Tell whether an entry's seal claims to be made with a key that is known here."""
        return self.knows(mark[:_KID_BYTES].hex())

    def fits_entry(self, seq: int, entry_hash: bytes, *, mark: bytes) -> bool:
        """Tell whether the seal of an entry, which is one of ours, was made for what the entry says."""
        kid = mark[:_KID_BYTES].hex()
        return hmac.compare_digest(mark, _mark(kid, self._keys[kid], seq, entry_hash))

    def fits(self, head: Head) -> bool:
        """Tell whether the head was made with a key that is known here, and is as it was."""
        key = self._keys.get(head.kid)
        if key is None:
            return False
        return hmac.compare_digest(head.seal, _head_code(key, head.seq, head.hash, unsealed=head.unsealed))


def _mark(kid: str, key: bytes, seq: int, entry_hash: bytes) -> bytes:
    return bytes.fromhex(kid) + hmac.digest(key, b"entry:%d:" % seq + entry_hash, "sha256")


def _head_code(key: bytes, seq: int, entry_hash: bytes, *, unsealed: int) -> bytes:
    return hmac.digest(key, b"%d:%d:" % (seq, unsealed) + entry_hash, "sha256")


def hash_of(seq: int, values: Mapping[str, Any], previous: bytes) -> bytes:
    """Return the hash of an entry by its column values: SHA-256 of the hash before it and the canonical JSON."""
    return hashlib.sha256(previous + msgspec.json.encode([seq, values], order="sorted")).digest()
