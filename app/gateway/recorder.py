"""Keeps what became of recent requests: a while after each, in batches. Law: nobody waits for it, and it may lose any.

A request is written down when all of it is settled, also where its client has left, so that what it cost is what the
ledger says. What a store does not take is offered again, as much of it as may wait; the rest is lost.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from app.gateway.recording import Recording
from app.gateway.tally import Finished
from app.kernel.clock import Clock
from app.pipeline.meter import leaves_anything
from app.pipeline.records import RequestRecord, Whose, encode_record
from app.settings.policy import RequestTraceSettings
from app.stores.errors import StoreUnavailable
from app.stores.traces import Bounds, KeptTrace, Mark, TraceStore

MOST_BYTES = 16_384
"""How long what is kept of one request may be; a longer one is cut, and says so."""
_NS_PER_MS = 1_000_000
_NOBODY = Whose("", None, "")
_FEW = 8
_LOOK_S = 0.1
_PATIENCE_NS = 60_000_000_000
_MOST_WAITING = 2_000
_MOST_READY = 2_000
_MIB = 1 << 20
_MS_PER_S = 1_000
_LOG = logging.getLogger("gateway.traces")

Spawn = Callable[[Coroutine[Any, Any, Any]], None]


class Recorder:
    """Takes finished requests. One for each worker, used inside its loop.

    `degraded` returns the stores that do not answer; `draw` uniform numbers over [0, 1).
    """

    def __init__(
        self,
        store: TraceStore,
        settings: RequestTraceSettings,
        *,
        record: Recording,
        degraded: Callable[[], Sequence[str]],
        clock: Clock,
        spawn: Spawn,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._record = record
        self._degraded = degraded
        self._clock = clock
        self._spawn = spawn
        self._draw = draw
        self._waiting: deque[tuple[int, Finished]] = deque()
        self._ready: list[KeptTrace] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_writing = False
        self.replace(settings)

    def replace(self, settings: RequestTraceSettings) -> None:
        """Let new settings hold from the next request on."""
        self._share = settings.sample if settings.enabled else 0.0
        self._bounds = Bounds(most=settings.keep, most_bytes=settings.max_mb * _MIB, ttl_ms=settings.ttl_s * _MS_PER_S)

    def add(self, batch: Sequence[Finished]) -> None:
        """Write down the requests of a batch that are settled, and the others later."""
        if not self._share:
            return
        sampled = batch if self._share >= 1 else [each for each in batch if self._draw() < self._share]
        now_ns, degraded = self._clock.monotonic_ns(), self._degraded()
        for finished in sampled:
            if _is_settled(finished):
                self._take(finished, degraded)
            elif len(self._waiting) < _MOST_WAITING:
                self._waiting.append((now_ns, finished))
        self._write()
        self._look_again()

    async def flush(self) -> None:
        """Write what is settled, and wait for that."""
        self._look()
        while self._ready and await self._put():
            pass

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._share = 0.0

    # -- writing down -------------------------------------------------------------------------------------------------

    def _take(self, finished: Finished, degraded: Sequence[str]) -> None:
        record = self._record(finished, degraded=degraded)
        if record is None or len(self._ready) >= _MOST_READY:
            return
        payload = encode_record(record)
        if len(payload) > MOST_BYTES:
            payload = cut(record)
        self._ready.append(KeptTrace(finished.request_id, _mark(finished, record), payload))

    def _look(self) -> None:
        """Write down those that have been settled since."""
        self._timer = None
        now_ns, degraded = self._clock.monotonic_ns(), self._degraded()
        for _ in range(len(self._waiting)):
            since_ns, finished = self._waiting.popleft()
            if _is_settled(finished):
                self._take(finished, degraded)
            elif now_ns - since_ns < _PATIENCE_NS:
                self._waiting.append((since_ns, finished))
        self._write()
        self._look_again()

    def _look_again(self) -> None:
        if (self._waiting or self._ready) and self._timer is None and self._share:
            self._timer = asyncio.get_running_loop().call_later(_LOOK_S, self._look)

    # -- storing ------------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Write what is ready, one batch after the other."""
        if self._ready and not self._is_writing:
            self._is_writing = True
            self._spawn(self._write_all())

    async def _write_all(self) -> None:
        try:
            while self._ready and await self._put():
                pass
        finally:
            self._is_writing = False
            self._look_again()

    async def _put(self) -> bool:
        """Offer what is ready; returns whether the store took it."""
        ready, self._ready = self._ready, []
        try:
            await self._store.put(ready, self._bounds)
        except StoreUnavailable as error:
            _LOG.debug("what became of %d requests is not kept yet: %s", len(ready), error)
            self._ready = (ready + self._ready)[:_MOST_READY]
            return False
        return True


def _is_settled(finished: Finished) -> bool:
    exchange = finished.exchange
    return exchange is None or bool(exchange.notes.settled_ns) or not leaves_anything(exchange)


def _mark(finished: Finished, record: RequestRecord) -> Mark:
    exchange, whose = finished.exchange, record.whose or _NOBODY
    return Mark(
        whose.organization_id,
        whose.team_id,
        whose.key_id,
        record.model,
        None if exchange is None else exchange.provider,
        finished.status,
        finished.error_code,
        "off" if exchange is None else exchange.cache_status,
        finished.took_ns // _NS_PER_MS,
    )


def cut(record: RequestRecord) -> bytes:
    """Return a record that is short enough: first without the other routes, then with few of everything."""
    replace = msgspec.structs.replace
    short = replace(record, routes=record.routes[:1], is_cut=True)
    shorter = replace(
        short,
        routes=(),
        attempts=short.attempts[:_FEW],
        steps=short.steps[:_FEW],
        skipped=short.skipped[:_FEW],
        dropped=short.dropped[:_FEW],
    )
    shortest = replace(
        shorter, attempts=(), steps=(), skipped=(), dropped=(), cache=None, grant=None, refusal=None, fanout=None
    )
    encoded = [encode_record(each) for each in (short, shorter, shortest)]
    return next((each for each in encoded if len(each) <= MOST_BYTES), encoded[-1])
