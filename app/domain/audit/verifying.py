"""Walks the audit chain from its first entry to its sealed end.

Law: only reads; whatever stands in a row, however broken, is a finding and no failure.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec
from sqlalchemy import func, select

from app.db.engine import Connection
from app.domain.audit import repository, tables
from app.domain.audit.chain import GENESIS, HASHED, Head, Seal, hash_of

OnProgress = Callable[[int, int], None]
"""Hears how many entries were checked, and of how many."""

SealState = Literal["sealed", "unsealed", "foreign"]
"""`unsealed`: nothing was written since the seals exist. `foreign`: made with another master secret."""

_AT_ONCE = 2_000
_entries = tables.audit_entries
_statement = select(
    _entries.c.seq, _entries.c.prev_hash, _entries.c.hash, _entries.c.seal, *(_entries.c[name] for name in HASHED)
)
_FIRST_HASHED = 4
_MOST_RANGES = 100


class Broken(msgspec.Struct, frozen=True, kw_only=True):
    """The first place where the chain does not hold: the number of the entry that should be there, and why."""

    seq: int
    why: str


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a walk has found.

    `unsealed` counts the entries without a seal, which `ranges` names by their first and last, at most a hundred
    ranges: releases that did not seal wrote them, or somebody without the master secret.
    """

    checked: int
    seal: SealState
    unsealed: int
    ranges: list[tuple[int, int]]
    broken: Broken | None


async def verify(connection: Connection, seal: Seal, on_progress: OnProgress | None) -> Verdict:
    """Return whether every entry follows from the one before it, and whether the last is the one that was sealed.

    `connection` must see one moment only.
    """
    head = await repository.read_head(connection)
    walk = _Walk(head, seal)
    total = (await connection.execute(select(func.count()).select_from(_entries))).scalar_one()
    async for rows in _batches(connection, walk):
        for row in rows:
            if not walk.takes(row):
                break
        if on_progress is not None:
            on_progress(walk.seq, total)
    return Verdict(
        checked=walk.seq,
        seal="unsealed" if head is None else "sealed" if seal.knows(head.kid) else "foreign",
        unsealed=walk.unsealed,
        ranges=walk.ranges,
        broken=walk.broken or _end_fault(head, seal, walk=walk),
    )


async def _batches(connection: Connection, walk: "_Walk") -> AsyncIterator[Sequence[Sequence[Any]]]:
    """Yield the entries after those that were walked, until there are no more or one is broken.

    From one that the driver cannot even read back they come singly, so that this one is found.
    """
    at_once = _AT_ONCE
    while walk.broken is None:
        statement = _statement.where(_entries.c.seq > walk.seq).order_by(_entries.c.seq).limit(at_once)
        try:
            rows = (await connection.execute(statement)).all()
        except ValueError:
            if at_once == 1:
                walk.broken = Broken(seq=walk.seq + 1, why="it was changed: what stands in it cannot be read")
            at_once = 1
            continue
        yield rows
        if len(rows) < at_once:
            return


class _Walk:
    """Where a walk is: the last entry that holds, and the first that does not."""

    def __init__(self, head: Head | None, seal: Seal) -> None:
        self._head = head
        self._seal = seal
        self.unsealed = 0
        self.ranges: list[tuple[int, int]] = []
        self.seq = 0
        self.hash = GENESIS
        self.broken: Broken | None = None

    def takes(self, row: Sequence[Any]) -> bool:
        """Go on to the next entry; false where it does not follow."""
        why = self._fault(row)
        if why is not None:
            self.broken = Broken(seq=self.seq + 1, why=why)
            return False
        self.seq, self.hash = row[0], row[2]
        if row[3] is None:
            self._note_unsealed()
        return True

    def _note_unsealed(self) -> None:
        self.unsealed += 1
        if self.ranges and self.ranges[-1][1] == self.seq - 1:
            self.ranges[-1] = (self.ranges[-1][0], self.seq)
        elif len(self.ranges) < _MOST_RANGES:
            self.ranges.append((self.seq, self.seq))

    def _fault(self, row: Sequence[Any]) -> str | None:
        seq, previous, own, mark = row[0], row[1], row[2], row[3]
        if seq != self.seq + 1:
            return f"it is missing: entry {seq} comes next" if seq > self.seq else "its number is used twice"
        if previous != self.hash:
            return "it does not follow the entry before it: one of them was put in, put elsewhere or taken out"
        if own != hash_of(seq, dict(zip(HASHED, map(_plain, row[_FIRST_HASHED:]), strict=True)), previous):
            return "it was changed: its hash is not that of what it says"
        if mark is not None and self._seal.is_ours(mark) and not self._seal.fits_entry(seq, own, mark=mark):
            return "the seal on it is not that of what it says: the chain was computed anew from here on"
        if self._head is not None and seq == self._head.seq and own != self._head.hash:
            return "it is not the entry that was sealed: the chain was computed anew, here or before"
        return None


def _plain(value: Any) -> Any:
    """Return a column's value as the hash has it; a text that a tampered UUID column holds stays text."""
    return value if value is None or isinstance(value, (str, UUID, datetime)) else str(value)


def _end_fault(head: Head | None, seal: Seal, *, walk: _Walk) -> Broken | None:
    """Return what is wrong with the end of a chain that holds as far as it was walked."""
    seq = walk.seq
    if head is None:
        is_old = walk.unsealed == seq
        return None if is_old else Broken(seq=seq, why="the seal on the end of the chain was taken away")
    if seq < head.seq:
        return Broken(seq=seq + 1, why=f"it is missing: the chain was cut off, entry {head.seq} was sealed as its last")
    if seal.knows(head.kid) and not seal.fits(head):
        return Broken(seq=head.seq, why="the seal on it was forged: it was not made with the master secret")
    if seq > head.seq:
        why = "it is not sealed: a release that does not seal wrote it, or somebody without the master secret"
        return Broken(seq=head.seq + 1, why=why)
    if head.unsealed > walk.unsealed:
        why = "the seal on the end of the chain was taken away before it was written, and begun anew"
        return Broken(seq=head.unsealed + 1, why=why)
    return None
