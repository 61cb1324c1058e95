"""What workers tell each other of lanes: who is broken, full or locked out, and who tries whether it is well again.

Law: hints, not truth. Each worker judges by its own calls as well; a hint that is lost is told again while it holds,
by whoever found it out, or by another if that one is silent.
"""

import asyncio
import logging
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import Clock
from app.kernel.ids import uuid7_text
from app.observability.metrics import BREAKER_STATE, Metrics
from app.routing.health import Health, Lane
from app.stores.errors import StoreUnavailable
from app.stores.protocols import Signals, Unsubscribe

TOPIC = "lanes"
_AGAIN_S = 2.0
_TAKEN_OVER_S = 3 * _AGAIN_S
"""After so long a silence another worker tells what it heard: whoever found it out may be dead."""
_FORGOTTEN_S = 5 * _AGAIN_S
"""After so long a silence a process that makes no calls takes it that all is well: nobody says otherwise."""
_PRECEDENCE_NS = 250_000_000
"""How much later than whoever opened a breaker the others may try: by then they have heard that it tries already."""
_DEAF_S = 5.0
"""How long after a reload nobody is believed that a credential is refused: others may not have reloaded yet."""
_NS_PER_MS, _NS_PER_S = 1_000_000, 1_000_000_000
_STATES = {"closed": 0.0, "half_open": 1.0, "open": 2.0}
_LOG = logging.getLogger("gateway.routing")


Ms = Annotated[int, Meta(ge=0, le=86_400_000)]
Says = Literal["state", "closed", "trying"]
"""What a word is for: how a lane fares, that its breaker has closed, or that a call tries whether it is well again."""


class _Word(msgspec.Struct, array_like=True, frozen=True):
    """How a lane fares, by one process. Times are milliseconds from now.

    `open_ms` is 0 where a breaker may be tried again; absent, it says nothing of the breaker, for that one which is
    closed here may be open elsewhere is no contradiction.
    """

    process: str
    provider: str
    model: str
    credential: Annotated[int, Meta(ge=0, le=1_000)]
    says: Says
    open_ms: Ms | None
    cooled_ms: Ms
    locked_out_ms: Ms


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Word).decode


class Board:
    """Tells and hears. One for each process, also for one that makes no calls and only shows what it hears."""

    def __init__(
        self,
        health: Health,
        *,
        signals: Signals,
        tasks: TaskSupervisor,
        metrics: Metrics,
        clock: Clock,
        speaks: bool = True,
    ) -> None:
        """Make one; `speaks` is whether this process makes calls, so that it can say how they went."""
        self._health = health
        self._signals = signals
        self._tasks = tasks
        self._metrics = metrics
        self._clock = clock
        self._speaks = speaks
        self._process = uuid7_text()
        self._mine: set[Lane] = set()
        self._open: set[Lane] = set()
        self._heard_ns: dict[Lane, int] = {}
        self._deaf_until_ns = 0
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
        has_closed = lane in self._open and not lane.breaker.open_until_ns
        self._note(lane)
        self._tasks.spawn(self._publish(self._word_of(lane, says="closed" if has_closed else "state")))

    def trying(self, lane: Lane) -> None:
        """Tell the others that a call finds out whether a lane is well again."""
        self._tasks.spawn(self._publish(self._word_of(lane, says="trying")))

    def let_all_in(self) -> None:
        """Let every credential in: they may have been changed. For a while nobody is believed who knows the old."""
        self._health.let_all_in()
        self._deaf_until_ns = self._clock.monotonic_ns() + int(_DEAF_S * _NS_PER_S)

    def show(self) -> None:
        """Bring the metric up to date."""
        for lane in self._health:
            self._show(lane)

    def _note(self, lane: Lane) -> None:
        """Keep whether its breaker is open, so that its closing is noticed, and show it."""
        if lane.breaker.open_until_ns:
            self._open.add(lane)
        else:
            self._open.discard(lane)
        self._show(lane)

    def _show(self, lane: Lane) -> None:
        provider, model, credential = lane.name
        number = self._metrics.number(BREAKER_STATE, provider, model, str(credential + 1))
        number.set(_STATES[lane.breaker.state(self._clock.monotonic_ns())])

    # -- telling ------------------------------------------------------------------------------------------------------

    def _word_of(self, lane: Lane, *, says: Says) -> _Word:
        now_ns, breaker = self._clock.monotonic_ns(), lane.breaker
        return _Word(
            self._process,
            *lane.name,
            says=says,
            open_ms=max(0, breaker.open_until_ns - now_ns) // _NS_PER_MS if breaker.open_until_ns else None,
            cooled_ms=max(0, lane.closed_until_ns - now_ns) // _NS_PER_MS,
            locked_out_ms=max(0, lane.locked_out_until_ns - now_ns) // _NS_PER_MS,
        )

    async def _publish(self, word: _Word) -> None:
        try:
            await self._signals.publish(TOPIC, _encode(word))
        except StoreUnavailable:
            _LOG.debug("the others are not told of %s/%s", word.provider, word.model)

    async def _repeat(self) -> None:
        while True:
            await asyncio.sleep(_AGAIN_S)
            await self.repeat()

    async def repeat(self) -> None:
        """Tell again what still holds: whoever came later, or missed it, hears it then."""
        now_ns = self._clock.monotonic_ns()
        for lane in self._health:
            if lane.is_well(now_ns):
                self._mine.discard(lane)
                self._heard_ns.pop(lane, None)
            elif self._is_to_tell(lane, now_ns):
                self._mine.add(lane)
                await self._publish(self._word_of(lane, says="state"))
            elif not self._speaks and self._silent_s(lane, now_ns) > _FORGOTTEN_S:
                lane.breaker.close()
                self._open.discard(lane)
        self.show()

    def _is_to_tell(self, lane: Lane, now_ns: int) -> bool:
        return self._speaks and (lane in self._mine or self._silent_s(lane, now_ns) > _TAKEN_OVER_S)

    def _silent_s(self, lane: Lane, now_ns: int) -> float:
        """Return for how many seconds nobody else has said anything of a lane."""
        return (now_ns - self._heard_ns.setdefault(lane, now_ns)) / _NS_PER_S

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
        self._heard_ns[lane] = now_ns
        if word.says == "closed":
            lane.breaker.close()
        elif word.open_ms is not None:
            self._open_after(word.process, lane, now_ns + word.open_ms * _NS_PER_MS, now_ns)
        if word.says == "trying":
            lane.breaker.begin_try(now_ns)
        lane.cool(now_ns + word.cooled_ms * _NS_PER_MS)
        if now_ns >= self._deaf_until_ns:
            lane.told_locked_out(now_ns + word.locked_out_ms * _NS_PER_MS)
        self._note(lane)

    def _open_after(self, process: str, lane: Lane, until_ns: int, now_ns: int) -> None:
        """Open a breaker as another process did, which tries first.

        Of two that opened it at about the same moment the one whose id is the lesser goes first: it does not wait for
        the other, who says no more than that it does.
        """
        open_until_ns = lane.breaker.open_until_ns
        is_first = self._process < process and now_ns < open_until_ns
        if until_ns <= now_ns:
            lane.breaker.told_open(until_ns, now_ns)
        elif not is_first or until_ns > open_until_ns + 2 * _PRECEDENCE_NS:
            lane.breaker.told_open(until_ns + _PRECEDENCE_NS, now_ns)
