"""The innermost call: one attempt at one target, relayed or translated, opened up to its first content."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import msgspec

from app.domain.prices import PriceBook, cost
from app.kernel.clock import Clock
from app.limits.estimate import guess_tokens
from app.pipeline.answer import Answer
from app.pipeline.attempt import Attempt, Outcome
from app.pipeline.bent import ask
from app.pipeline.bodies import RelayedBody, TranslatedBody, counted_so_far
from app.pipeline.drains import unbroken
from app.pipeline.exchange import Exchange
from app.pipeline.operation import Operation
from app.pipeline.verdicts import Verdicts
from app.pipeline.wording import canonical_request, is_relayed, not_served, relayed_request, tell_client
from app.routing.health import Lane
from app.routing.table import RouteTarget
from app.routing.transform import apply_edits, unwritten
from providers.errors import (
    BadAnswer,
    ProviderError,
    ProviderRateLimited,
    ProviderTimedOut,
    RequestRefused,
    StreamInterrupted,
)
from providers.protocol import ChatStream, RelayStream
from providers.stream import Collector
from providers.types import (
    Completion,
    EmbeddingRequest,
    Target,
    Usage,
)
from providers.types.usage import MAX_TOKENS

_NS_PER_S = 1_000_000_000
_STANDARD_TIERS = frozenset({"default", "standard"})
"""What vendors call the service that their plain prices are for."""
_JSON_TYPE = b"application/json"
_STREAM_TYPES = {
    "sse": b"text/event-stream; charset=utf-8",
    "array": b"application/json; charset=utf-8",
    "raw": b"application/octet-stream",
}


class Dispatch:
    """Makes attempts. Every attempt ends with an outcome, whatever happens to it."""

    def __init__(self, prices: PriceBook, clock: Clock, *, verdicts: Verdicts) -> None:
        """Make it; `verdicts` are told how each attempt ended."""
        self._prices = prices
        self._clock = clock
        self._verdicts = verdicts

    def begin(self, exchange: Exchange, choice: RouteTarget, lane: Lane) -> Attempt:
        """Return the next attempt of a request, which begins now; whoever asked for it opens it."""
        attempt = Attempt(
            len(exchange.attempts) + 1,
            route=exchange.route,
            choice=choice,
            price=choice.price or self._prices.find(choice.vendor, choice.target.model),
            price_vendor=choice.vendor if choice.price is None else None,
            started_ns=self._clock.monotonic_ns(),
            lane=lane,
        )
        exchange.begin(attempt)
        lane.begin()
        return attempt

    async def open(self, exchange: Exchange, attempt: Attempt) -> Answer:
        """Call the target of an attempt; raises `ProviderError`. A live answer has its first content when this returns.

        What the answer says of itself is in the attempt, for the exchange to adopt.
        """
        choice, trace = attempt.choice, exchange.trace
        if trace is not None:
            choice = choice.with_headers(trace.headers_under(attempt.span_id))
        made = self._make(exchange, choice, attempt)
        return await (unbroken(made, exchange) if attempt.choice.bills_after_disconnect else made)

    async def _make(self, exchange: Exchange, choice: RouteTarget, attempt: Attempt) -> Answer:
        """Make an attempt, and note how it ended if that was before its answer."""
        try:
            if is_relayed(exchange, choice):
                return await self._relay(exchange, choice, attempt)
            return await self._translate(exchange, choice, attempt)
        except ProviderError as error:
            tell_client(error, exchange)
            self.end_badly(exchange, attempt, error, is_billed=choice.bills_after_disconnect and _has_begun(error))
            raise
        except BaseException:
            self.cancel(exchange, attempt)
            raise

    async def _relay(self, exchange: Exchange, choice: RouteTarget, attempt: Attempt) -> Answer:
        request = relayed_request(exchange)
        operation, transform = exchange.operation, exchange.route.transform
        if transform is not None:
            attempt.dropped = unwritten(transform, operation.vocabulary)
        if exchange.stream:
            target = choice.whole_target if operation.is_media else choice.target
            stream = await choice.adapter.relay(request, target)
            attempt.status = stream.status
            body = RelayedBody(self, exchange, attempt, stream, bills_on=choice.bills_after_disconnect)
            attempt.say_failure = None if operation.say_break is None else partial(body.fail, operation.say_break)
            await self._until_content(body, target, attempt)
            if exchange.is_part:
                await self._hold_back(body, attempt)
            framing = exchange.asked.framing
            answer = Answer(live=body, content_type=_type_of(stream, operation, _STREAM_TYPES[framing]))
            if framing == "raw":
                answer.foreseen_nusd = _foreseen(exchange, attempt, stream)
            return answer
        stream = await choice.adapter.relay(request, choice.whole_target)
        attempt.status = stream.status
        try:
            whole = await stream.read_all()
        except ProviderError as error:
            self.end_badly(exchange, attempt, error, usage=counted_so_far(exchange, stream.inspector))
            raise
        finally:
            stream.close()
        inspector = stream.inspector
        if operation.generates and not inspector.has_content:
            raise BadAnswer("the provider's answer is empty")
        attempt.issued = inspector.issued
        seen = inspector.output_tokens_seen if operation.generates else 0
        self.end_well(exchange, attempt, inspector.usage, seen)
        return Answer(body=whole, content_type=_type_of(stream, operation, _JSON_TYPE))

    async def _translate(self, exchange: Exchange, choice: RouteTarget, attempt: Attempt) -> Answer:
        operation = exchange.operation
        renderer = operation.renderer
        if operation.estimate is not None:
            return self._estimate(exchange, attempt, operation.estimate)
        request, written = canonical_request(exchange, choice)
        if renderer is None:
            raise not_served(operation, choice)
        if isinstance(request, EmbeddingRequest):
            vectors = await choice.adapter.embed(request, choice.whole_target)
            attempt.dropped = vectors.dropped
            self.end_well(exchange, attempt, vectors.usage, 0)
            return Answer(body=renderer.whole(exchange, vectors))
        target = choice.target if exchange.stream else choice.whole_target
        stream = await (
            ask(choice.adapter, request, target, written=written) if written else choice.adapter.chat(request, target)
        )
        attempt.status = 200
        attempt.dropped = stream.dropped
        if not exchange.stream:
            completion = attempt.completion = await self._gather(exchange, attempt, stream)
            return Answer(body=renderer.whole(exchange, completion))
        exchange.say_failure = None
        bills_on = choice.bills_after_disconnect
        body = TranslatedBody(self, exchange, attempt, stream, renderer.stream(exchange), bills_on=bills_on)
        attempt.say_failure = exchange.say_failure
        await self._until_content(body, target, attempt)
        if exchange.is_part:
            await self._hold_back(body, attempt)
        return Answer(live=body, content_type=_STREAM_TYPES[exchange.asked.framing])

    def _estimate(self, exchange: Exchange, attempt: Attempt, estimate: Callable[[Mapping[str, Any]], bytes]) -> Answer:
        """Answer without the provider; nobody is charged for that."""
        attempt.is_local = True
        body = estimate(apply_edits(exchange.document, exchange.edits))
        self.end_well(exchange, attempt, Usage(), 0)
        return Answer(body=body)

    async def _gather(self, exchange: Exchange, attempt: Attempt, stream: ChatStream) -> Completion:
        collector = Collector()
        try:
            async for event in stream:
                collector.feed(event)
            completion = collector.completion()
        except ProviderError as error:
            self.end_badly(exchange, attempt, error, collector.deltas_seen)
            raise
        finally:
            stream.close()
        if not completion.choices:
            raise BadAnswer("the provider's answer is empty")
        if not completion.created:
            # Several vendors do not date their answers.
            completion = msgspec.structs.replace(completion, created=exchange.created_s)
        self.end_well(exchange, attempt, completion.usage, 0)
        return completion

    async def _until_content(self, body: RelayedBody | TranslatedBody, target: Target, attempt: Attempt) -> None:
        """Hold lifecycle frames back until the first content; closes the call if none comes.

        What the provider said by then, such as thoughts that the client's dialect has no words for, is charged.
        """
        used_s = (self._clock.monotonic_ns() - attempt.started_ns) / _NS_PER_S
        left_s = target.timeouts.first_token_s - used_s
        try:
            async with asyncio.timeout(max(left_s, 0.001)):
                await body.open()
        except TimeoutError:
            body.stream.close()
            overdue = ProviderTimedOut("the provider sent no content in time", phase="first_token")
            body.note_break(overdue)
            raise overdue from None
        except ProviderError as error:
            body.stream.close()
            body.note_break(error)
            raise
        except BaseException:
            body.stream.close()
            raise
        attempt.first_ns = self._clock.monotonic_ns()
        attempt.live = body

    @staticmethod
    async def _hold_back(body: RelayedBody | TranslatedBody, attempt: Attempt) -> None:
        """Hold a live answer of one model of several back until it may win; one that ends before is there whole."""
        try:
            attempt.completion = await body.hold_back()
        except ProviderError as error:
            body.stream.close()
            body.note_break(error)
            raise
        except BaseException:
            # Whoever is cut off here has said something already, and is paid for it.
            body.close()
            raise

    def end_well(self, exchange: Exchange, attempt: Attempt, usage: Usage | None, tokens_seen: int) -> None:
        """Note that an attempt is complete; missing usage is estimated."""
        attempt.outcome = "ok"
        attempt.ended_ns = self._clock.monotonic_ns()
        if attempt.first_ns is None:
            attempt.first_ns = attempt.ended_ns
        self._charge(exchange, attempt, usage, tokens_seen)
        if attempt.lane is None:
            return
        if attempt.is_local:
            self._verdicts.was_left(attempt, attempt.lane, is_overdue=False)
        else:
            self._verdicts.went_well(attempt, attempt.lane, is_streamed=exchange.stream)

    def end_badly(
        self,
        exchange: Exchange,
        attempt: Attempt,
        error: ProviderError,
        tokens_seen: int = 0,
        *,
        usage: Usage | None = None,
        is_billed: bool = False,
    ) -> None:
        """Note that an attempt failed, and what that costs.

        Behind the head of a good answer (2xx) the provider has taken the prompt and bills it: the prompt is charged,
        and the output of which `tokens_seen` were seen, by estimate. A body that came in part says nothing of its
        tokens, so that of an answer that is not streamed only the prompt is charged, as of a stream before its content;
        where an adapter gathers a stream, its events count. `usage` is a better estimate, if there is one. Nothing is
        charged where the provider itself says that it failed or refuses before it has said anything else, by its status
        or within a stream; nor before the head, unless `is_billed`: then the prompt is. What costs nothing when it goes
        well, such as a count of tokens, never does.
        """
        if attempt.outcome is not None:
            return
        attempt.outcome = outcome_of(error)
        attempt.error_code = error.code
        is_accepted = (error.is_accepted or attempt.status is not None) and (tokens_seen > 0 or not error.is_declared)
        attempt.status = error.status or attempt.status
        attempt.ended_ns = self._clock.monotonic_ns()
        if (is_accepted or is_billed) and not exchange.operation.is_free:
            self._charge(exchange, attempt, usage, tokens_seen)
        else:
            attempt.cost_nusd = 0
        if attempt.lane is not None:
            self._verdicts.went_badly(attempt, attempt.lane, error)

    def cancel(self, exchange: Exchange, attempt: Attempt, *, usage: Usage | None = None, tokens_seen: int = 0) -> None:
        """Note that the caller left or its time ran out: the provider has the prompt, so that is charged.

        Some providers count at the beginning what was said until then, which is less than what came after. The end of
        an answer is seen like a token, but not counted as one.
        """
        if attempt.outcome is not None:
            return
        attempt.outcome = "timeout" if exchange.is_expired else "cancelled"
        attempt.error_code = ProviderTimedOut.code if exchange.is_expired else None
        attempt.ended_ns = self._clock.monotonic_ns()
        if usage is not None and usage.output_tokens < max(tokens_seen - 1, min(tokens_seen, 1)):
            usage = msgspec.structs.replace(usage, output_tokens=min(max(tokens_seen, 0), MAX_TOKENS), estimated=True)
        self._charge(exchange, attempt, usage, tokens_seen)
        if attempt.lane is None:
            return
        if exchange.served is not None and attempt.number < exchange.served.number:
            self._verdicts.was_beaten(attempt, attempt.lane, is_streamed=exchange.stream)
        else:
            self._verdicts.was_left(attempt, attempt.lane, is_overdue=_is_overdue(exchange, attempt))

    def _charge(self, exchange: Exchange, attempt: Attempt, usage: Usage | None, tokens_seen: int) -> None:
        """Note what an attempt used, estimated where the provider did not say or said nonsense, and what that costs.

        A price of the catalogue gives way to the one of the service tier that the answer names, if it has one. What is
        free is so even if its client leaves, and whether its model has a price or not.
        """
        if exchange.operation.is_free:
            attempt.usage, attempt.usage_source, attempt.cost_nusd = Usage(), "provider", 0
            return
        if usage is not None and not usage.is_plausible:
            usage = None
        attempt.usage_source = "estimated" if usage is None or usage.estimated else "provider"
        if usage is None:
            tokens_in = guess_tokens(exchange.measured())
            usage = Usage(input_tokens=tokens_in, output_tokens=min(max(tokens_seen, 0), MAX_TOKENS), estimated=True)
        attempt.usage = usage
        tier, vendor = usage.service_tier, attempt.price_vendor
        if tier is not None and vendor is not None and tier not in _STANDARD_TIERS:
            price = self._prices.find_tier(vendor, attempt.upstream_model, service_tier=tier)
            attempt.price = price or attempt.price
        attempt.cost_nusd = None if attempt.price is None else cost(attempt.price, usage)


def _is_overdue(exchange: Exchange, attempt: Attempt) -> bool:
    """Whether the operator's time ran out before any content, most of it in this attempt: then its target is at fault.

    A caller who gives less time than the operator proves nothing.
    """
    total_s, asked_s = exchange.route.timeouts.total_s, exchange.options.timeout_s
    if not exchange.is_expired or attempt.first_ns is not None or (asked_s is not None and asked_s < total_s):
        return False
    return ((attempt.ended_ns or 0) - attempt.started_ns) * 2 >= total_s * _NS_PER_S


def _type_of(stream: RelayStream, operation: Operation, usual: bytes) -> bytes:
    """Return the media type of a relayed answer: the provider's where it may be of several."""
    given = stream.headers.get("content-type") if operation.is_media else None
    return usual if given is None else given.encode("latin-1", "replace")


def _foreseen(exchange: Exchange, attempt: Attempt, stream: RelayStream) -> int | None:
    """Return what a request costs whose answer nobody counts as it comes: all that is charged follows from its text."""
    usage = stream.inspector.usage
    before = [other.cost_nusd for other in exchange.attempts if other is not attempt]
    if usage is None or attempt.price is None or None in before:
        return None
    return sum(each for each in before if each is not None) + cost(attempt.price, usage)


def _has_begun(error: ProviderError) -> bool:
    """Whether a call was under way when it was given up for its slowness."""
    return isinstance(error, ProviderTimedOut) and error.phase != "connect"


def outcome_of(error: ProviderError) -> Outcome:
    """Return the word for an attempt that ended with `error`."""
    if isinstance(error, RequestRefused):
        return "refused"
    if isinstance(error, ProviderRateLimited):
        return "rate_limited"
    if isinstance(error, ProviderTimedOut):
        return "timeout"
    return "interrupted" if isinstance(error, StreamInterrupted) else "error"
