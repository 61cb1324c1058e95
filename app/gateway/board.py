"""What workers tell each other of lanes: who is broken, full or locked out, and who tries whether it is well again.

Law: hints, not truth. Each worker judges by its own calls as well; a hint that is lost is told again while it holds.
"""

import asyncio
import logging

import msgspec

from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import Clock
from app.kernel.ids import uuid7_text
from app.observability.metrics import BREAKER_STATE, Metrics
from app.routing.health import Health, Lane
from app.stores.errors import StoreUnavailable
from app.stores.protocols import Signals, Unsubscribe

TOPIC = "lanes"
_AGAIN_S = 2.0
_PRECEDENCE_MS = 250
"""How much later than whoever opened a breaker the others may try: by then they have heard that it tries already.

Where two open it at the same moment, the one whose id is the lesser goes first.
"""
_NS_PER_MS = 1_000_000
_STATES = {"closed": 0.0, "half_open": 1.0, "open": 2.0}
_LOG = logging.getLogger("gateway.routing")


class _Word(msgspec.Struct, array_like=True, frozen=True):
    """How a lane fares, by one process. Times are milliseconds from now; `open_ms` of none is a closed breaker."""

    process: str
    provider: str
    model: str
    credential: int
    open_ms: int | None
    cooled_ms: int
    locked_out_ms: int
    is_trying: bool


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Word).decode


class Board:
    """Tells and hears. One for each process, also for one that makes no calls and only shows what it hears."""

    def __init__(
        self, health: Health, *, signals: Signals, tasks: TaskSupervisor, metrics: Metrics, clock: Clock
    ) -> None:
        self._health = health
        self._signals = signals
        self._tasks = tasks
        self._metrics = metrics
        self._clock = clock
        self._process = uuid7_text()
        self._mine: set[Lane] = set()
        self._unsubscribe: Unsubscribe | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to hear, and to repeat what still holds."""
        self._unsubscribe = self._signals.subscribe(TOPIC, self._hear)
        self._task = asyncio.get_running_loop().create_task(self._repeat(), name="lanes-board")

    async def stop(self) -> None:
        """Stop."""
        if self._unsubscribe is not None:
            self._unsubscribe()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def changed(self, lane: Lane) -> None:
        """Tell the others how a lane fares now."""
        self._mine.add(lane)
        self._show(lane)
        self._tasks.spawn(self._publish(self._word_of(lane, is_trying=False)))

    def trying(self, lane: Lane) -> None:
        """Tell the others that a call finds out whether a lane is well again."""
        self._tasks.spawn(self._publish(self._word_of(lane, is_trying=True)))

    def show(self) -> None:
        """Bring the metric up to date."""
        for lane in self._health:
            self._show(lane)

    def _show(self, lane: Lane) -> None:
        provider, model, credential = lane.name
        number = self._metrics.number(BREAKER_STATE, provider, model, str(credential + 1))
        number.set(_STATES[lane.breaker.state(self._clock.monotonic_ns())])

    # -- telling ------------------------------------------------------------------------------------------------------

    def _word_of(self, lane: Lane, *, is_trying: bool) -> _Word:
        now_ns, breaker = self._clock.monotonic_ns(), lane.breaker
        return _Word(
            self._process,
            *lane.name,
            open_ms=max(0, breaker.open_until_ns - now_ns) // _NS_PER_MS if breaker.open_until_ns else None,
            cooled_ms=max(0, lane.closed_until_ns - now_ns) // _NS_PER_MS,
            locked_out_ms=max(0, lane.locked_out_until_ns - now_ns) // _NS_PER_MS,
            is_trying=is_trying,
        )

    async def _publish(self, word: _Word) -> None:
        try:
            await self._signals.publish(TOPIC, _encode(word))
        except StoreUnavailable:
            _LOG.debug("the others are not told of %s/%s", word.provider, word.model)

    async def _repeat(self) -> None:
        """Tell again what still holds: whoever came later, or missed it, hears it then."""
        while True:
            await asyncio.sleep(_AGAIN_S)
            now_ns = self._clock.monotonic_ns()
            for lane in tuple(self._mine):
                if lane.is_well(now_ns):
                    self._mine.discard(lane)
                else:
                    await self._publish(self._word_of(lane, is_trying=False))
            self.show()

    # -- hearing ------------------------------------------------------------------------------------------------------

    def _hear(self, payload: bytes) -> None:
        try:
            word = _decode(payload)
        except msgspec.DecodeError:
            _LOG.debug("a process of another release told something of a lane")
            return
        if word.process == self._process:
            return
        lane, now_ns = self._health.lane(word.provider, word.model, word.credential), self._clock.monotonic_ns()
        if word.is_trying:
            lane.breaker.begin_try(now_ns)
        elif word.open_ms is None:
            # Whoever only says that it is to be left alone may not have heard yet that it is broken as well.
            if not word.cooled_ms and not word.locked_out_ms:
                lane.breaker.close()
        elif word.open_ms and (word.process < self._process or lane.breaker.state(now_ns) != "open"):
            lane.breaker.open(now_ns + (word.open_ms + _PRECEDENCE_MS) * _NS_PER_MS)
        lane.cool(now_ns + word.cooled_ms * _NS_PER_MS)
        lane.locked_out_until_ns = max(lane.locked_out_until_ns, now_ns + word.locked_out_ms * _NS_PER_MS)
        self._show(lane)
