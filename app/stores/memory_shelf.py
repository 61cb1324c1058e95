"""What one organisation keeps in memory. Law: every step costs the same however much it keeps."""

import secrets
from collections import OrderedDict
from itertools import islice

from app.stores.cache import MOST_SAMPLES, SAMPLES_AT_ONCE, Kept, Sample, Samples

_LIFE_BITS = 62

Member = tuple[str, str]
"""An entry's scope and id."""


class SampleLog:
    """The samples of one semantic partition, numbered in the order in which they came."""

    def __init__(self, scope: str, semantic: str) -> None:
        self.name = (scope, semantic)
        self._life = str(secrets.randbits(_LIFE_BITS))
        self._next = 0
        self._samples: OrderedDict[int, Sample] = OrderedDict()

    def append(self, sample: Sample) -> int:
        """Add a sample, for which the oldest of too many makes room; return its number."""
        number = self._next
        self._next += 1
        self._samples[number] = sample
        if len(self._samples) > MOST_SAMPLES:
            self._samples.popitem(last=False)
        return number

    def remove(self, number: int) -> None:
        """Drop a sample, if it is there."""
        self._samples.pop(number, None)

    def __len__(self) -> int:
        return len(self._samples)

    def after(self, cursor: str, now_ms: int) -> Samples:
        """Return the samples since a cursor that have not expired."""
        life, _, text = cursor.partition("-")
        number = int(text) if life == self._life else -1
        is_known = life == self._life and number + 1 >= next(iter(self._samples))
        rows = self._since(number) if is_known else list(islice(self._samples.items(), SAMPLES_AT_ONCE))
        return Samples(
            tuple(sample for _, sample in rows if sample.expires_ms > now_ms),
            f"{self._life}-{rows[-1][0]}" if rows else cursor,
            is_anew=bool(cursor) and not is_known,
            has_more=len(rows) == SAMPLES_AT_ONCE,
        )

    def _since(self, number: int) -> list[tuple[int, Sample]]:
        """Return the first rows after a number; those that came since the last look are few, and at the end."""
        rows: list[tuple[int, Sample]] = []
        for row in reversed(self._samples.items()):
            if row[0] <= number:
                break
            rows.append(row)
        return rows[: -SAMPLES_AT_ONCE - 1 : -1]


class Entry:
    """An answer with its key, what it counts for, when it expires, and where its sample is."""

    __slots__ = ("expires_ms", "kept", "key", "log", "number", "size_bytes")

    def __init__(self, key: bytes, kept: Kept, *, size_bytes: int, expires_ms: int) -> None:
        self.key = key
        self.kept = kept
        self.size_bytes = size_bytes
        self.expires_ms = expires_ms
        self.log: SampleLog | None = None
        self.number = 0


class Shelf:
    """An organisation's entries, oldest first, and how they are used."""

    def __init__(self) -> None:
        self.entries: OrderedDict[Member, Entry] = OrderedDict()
        self.size_bytes = 0
        self._used: OrderedDict[Member, None] = OrderedDict()
        self._logs: dict[tuple[str, str], SampleLog] = {}

    def add(self, member: Member, entry: Entry, *, sample: Sample | None) -> None:
        """Keep an entry that is not there."""
        self.entries[member] = entry
        self._used[member] = None
        self.size_bytes += entry.size_bytes
        if sample is not None:
            log = self._logs.get((member[0], sample.semantic))
            if log is None:
                log = self._logs[member[0], sample.semantic] = SampleLog(member[0], sample.semantic)
            entry.log, entry.number = log, log.append(sample)

    def use(self, member: Member) -> None:
        """Let an entry be the one used last."""
        self._used.move_to_end(member)

    def remove(self, member: Member) -> Entry:
        """Drop an entry and its sample."""
        entry = self.entries.pop(member)
        del self._used[member]
        self.size_bytes -= entry.size_bytes
        if entry.log is not None:
            entry.log.remove(entry.number)
            # A log that once was empty has been replaced, and this one is nobody's but the entry's.
            if not len(entry.log) and self._logs.get(entry.log.name) is entry.log:
                del self._logs[entry.log.name]
        return entry

    @property
    def oldest(self) -> Member:
        """The entry that was put first."""
        return next(iter(self.entries))

    @property
    def least_used(self) -> Member:
        """The entry that was not used for the longest time."""
        return next(iter(self._used))

    def samples(self, scope: str, semantic: str, *, after: str, now_ms: int) -> Samples:
        """Return the samples of a semantic partition since a cursor."""
        log = self._logs.get((scope, semantic))
        return Samples((), "", is_anew=bool(after)) if log is None else log.after(after, now_ms)
