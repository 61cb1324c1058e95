"""The members of a JSON object by byte offset, so that some can be changed and the rest stay the bytes they were."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

_MEMBER = re.compile(rb'[ \t\r\n]*"((?:[^"\\]++|\\.)*+)"[ \t\r\n]*:[ \t\r\n]*')
_NEXT = re.compile(rb"[ \t\r\n]*([,}])")
_OPEN = re.compile(rb"[ \t\r\n]*\{")
_MARKS_OF_A_MEMBER = 4
_SHOWN = 64

_decode_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Member(NamedTuple):
    """Where a member stands: `start` is behind the `{` or `,` before it, `end` is at the `,` or `}` after it."""

    start: int
    name_start: int
    name_end: int
    value_start: int
    value_end: int
    end: int


class DuplicateMember(ValueError):
    """An object names a member twice: two readers of it could disagree."""


def scan(body: bytes) -> dict[str, Member]:
    """Return the members of the JSON object `body`, in order.

    Raises `msgspec.DecodeError` if it is no JSON object and `DuplicateMember` if two members have one name.
    """
    values = _decode_members(body)
    found: dict[str, Member] = {}
    opening = _OPEN.match(body)
    start = opening.end() if opening else 0
    for name, raw in values.items():
        member = _member_at(body, start, raw)
        if member is None:
            raise DuplicateMember(f"the member {name[:_SHOWN]!r} stands twice in the object")
        found[name] = member
        start = member.end + 1
    if found and body[start - 1 : start] != b"}":
        raise DuplicateMember("a member stands twice in the object")
    return found


def refuse_duplicates(body: bytes) -> None:
    """Raise `DuplicateMember` if two members of the JSON object `body` have one name.

    A body without spaces between its members is known to be sound by its length alone: nothing stands beside the
    names and values but two braces, two quotes and a colon for each member, and a comma between each two.
    """
    values = _decode_members(body)
    beside = len(body) - len("".join(values)) - sum(map(len, values.values()))
    if beside != _MARKS_OF_A_MEMBER * len(values) + 1:
        scan(body)


def _member_at(body: bytes, start: int, raw: msgspec.Raw) -> Member | None:
    """Return the member that begins at `start` if its value is `raw`."""
    key = _MEMBER.match(body, start)
    if key is None:
        return None
    value = bytes(raw)  # compared at once, where a view is compared byte by byte
    value_start, value_end = key.end(), key.end() + len(value)
    if not body.startswith(value, value_start):
        return None
    after = _NEXT.match(body, value_end)
    if after is None:
        return None
    return Member(start, key.start(1) - 1, key.end(1) + 1, value_start, value_end, after.start(1))


def splice(
    body: bytes,
    *,
    put: Mapping[str, bytes],
    drop: "frozenset[str] | set[str]" = frozenset(),
    rename: Mapping[str, str] | None = None,
) -> bytes:
    """Return `body` with the values in `put` set (added at the end if new), others dropped or renamed.

    The values of `put` are encoded JSON. Bytes of members that are not named stay as they are. An order of business:
    drop, then rename (which replaces a member of the new name), then put; `put` names members by their new names.
    """
    members = scan(body)
    names = {old: new for old, new in (rename or {}).items() if old in members and old not in drop}
    replaced = drop | (set(names.values()) - names.keys())
    kept: dict[str, bytes] = {}
    for name, member in members.items():
        if name in replaced:
            continue
        new_name = names.get(name, name)
        kept[new_name] = _member_bytes(
            body, member, new_name=None if new_name == name else new_name, value=put.get(new_name)
        )
    kept.update((name, msgspec.json.encode(name) + b":" + value) for name, value in put.items() if name not in kept)
    if not members and not kept:
        return body
    opening = body.index(b"{") + 1
    return body[:opening] + b",".join(kept.values()) + body[body.rindex(b"}") :]


def _member_bytes(body: bytes, member: Member, *, new_name: str | None, value: bytes | None) -> bytes:
    if new_name is None and value is None:
        return body[member.start : member.end]
    name = body[member.name_start : member.name_end] if new_name is None else msgspec.json.encode(new_name)
    text = body[member.value_start : member.value_end] if value is None else value
    between = body[member.name_end : member.value_start]
    return body[member.start : member.name_start] + name + between + text + body[member.value_end : member.end]
