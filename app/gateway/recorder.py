"""Keeps what became of recent requests: a while after each, in batches. Law: nobody waits for it, and it may lose any.

A request is written down when all of it is settled, also where its client has left, so that what it cost is what the
ledger says. What a store does not take is offered again, as much of it as may wait; the rest is lost. What it said goes
beside that, sealed, where bodies are kept.
"""

import asyncio
import contextlib
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import msgspec

from app.gateway.bodies import BodySealer, Spoken
from app.gateway.recording import Recording
from app.gateway.tally import Finished
from app.kernel.clock import Clock
from app.pipeline.meter import leaves_anything
from app.pipeline.records import RequestRecord, Whose, encode_record
from app.settings.model import Settings
from app.stores.errors import StoreUnavailable
from app.stores.traces import NO_BODIES, Bounds, KeptTrace, Mark, TraceStore

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
        settings: Settings,
        *,
        record: Recording,
        sealer: BodySealer,
        degraded: Callable[[], Sequence[str]],
        clock: Clock,
        spawn: Spawn,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._record = record
        self._sealer = sealer
        self._degraded = degraded
        self._clock = clock
        self._spawn = spawn
        self._draw = draw
        self._waiting: deque[tuple[int, Finished]] = deque()
        self._ready: list[KeptTrace] = []
        self._spoken: dict[str, Spoken] = {}
        self._storing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._is_writing = False
        self._take_settings(settings)

    def replace(self, settings: Settings) -> None:
        """Let new settings hold from the next request on; bodies that are to be kept no more are forgotten at once."""
        kept_bodies = self.keeps_bodies
        self._take_settings(settings)
        if kept_bodies and not self.keeps_bodies:
            self._spawn(self._forget_bodies())

    def _take_settings(self, settings: Settings) -> None:
        traces = settings.request_traces
        self._share = traces.sample if traces.enabled else 0.0
        self.keeps_bodies = settings.privacy.store_bodies and traces.enabled
        """Whether what is said in requests that begin now is to be handed over with them."""
        most_bytes = traces.max_mb * _MIB
        self._bounds = Bounds(
            most=traces.keep,
            most_bytes=most_bytes,
            ttl_ms=traces.ttl_s * _MS_PER_S,
            # A half at most, so that there is always room for traces.
            most_body_bytes=most_bytes // 2 if self.keeps_bodies else 0,
        )

    def add(self, batch: Sequence[Finished]) -> None:
        """Write down the requests of a batch that are settled, and the others later."""
        if not self._share:
            return
        sampled = batch if self._share >= 1 else [each for each in batch if self._draw() < self._share]
        if self.keeps_bodies:
            self._bound_bodies(sampled)
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
        while (self._ready or self._storing.locked()) and await self._put():
            pass

    def close(self) -> None:
        """Stop looking."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._share = 0.0

    # -- writing down -------------------------------------------------------------------------------------------------

    def _take(self, finished: Finished, degraded: Sequence[str]) -> None:
        try:
            self._write_down(finished, degraded)
        except Exception:  # noqa: BLE001 - a supervisor: the others of its batch may be other callers'
            _LOG.exception("what became of request %s is not kept", finished.request_id)

    def _write_down(self, finished: Finished, degraded: Sequence[str]) -> None:
        record = self._record(finished, degraded=degraded)
        if record is None or len(self._ready) >= _MOST_READY:
            return
        payload = encode_record(record)
        if len(payload) > MOST_BYTES:
            payload = cut(record)
        request_id, mark = finished.request_id, _mark(finished, record)
        self._ready.append(KeptTrace(request_id, mark, payload))
        if finished.notes is not None and finished.notes.transcript is not None:
            self._spoken[request_id] = Spoken(request_id, mark.organization_id, finished.notes.transcript)

    def _bound_bodies(self, batch: Sequence[Finished]) -> None:
        """Let go of the bodies of a batch that are too much, beside what waits, to wait in memory."""
        left_bytes = self._bounds.most_body_bytes
        left_bytes -= sum(each.transcript.held_bytes for each in self._spoken.values())
        left_bytes -= sum(_held_bytes(each) for _, each in self._waiting)
        for finished in batch:
            held_bytes = _held_bytes(finished)
            if held_bytes <= left_bytes:
                left_bytes -= held_bytes
            elif finished.notes is not None:
                finished.notes.transcript = None

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
        """Offer what is ready, when what was offered before is there; returns whether the store took it."""
        async with self._storing:
            ready, self._ready = self._ready, []
            if not ready:
                return True
            spoken, self._spoken = self._spoken, {}
            bodies = await self._sealer.seal(list(spoken.values())) if spoken else NO_BODIES
            try:
                await self._store.put(ready, self._bounds, bodies=bodies)
            except StoreUnavailable as error:
                _LOG.debug("what became of %d requests is not kept yet: %s", len(ready), error)
                self._ready = (ready + self._ready)[:_MOST_READY]
                spoken |= self._spoken
                self._spoken = {each.id: spoken[each.id] for each in self._ready if each.id in spoken}
                return False
            return True

    async def _forget_bodies(self) -> None:
        """Have the store forget all bodies; one that does not answer now does so when it next takes a trace."""
        async with self._storing:
            with contextlib.suppress(StoreUnavailable):
                await self._store.put([], self._bounds)


def _is_settled(finished: Finished) -> bool:
    exchange = finished.exchange
    return exchange is None or bool(exchange.notes.settled_ns) or not leaves_anything(exchange)


def _held_bytes(finished: Finished) -> int:
    """Return how much memory the bodies of a request take."""
    transcript = None if finished.notes is None else finished.notes.transcript
    return 0 if transcript is None else transcript.held_bytes


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
