"""Keyset pages. Law: a cursor is opaque, belongs to one listing, and a damaged one is the caller's fault."""

import binascii
import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from app.kernel.errors import InvalidRequest

_CHECK_BYTES = 6
_MAX_CURSOR = 512

Row = TypeVar("Row")
Key = TypeVar("Key")


class Page(msgspec.Struct, Generic[Row], frozen=True):
    """Some rows, and the cursor of those that follow; null at the end."""

    items: list[Row]
    cursor: str | None


def encode_cursor(listing: str, key: Any) -> str:
    """Return the opaque text for `key`, the last row's sort key, within `listing`."""
    payload = msgspec.json.encode(key)
    return urlsafe_b64encode(_check(listing, payload) + payload).rstrip(b"=").decode()


def decode_cursor(listing: str, cursor: str, key_type: type[Key], *, longest: int = _MAX_CURSOR) -> Key:
    """Return the sort key in `cursor`; raises `InvalidRequest` for anything this listing did not issue.

    `longest` is how many characters a cursor of this listing may have.
    """
    fault = InvalidRequest("the cursor is not one that this list returned", code="invalid_cursor", param="cursor")
    if len(cursor) > longest or not cursor.isascii():
        raise fault
    try:
        raw = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        check, payload = raw[:_CHECK_BYTES], raw[_CHECK_BYTES:]
        key = msgspec.json.decode(payload, type=key_type)
    except (binascii.Error, msgspec.DecodeError):
        raise fault from None
    if check != _check(listing, payload):
        raise fault
    return key


def page_of(listing: str, rows: Sequence[Row], *, limit: int, key: Callable[[Row], Any]) -> Page[Row]:
    """Return the first `limit` of `rows`, which were queried with `limit + 1`, with the cursor if more follow."""
    items = list(rows[:limit])
    cursor = encode_cursor(listing, key(items[-1])) if len(rows) > limit else None
    return Page(items, cursor)


def _check(listing: str, payload: bytes) -> bytes:
    return hashlib.sha256(listing.encode() + b"\0" + payload).digest()[:_CHECK_BYTES]
