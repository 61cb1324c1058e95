"""The outermost layer: every attempt that was made leaves one usage event, settled before the last byte.

Whoever leaves early (a client that hangs up, a clock that runs out) hands the exchange to a supervised task, so
settlement never depends on a response being finished. What a provider bills in any case is first read to its end.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

import msgspec

from app.domain.usage.entries import entry_of
from app.domain.usage.schemas import UsageEvent
from app.kernel.clock import Clock
from app.kernel.money import format_usd
from app.limits.accounts import NOTHING, Accounts, Grant
from app.limits.estimate import Estimator
from app.limits.holds import Holds
from app.pipeline.answer import Answer, LiveBody
from app.pipeline.drains import Drains, RestOfBody, cut_all
from app.pipeline.events import amounts_of, corrections, events_of
from app.pipeline.exchange import Exchange
from app.pipeline.lines import Lines
from app.pipeline.notes import LayerStep
from app.pipeline.ring import Next
from providers.errors import ProviderError
from providers.framing import sse
from providers.framing.members import DuplicateMember, splice
from providers.types import Usage

_EVENTS, _JSON = b"text/event-stream", b"application/json"
_BETWEEN_ELEMENTS = b",\r\n{"


class Supervisor(Protocol):
    """Runs what must not be lost when its starter goes away."""

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run `work` to its end, in a task of its own."""
        ...


class Meter:
    """Settles."""

    def __init__(
        self,
        accounts: Accounts,
        *,
        lines: Lines,
        holds: Holds,
        estimator: Estimator,
        clock: Clock,
        supervisor: Supervisor,
        drains: Drains,
    ) -> None:
        self._accounts = accounts
        self._lines = lines
        self._holds = holds
        self._estimator = estimator
        self._clock = clock
        self._supervisor = supervisor
        self._drains = drains

    async def __call__(self, exchange: Exchange, following: Next) -> Answer:
        """Answer; a whole answer is settled here, a live one by the time its last bytes are read."""
        try:
            answer = await following(exchange)
        except BaseException:
            self.abandon(exchange)
            raise
        if answer.live is not None:
            metered = _MeteredBody(answer.live, self, exchange)
            takes_note = exchange.options.includes_cost and answer.content_type.startswith((_EVENTS, _JSON))
            answer.live = NotedBody(metered, self, exchange) if takes_note else metered
            return answer
        await self.settle(exchange)
        if exchange.options.includes_cost and answer.body is not None and answer.content_type.startswith(_JSON):
            answer.body = _with_note(answer.body, self.note(exchange))
        return answer

    def abandon(self, exchange: Exchange) -> None:
        """Settle what was attempted, or give back what was held for it, in a task of its own."""
        if exchange.is_settled or not leaves_anything(exchange):
            return
        if not (exchange.unheard and self._drains.take(exchange, settle=self.settle)):
            self._supervisor.spawn(self.settle(exchange))

    def leave(self, exchange: Exchange, live: LiveBody) -> None:
        """Let go of a live answer and settle what was delivered; or read its rest first, if that is billed too."""
        progress = exchange.served.live if exchange.served is not None else None
        if progress is not None and progress.is_owed:
            exchange.unheard.append(RestOfBody(live, is_wanted=lambda: progress.is_owed))
            self.abandon(exchange)
            return
        try:
            live.close()
        finally:
            self.abandon(exchange)

    async def settle(self, exchange: Exchange) -> None:
        """Release what was held and hand the event of every attempt to the ledger, once.

        A settlement that is cut off is made again.
        """
        grant = exchange.grant
        if exchange.is_settled or not leaves_anything(exchange):
            return
        exchange.is_settled = True
        if grant is not None:
            self._holds.remove(grant)
        try:
            await self._settle(exchange, grant)
        except asyncio.CancelledError:
            self._supervisor.spawn(self._settle(exchange, grant))
            raise

    async def _settle(self, exchange: Exchange, grant: Grant | None) -> None:
        if exchange.unheard:
            await cut_all(exchange)
        began_ns = self._clock.monotonic_ns()
        try:
            await self._charge(exchange, grant)
        finally:
            notes, ended_ns = exchange.notes, self._clock.monotonic_ns()
            notes.steps.append(LayerStep("settlement", "passed", began_ns, ended_ns))
            notes.settled_ns = ended_ns

    async def _charge(self, exchange: Exchange, grant: Grant | None) -> None:
        accounts = self._accounts
        if not exchange.attempts and exchange.hit is None:
            if grant is not None:
                await accounts.void(grant)
                self._lines.ended(grant.plan)
            return
        at_ms = accounts.time.at_ms(exchange.started_ns) if grant is None else grant.granted.at_ms
        events = events_of(exchange, at_ms=at_ms, now_ns=self._clock.monotonic_ns())
        amounts = NOTHING if grant is None else amounts_of(events)
        scopes = None if grant is None else grant.plan.policy.scopes
        entries = [entry_of(event, scopes=scopes, at_ms=at_ms) for event in events]
        charged = await accounts.settle(grant, entries, amounts)
        if grant is not None:
            self._lines.ended(grant.plan)
            self._learn(exchange, events)
            if charged is not None and charged.state == "orphaned":
                await accounts.adjust(grant, corrections(events, charged.orphan))

    def _learn(self, exchange: Exchange, events: list[UsageEvent]) -> None:
        """Let the estimates of a model follow what its provider reports."""
        attempt = exchange.last_attempt
        if attempt is not None and attempt.usage is not None and events[-1].usage_source == "provider":
            asked = exchange if exchange.winner is None else exchange.winner
            self._estimator.learn(exchange.route.label, asked.measured(), attempt.usage)

    def note(self, exchange: Exchange) -> bytes:
        """Return the `gateway` object that the caller asked to have in its answer."""
        attempt, hit = exchange.last_attempt, exchange.hit
        usage = (attempt.usage if attempt else None) or Usage()
        spent = exchange.cost_nusd
        note = {
            "request_id": exchange.request_id,
            "provider": exchange.provider,
            "model": exchange.route.name,
            "cost": None if spent is None else format_usd(spent),
            "usage": {
                "input_tokens": usage.input_tokens,
                "output_tokens": usage.output_tokens,
                "cache_read_tokens": usage.cache_read_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
                "reasoning_tokens": usage.reasoning_tokens,
            },
            "price_version": attempt.price.version if attempt and attempt.price else None,
            "cache": exchange.cache_status,
        }
        if hit is not None:
            note["saved_cost"] = format_usd(hit.saved_nusd)
        return msgspec.json.encode(note)


def leaves_anything(exchange: Exchange) -> bool:
    """Whether there is anything to settle: something was attempted, held or given again."""
    return bool(exchange.attempts) or exchange.grant is not None or exchange.hit is not None


class _MeteredBody:
    """A live answer that is settled before its last bytes are given away."""

    __slots__ = ("_exchange", "_inner", "_is_left", "_meter", "is_finished")

    def __init__(self, inner: LiveBody, meter: Meter, exchange: Exchange) -> None:
        self._inner = inner
        self._meter = meter
        self._exchange = exchange
        self._is_left = False
        self.is_finished = False

    async def read(self) -> bytes:
        """Return the next bytes; the last ones only when the exchange is settled."""
        try:
            data = await self._inner.read()
        except BaseException:
            self.close()
            raise
        if self._inner.is_finished and not self.is_finished:
            await self._meter.settle(self._exchange)
            self.is_finished = True
        return data

    def close(self) -> None:
        """Let go of the upstream call and settle what was delivered."""
        if not self._is_left:
            self._is_left = True
            self._meter.leave(self._exchange, self._inner)


class NotedBody:
    """A live answer whose last data frame gets the `gateway` object; for that it is one read behind.

    What came before a failure is given away before the failure is raised.
    """

    __slots__ = ("_exchange", "_failure", "_held", "_inner", "_meter", "is_finished")

    def __init__(self, inner: LiveBody, meter: Meter, exchange: Exchange) -> None:
        self._inner = inner
        self._meter = meter
        self._exchange = exchange
        self._held = b""
        self._failure: ProviderError | None = None
        self.is_finished = False

    async def read(self) -> bytes:
        """Return the next bytes."""
        if self._failure is not None:
            raise self._failure
        while not self.is_finished:
            try:
                data = await self._inner.read()
            except ProviderError as error:
                if not self._held:
                    raise
                self._failure = error
                return self._held
            if self._inner.is_finished or not data:
                self.is_finished = True
                add = add_note_to_element if self._exchange.asked.framing == "array" else add_note
                return add(self._held + data, self._meter.note(self._exchange))
            ready, self._held = self._held, data
            if ready:
                return ready
        return b""

    def close(self) -> None:
        """Let go of the upstream call."""
        self._inner.close()


def add_note(frames: bytes, note: bytes) -> bytes:
    """Return server-sent events with the member `gateway` in the last that holds a JSON object."""
    parts = sse.split_frames(frames)
    for position in range(len(parts) - 1, -1, -1):
        data = sse.data_of(parts[position])
        if data is not None and data.lstrip().startswith(b"{"):
            parts[position] = sse.encode(_with_note(data, note), event=sse.event_of(parts[position]))
            break
    return b"".join(parts)


def add_note_to_element(elements: bytes, note: bytes) -> bytes:
    """Return the end of a streamed JSON array with the member `gateway` in its last element."""
    between = elements.rfind(_BETWEEN_ELEMENTS)
    start = elements.find(b"{") if between < 0 else between + len(_BETWEEN_ELEMENTS) - 1
    end = elements.rfind(b"}") + 1
    return elements[:start] + _with_note(elements[start:end], note) + elements[end:] if 0 <= start < end else elements


def _with_note(answer: bytes, note: bytes) -> bytes:
    """Return a JSON object with the member `gateway`; as it is if that is not to be done, for it is paid for by now."""
    try:
        return splice(answer, put={"gateway": note})
    except (DuplicateMember, msgspec.DecodeError):
        return answer
