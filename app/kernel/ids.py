"""Identifiers. Law: ids that we make are UUIDv7 (RFC 9562), so they sort by time; ids that we derive are UUIDv5."""

import hashlib
import os
import time
from uuid import UUID

_RANDOM_BITS = 74
_POOL_IDS = 256
_ID_BYTES = 10
_UUID_KEPT_BITS = (1 << 128) - 1 & ~(0xF << 76) & ~(0b11 << 62)
_UUID5_MARKS = 5 << 76 | 0b10 << 62
_pool = b""
_offset = 0


def _random_bytes() -> bytes:
    """Return the next 10 random bytes; the operating system is asked once for many ids.

    The pool is emptied after a fork, so that two workers never share it.
    """
    global _pool, _offset  # noqa: PLW0603 - a per-process buffer of random bytes, reset at fork below
    if _offset >= len(_pool):
        _pool = os.urandom(_POOL_IDS * _ID_BYTES)
        _offset = 0
    start = _offset
    _offset = start + _ID_BYTES
    return _pool[start : start + _ID_BYTES]


def _forget_pool() -> None:
    global _pool, _offset
    _pool, _offset = b"", 0


os.register_at_fork(after_in_child=_forget_pool)


def uuid7_text(now_ns: int | None = None) -> str:
    """Return a new UUIDv7 in its usual form; `now_ns` is the wall time, the system's if absent."""
    milliseconds = (time.time_ns() if now_ns is None else now_ns) // 1_000_000
    random = int.from_bytes(_random_bytes(), "big") & ((1 << _RANDOM_BITS) - 1)
    high, low = random >> 62, random & ((1 << 62) - 1)
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low
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
    return UUID(int=value & _UUID_KEPT_BITS | _UUID5_MARKS)
