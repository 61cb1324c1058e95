"""Identifiers. Law: ids that we make are UUIDv7 (RFC 9562), so they sort by time; ids that we derive are UUIDv5."""

import hashlib
import time
from random import getrandbits
from uuid import UUID, SafeUUID, uuid5

_RANDOM_BITS = 74
_UUID_KEPT_BITS = (1 << 128) - 1 & ~(0xF << 76) & ~(0b11 << 62)
_UUID5_MARKS = 5 << 76 | 0b10 << 62
_UUID7_MARKS = 7 << 76 | 0b10 << 62
_LOW_BITS = (1 << 62) - 1


def uuid7_text(now_ns: int | None = None) -> str:
    """Return a new UUIDv7 in its usual form; `now_ns` is the wall time, the system's if absent.

    Its random bits make it unique, not secret: they come from the library's generator, which starts anew in a fork.
    """
    milliseconds = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    random_bits = getrandbits(_RANDOM_BITS)
    value = (milliseconds & 0xFFFFFFFFFFFF) << 80 | random_bits >> 62 << 64 | random_bits & _LOW_BITS | _UUID7_MARKS
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def uuid7(now_ns: int | None = None) -> UUID:
    """Return a new UUIDv7; `now_ns` is the wall time, the system's if absent."""
    return UUID(uuid7_text(now_ns))


def attempt_id(request_id: UUID, attempt: int) -> UUID:
    """Return the id of one upstream attempt of a request: the same however often it is derived.

    It is `uuid5(request_id, str(attempt))`, made without the library's detours.
    """
    digest = hashlib.sha1(request_id.bytes + b"%d" % attempt, usedforsecurity=False).digest()
    value = int.from_bytes(digest[:16], "big")
    return _uuid(value & _UUID_KEPT_BITS | _UUID5_MARKS)


def adjustment_id(event_id: UUID) -> UUID:
    """Return the id of the event that corrects another: one for each, however often it is derived."""
    return uuid5(event_id, "adj")


def uuid_of(text: str) -> UUID:
    """Return the UUID in a text of the usual form."""
    return _uuid(int(text.replace("-", ""), 16))


def _uuid(value: int) -> UUID:
    """Return a UUID for an integer known to be one: the class's own way takes four times as long to check it."""
    made = object.__new__(UUID)
    object.__setattr__(made, "int", value)
    object.__setattr__(made, "is_safe", SafeUUID.unknown)
    return made
