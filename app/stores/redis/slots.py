"""Which of a cluster's 16,384 slots a command belongs to. Law: the same answer as the server's CLUSTER KEYSLOT."""

from binascii import crc_hqx
from collections.abc import Sequence
from itertools import pairwise

from app.stores.redis.link import Argument

SLOTS = 16_384

_KEYLESS = frozenset({"CLIENT", "CLUSTER", "CONFIG", "DBSIZE", "ECHO", "INFO", "PING", "PUBLISH", "SCRIPT", "TIME"})
_AFTER_COUNT = frozenset({"EVAL", "EVALSHA", "EVALSHA_RO", "EVAL_RO", "FCALL", "FCALL_RO"})
_AFTER_SUBCOMMAND = frozenset({"MEMORY", "OBJECT", "XGROUP", "XINFO"})
_AFTER_STREAMS = frozenset({"XREAD", "XREADGROUP"})


def slot_of(key: Argument) -> int:
    """Return the slot of a key: of what stands between its first braces, if anything does, else of all of it."""
    raw = key if isinstance(key, bytes) else str(key).encode()
    start = raw.find(b"{") + 1
    if start and (end := raw.find(b"}", start)) > start:
        raw = raw[start:end]
    return crc_hqx(raw, 0) % SLOTS


def first_key(args: Sequence[Argument]) -> Argument | None:
    """Return the first key of a command, absent if it has none; commands that are not known here begin with it."""
    name = _word(args[0])
    if name in _KEYLESS:
        return None
    if name in _AFTER_COUNT:
        return args[3] if int(args[2]) else None
    if name in _AFTER_STREAMS:
        return next((key for word, key in pairwise(args) if _word(word) == "STREAMS"), None)
    at = 2 if name in _AFTER_SUBCOMMAND else 1
    return args[at] if len(args) > at else None


def _word(argument: Argument) -> str:
    return (argument.decode(errors="replace") if isinstance(argument, bytes) else str(argument)).upper()
