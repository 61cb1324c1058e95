"""What makes an event that was charged wrongly right. Law: a correction is an event of its own, with an id derived."""

from app.domain.usage.schemas import UsageEvent
from app.kernel.ids import adjustment_id


def adjustment(event: UsageEvent, charged: UsageEvent) -> UsageEvent:
    """Return the difference between what an attempt really was and what it was taken for."""
    return UsageEvent(
        event_id=adjustment_id(event.event_id),
        request_id=event.request_id,
        attempt=event.attempt,
        organization_id=event.organization_id,
        team_id=event.team_id,
        key_id=event.key_id,
        occurred_at=event.occurred_at,
        operation=event.operation,
        dialect=event.dialect,
        provider=event.provider,
        model=event.model,
        upstream_model=event.upstream_model,
        outcome=event.outcome,
        status=event.status,
        stream=event.stream,
        input_tokens=event.input_tokens - charged.input_tokens,
        output_tokens=event.output_tokens - charged.output_tokens,
        cache_read_tokens=event.cache_read_tokens - charged.cache_read_tokens,
        cache_write_tokens=event.cache_write_tokens - charged.cache_write_tokens,
        reasoning_tokens=event.reasoning_tokens - charged.reasoning_tokens,
        usage_source=event.usage_source,
        cost_nusd=(event.cost_nusd or 0) - (charged.cost_nusd or 0),
        price_version=event.price_version,
        ttft_ms=event.ttft_ms,
        duration_ms=event.duration_ms,
        tags=event.tags,
        error_code=event.error_code,
        kind="adjustment",
        is_final=False,
        fanout=event.fanout,
    )
