"""What a request leaves in the ledger: one event for each attempt, or what it has come to so far."""

from datetime import UTC, datetime

from msgspec import structs

from app.domain.usage.adjusting import adjustment
from app.domain.usage.entries import Scopes, entry_of
from app.domain.usage.schemas import UsageEvent
from app.kernel.ids import attempt_id
from app.limits.accounts import Amounts
from app.limits.estimate import guess_tokens
from app.limits.orphans import GATEWAY_DIED, Seed, read_orphan
from app.pipeline.answer import Hit
from app.pipeline.attempt import Attempt
from app.pipeline.exchange import Exchange
from app.stores.entries import UsageEntry
from providers.types import Usage
from providers.types.usage import MAX_TOKENS

_NS_PER_MS = 1_000_000
_MS_PER_S = 1_000
_DETAILS = (
    "audio_input_tokens",
    "image_input_tokens",
    "audio_output_tokens",
    "image_output_tokens",
    "cache_write_1h_tokens",
    "images",
)
_OK = 200
_NO_DETAILS: dict[str, int] = {}


def events_of(exchange: Exchange, *, at_ms: int, now_ns: int) -> list[UsageEvent]:
    """Return the event of every attempt of a request admitted at a moment of the store's time."""
    at, final = datetime.fromtimestamp(at_ms / _MS_PER_S, UTC), exchange.last_attempt
    hit = exchange.hit
    if hit is not None:
        final = None
    events = [
        _event(exchange, attempt, at=at, now_ns=now_ns, is_final=attempt is final) for attempt in exchange.attempts
    ]
    return events if hit is None else [*events, _hit_event(exchange, hit, at=at, now_ns=now_ns)]


def amounts_of(events: list[UsageEvent]) -> Amounts:
    """Return what a request came to, all attempts together."""
    if len(events) == 1:
        one = events[0]
        tokens_in = one.input_tokens + one.cache_read_tokens + one.cache_write_tokens
        return Amounts(input_tokens=tokens_in, output_tokens=one.output_tokens, cost_nusd=one.cost_nusd or 0)
    return Amounts(
        input_tokens=sum(each.input_tokens + each.cache_read_tokens + each.cache_write_tokens for each in events),
        output_tokens=sum(each.output_tokens for each in events),
        cost_nusd=sum(each.cost_nusd or 0 for each in events),
    )


def seed_of(exchange: Exchange, scopes: Scopes, *, input_tokens: int, cost_nusd: int | None) -> Seed:
    """Return what a request comes to before its first attempt: its input, which the first provider may have had."""
    target, operation = exchange.route.targets[0], exchange.operation
    return Seed(
        exchange.request_hex,
        *scopes,
        operation.name,
        operation.dialect,
        target.provider,
        exchange.route.name,
        target.target.model,
        exchange.stream,
        input_tokens,
        cost_nusd,
        _tags(exchange),
    )


def so_far(exchange: Exchange, *, at_ms: int, now_ns: int) -> list[UsageEvent]:
    """Return what the attempts of a request have come to: what must be charged if nobody hears of it again.

    An attempt under way is charged for its input and what was delivered.
    """
    at = datetime.fromtimestamp(at_ms / _MS_PER_S, UTC)
    final = exchange.last_attempt
    return [
        _event(
            exchange,
            _as_if_ended(exchange, attempt) if attempt.outcome is None else attempt,
            at=at,
            now_ns=now_ns,
            is_final=attempt is final,
        )
        for attempt in exchange.attempts
    ]


def _event(exchange: Exchange, attempt: Attempt, *, at: datetime, now_ns: int, is_final: bool) -> UsageEvent:
    principal, usage, first_ns = exchange.principal, attempt.usage or Usage(), attempt.first_ns
    ended_ns = attempt.ended_ns if attempt.ended_ns is not None else now_ns
    return UsageEvent(
        event_id=attempt_id(exchange.request_uuid, attempt.number),
        request_id=exchange.request_uuid,
        attempt=attempt.number,
        organization_id=principal.organization_id,
        team_id=principal.team_id,
        key_id=principal.key_id,
        occurred_at=at,
        operation=exchange.operation.name,
        dialect=exchange.operation.dialect,
        provider=attempt.provider,
        model=attempt.model,
        upstream_model=attempt.upstream_model,
        outcome=attempt.outcome or "cancelled",
        status=attempt.status,
        stream=exchange.stream,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        usage_source=attempt.usage_source,
        cost_nusd=attempt.cost_nusd,
        price_version=attempt.price.version if attempt.price else None,
        ttft_ms=None if first_ns is None else (first_ns - attempt.started_ns) // _NS_PER_MS,
        duration_ms=(ended_ns - attempt.started_ns) // _NS_PER_MS,
        tags=_tags(exchange),
        error_code=attempt.error_code,
        fanout=attempt.fanout,
        leg=attempt.leg,
        is_final=is_final,
        details=_details(usage),
        cache_status=None if exchange.cache_status == "off" else exchange.cache_status,
    )


def _hit_event(exchange: Exchange, hit: Hit, *, at: datetime, now_ns: int) -> UsageEvent:
    """Return the event of an answer that was given again: it used nothing, and saved what it had cost."""
    principal, number = exchange.principal, len(exchange.attempts) + 1
    return UsageEvent(
        event_id=attempt_id(exchange.request_uuid, number),
        request_id=exchange.request_uuid,
        attempt=number,
        organization_id=principal.organization_id,
        team_id=principal.team_id,
        key_id=principal.key_id,
        occurred_at=at,
        operation=exchange.operation.name,
        dialect=exchange.operation.dialect,
        provider=hit.provider,
        model=exchange.route.name,
        upstream_model=hit.upstream_model,
        outcome=hit.outcome,
        status=_OK,
        stream=exchange.stream,
        usage_source="none",
        cost_nusd=0,
        ttft_ms=(hit.began_ns - exchange.started_ns) // _NS_PER_MS,
        duration_ms=(now_ns - exchange.started_ns) // _NS_PER_MS,
        tags=_tags(exchange),
        cache_status=hit.status,
        saved_nusd=hit.saved_nusd,
    )


def _as_if_ended(exchange: Exchange, attempt: Attempt) -> Attempt:
    """Return an attempt that is being answered as it would be if this process died now."""
    seen = attempt.live.tokens_seen if attempt.live is not None else 0
    ended = attempt.estimated(guess_tokens(exchange.measured()), min(max(seen, 0), MAX_TOKENS))
    ended.usage_source, ended.outcome, ended.error_code = "orphan", "interrupted", GATEWAY_DIED
    return ended


def corrections(events: list[UsageEvent], orphan: bytes) -> list[UsageEntry]:
    """Return the entries that make what a sweeper charged into what a request really came to."""
    before_it = read_orphan(orphan).usage_events(events[0].occurred_at)
    charged = {event.event_id: event for event in before_it}
    corrected = []
    for event in events:
        before = charged.get(event.event_id)
        if before is None:
            corrected.append(structs.replace(event, is_final=False))
        elif before != event:
            corrected.append(adjustment(event, before))
    return [entry_of(event) for event in corrected]


def _tags(exchange: Exchange) -> dict[str, str]:
    mine, asked = exchange.principal.tags, exchange.options.tags
    return mine | asked if asked else mine


def _details(usage: Usage) -> dict[str, int]:
    """Return the parts of counts that are not zero; most requests have none."""
    is_plain = not (
        usage.audio_input_tokens
        or usage.image_input_tokens
        or usage.audio_output_tokens
        or usage.image_output_tokens
        or usage.cache_write_1h_tokens
        or usage.images
    )
    return _NO_DETAILS if is_plain else {name: count for name in _DETAILS if (count := getattr(usage, name))}
