"""A request that has ended, told as data: what each layer decided, and why. Law: pure; only when somebody asks."""

from datetime import UTC, datetime

import msgspec

from app.domain.prices import Price, lines
from app.kernel.money import TOKENS_PER_PRICE, format_usd
from app.pipeline.explained_attempts import ExplainedAttempt, ExplainedCharge, ExplainedFanout, ExplainedLeg
from app.pipeline.explained_limits import NOTHING_SAID, said_of_grant, said_of_refusal
from app.pipeline.explained_routes import told
from app.pipeline.explanation import (
    ExplainedKey,
    ExplainedLayer,
    ExplainedRefusal,
    ExplainedRequest,
    ExplainedSkip,
    ExplainedTime,
    Explanation,
    Outcome,
)
from app.pipeline.foresight import explained_cache
from app.pipeline.notes import LayerStep
from app.pipeline.records import AttemptRecord, FanoutRecord, RequestRecord, Whose, read_record
from app.stores.traces import KeptTrace
from providers.types import Usage

_NS_PER_MS = 1_000_000
_MS_PER_S = 1_000
_CLIENT_GONE = 499
_DIGITS = 3
_BYTES_PER_TOKEN = 4
_EXACT_PER_USD = 1_000_000_000 * TOKENS_PER_PRICE
_SOURCES = {"config": "file", "api": "api"}
_CUT = "some of it, which was too long to be kept"
_NO_USAGE = Usage()
_price = msgspec.msgpack.Decoder(Price).decode


def retold(kept: KeptTrace) -> Explanation:
    """Return what became of a request of which a record is kept."""
    record = read_record(kept.trace)
    said = NOTHING_SAID
    if record.refusal is not None:
        said = said_of_refusal(record.refusal)
    elif record.grant is not None:
        said = said_of_grant(record.grant)
    routes = [told(route) for route in record.routes]
    return Explanation(
        id=kept.id,
        dry_run=False,
        request=_request(record),
        key=None if record.whose is None else _key(record.whose),
        outcome=_outcome(record),
        status=record.status,
        refusal=_refusal(record),
        route=routes[0] if routes else None,
        other_routes=routes[1:],
        passed_over=[
            ExplainedSkip(model=each.model, target=each.target, reason=each.reason) for each in record.skipped
        ],
        cache=None if record.cache is None else explained_cache(record.cache),
        limits=said.limits,
        concurrency=said.concurrency,
        budgets=said.budgets,
        attempts=[_attempt(attempt, record.began_ns) for attempt in record.attempts],
        fanout=None if record.fanout is None else _fanout(record.fanout),
        cost=None if record.cost_nusd is None else format_usd(record.cost_nusd),
        time=_time(kept.id, record),
        layers=[_layer(step, record.began_ns) for step in record.steps],
        degraded=list(record.degraded),
        dropped=list(record.dropped),
        unknown=[_CUT] if record.is_cut else [],
    )


def _request(record: RequestRecord) -> ExplainedRequest:
    is_read, grant = record.operation is not None, record.grant
    return ExplainedRequest(
        model=record.model,
        operation=record.operation,
        dialect=record.dialect,
        size_bytes=record.size_bytes if is_read else None,
        input_tokens=record.text_bytes // _BYTES_PER_TOKEN if is_read else None,
        output_tokens=record.output_cap,
        stream=record.is_stream,
        cost_bound=format_usd(grant.held_nusd) if grant is not None and grant.budgets else None,
    )


def _key(whose: Whose) -> ExplainedKey:
    return ExplainedKey(id=whose.key_id, organization_id=whose.organization_id, team_id=whose.team_id)


def _outcome(record: RequestRecord) -> Outcome:
    if record.status == _CLIENT_GONE:
        return "left"
    if record.error_code is None:
        return "answered"
    return "failed" if record.attempts else "refused"


def _refusal(record: RequestRecord) -> ExplainedRefusal | None:
    if record.error_code is None:
        return None
    message = None if record.refusal is None else record.refusal.message
    return ExplainedRefusal(status=record.status, code=record.error_code, message=message)


def _layer(step: LayerStep, began_ns: int) -> ExplainedLayer:
    return ExplainedLayer(
        layer=step.layer,
        verdict=step.verdict,
        at_ms=_ms(step.began_ns - began_ns),
        took_ms=_ms(step.ended_ns - step.began_ns),
        error_code=step.error_code,
    )


def _time(request_id: str, record: RequestRecord) -> ExplainedTime:
    at_ms = int(request_id[:8] + request_id[9:13], 16)
    return ExplainedTime(
        at=datetime.fromtimestamp(at_ms / _MS_PER_S, UTC),
        duration_ms=_ms(record.took_ns),
        ttft_ms=None if record.first_ns is None else _ms(record.first_ns - record.began_ns),
        upstream_ms=_ms(record.upstream_ns),
        overhead_ms=_ms(record.overhead_ns or record.took_ns),
    )


def _attempt(attempt: AttemptRecord, began_ns: int) -> ExplainedAttempt:
    usage, first_ns, from_ns = attempt.usage or _NO_USAGE, attempt.first_ns, attempt.started_ns
    price = None if attempt.price is None else _price(attempt.price)
    return ExplainedAttempt(
        number=attempt.number,
        model=attempt.model,
        target=f"{attempt.provider}/{attempt.upstream_model}",
        credential=attempt.credential,
        reason=attempt.why,
        after=attempt.after,
        waited_ms=_ms(attempt.waited_ns),
        at_ms=_ms(from_ns - began_ns),
        ttft_ms=None if first_ns is None else _ms(first_ns - from_ns),
        took_ms=_ms((attempt.ended_ns or from_ns) - from_ns),
        outcome=attempt.outcome or "cancelled",
        status=attempt.status,
        error_code=attempt.error_code,
        leg=attempt.leg,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=usage.cache_write_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        usage_source=attempt.usage_source,
        charges=[] if price is None or attempt.usage is None else _charges(price, usage),
        cost=None if attempt.cost_nusd is None else format_usd(attempt.cost_nusd),
        price_version=None if price is None else price.version,
        price_source=None if price is None else _SOURCES.get(price.version.partition(":")[0], "catalogue"),
    )


def _charges(price: Price, usage: Usage) -> list[ExplainedCharge]:
    return [
        ExplainedCharge(
            kind=line.kind, number=line.number, price=format_usd(line.rate_nusd), amount=format_exact(line.exact)
        )
        for line in lines(price, usage)
    ]


def format_exact(exact: int) -> str:
    """Return nano-USD times a million as a decimal string of USD with fifteen places."""
    whole, part = divmod(exact, _EXACT_PER_USD)
    return f"{whole}.{part:015d}"


def _fanout(fanout: FanoutRecord) -> ExplainedFanout:
    return ExplainedFanout(
        name=fanout.name,
        strategy=fanout.strategy,
        legs=[ExplainedLeg(number=number, model=model, outcome=outcome) for number, model, outcome in fanout.legs],
        judge=fanout.judge,
        fuser=fanout.fuser,
        reason=fanout.reason,
    )


def _ms(nanoseconds: int) -> float:
    return round(nanoseconds / _NS_PER_MS, _DIGITS)
