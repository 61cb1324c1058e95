"""Traces of recent requests in this process. Law: they are never more than the bounds that were last given say."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence

from app.kernel.clock import Clock
from app.stores.traces import NO_BODIES, Bounds, KeptTrace, TraceQuery

_NS_PER_MS = 1_000_000
_OVERHEAD_BYTES = 700
"""About what a trace takes beside its own bytes."""
_BODIES_OVERHEAD_BYTES = 200
"""About what sealed bodies take beside theirs."""


class MemoryTraceStore:
    """Traces that live as long as the process does."""

    def __init__(self, *, clock: Clock) -> None:
        """Make an empty store."""
        self._clock = clock
        # The oldest of a plain dict is dear to find once many before it are gone.
        self._kept: OrderedDict[str, tuple[int, KeptTrace]] = OrderedDict()
        self._bodies: OrderedDict[str, bytes] = OrderedDict()
        self._size_bytes = self._bodies_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def size_bytes(self) -> int:
        """About how much memory they take, with their bodies."""
        return self._size_bytes + self._bodies_bytes

    @property
    def bodies_bytes(self) -> int:
        """About how much of that is bodies."""
        return self._bodies_bytes

    async def put(
        self, traces: Sequence[KeptTrace], bounds: Bounds, *, bodies: Mapping[str, bytes] = NO_BODIES
    ) -> None:
        """Keep traces; those that came first go first."""
        now_ns = self._clock.monotonic_ns()
        ends_ns = now_ns + bounds.ttl_ms * _NS_PER_MS
        for each in traces:
            self._forget(each.id)
            self._kept[each.id] = (ends_ns, each)
            self._size_bytes += _size_of(each)
            sealed = bodies.get(each.id)
            if sealed is not None:
                self._bodies[each.id] = sealed
                self._bodies_bytes += len(sealed) + _BODIES_OVERHEAD_BYTES
        while self._bodies_bytes > bounds.most_body_bytes:
            self._forget_bodies(next(iter(self._bodies)))
        while self._kept and (len(self._kept) > bounds.most or self.size_bytes > bounds.most_bytes):
            self._forget(next(iter(self._kept)))
        self.sweep()

    async def find(self, request_id: str) -> KeptTrace | None:
        """Return one, if it is still kept."""
        self.sweep()
        found = self._kept.get(request_id)
        return None if found is None else found[1]

    async def bodies(self, request_id: str) -> bytes | None:
        """Return the sealed bodies of one, if they are still kept."""
        self.sweep()
        return self._bodies.get(request_id)

    async def recent(self, query: TraceQuery, *, before: str | None = None, limit: int) -> list[KeptTrace]:
        """Return those asked for, the newest first."""
        self.sweep()
        first, last = query.first_id, query.last_id(before)
        found = [
            each
            for request_id, (_, each) in self._kept.items()
            if request_id >= first and (last is None or request_id < last) and query.wants(each.mark)
        ]
        found.sort(key=lambda each: each.id, reverse=True)
        return found[:limit]

    def sweep(self) -> None:
        """Forget what is past its time."""
        now_ns = self._clock.monotonic_ns()
        while self._kept:
            request_id = next(iter(self._kept))
            if self._kept[request_id][0] > now_ns:
                return
            self._forget(request_id)

    def _forget(self, request_id: str) -> None:
        known = self._kept.pop(request_id, None)
        if known is not None:
            self._size_bytes -= _size_of(known[1])
            self._forget_bodies(request_id)

    def _forget_bodies(self, request_id: str) -> None:
        sealed = self._bodies.pop(request_id, None)
        if sealed is not None:
            self._bodies_bytes -= len(sealed) + _BODIES_OVERHEAD_BYTES


def _size_of(kept: KeptTrace) -> int:
    return len(kept.trace) + _OVERHEAD_BYTES
