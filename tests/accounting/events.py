"""Made-up usage events."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from app.domain.usage.schemas import UsageEvent

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ORGANIZATIONS = (UUID(int=11), UUID(int=12))
TEAMS = {ORGANIZATIONS[0]: (None, UUID(int=21), UUID(int=22)), ORGANIZATIONS[1]: (None, UUID(int=23))}
HITS = ("exact", "semantic", "coalesced")
COUNTS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


def make_event(**changes: object) -> UsageEvent:
    """Return an event of noon, with these fields."""
    values: dict[str, object] = {
        "event_id": uuid4(),
        "request_id": uuid4(),
        "attempt": 1,
        "organization_id": ORGANIZATIONS[0],
        "key_id": UUID(int=31),
        "occurred_at": NOON,
        "operation": "chat",
        "dialect": "openai",
        "provider": "echo",
        "model": "echo",
        "upstream_model": "echo",
        "outcome": "ok",
        "status": 200,
        "stream": False,
        "usage_source": "provider",
        "cost_nusd": 1_000,
        "duration_ms": 12,
    }
    return UsageEvent(**(values | changes))  # type: ignore[arg-type] # the values are of their fields' types


def make_events(count: int, *, seed: int = 0, hours: int = 6) -> list[UsageEvent]:
    """Return events of every kind, spread over so many hours after noon; some fall on the full hour."""
    chance = random.Random(seed)
    return [_any_event(chance, hours) for _ in range(count)]


def _any_event(chance: random.Random, hours: int) -> UsageEvent:
    organization_id = chance.choice(ORGANIZATIONS)
    team_id = chance.choice(TEAMS[organization_id])
    key_id = UUID(int=100 * organization_id.int + (team_id.int if team_id else 0))
    is_adjustment = chance.random() < 0.1
    offset = timedelta(hours=chance.randrange(hours))
    if chance.random() < 0.9:
        offset += timedelta(microseconds=chance.randrange(3_600_000_000))
    sign = -1 if is_adjustment else 1
    return make_event(
        event_id=UUID(int=chance.getrandbits(128)),
        request_id=UUID(int=chance.getrandbits(128)),
        organization_id=organization_id,
        team_id=team_id,
        key_id=key_id,
        occurred_at=NOON + offset,
        provider=chance.choice(("echo", "openai")),
        model=chance.choice(("fast", "careful", "größer")),
        outcome=chance.choice(("ok", "ok", "ok", "error", "cancelled")),
        kind="adjustment" if is_adjustment else "attempt",
        is_final=chance.random() < 0.8,
        cache_status=chance.choice((None, "miss", *HITS)),
        saved_nusd=chance.choice((0, 7)),
        cost_nusd=chance.choice((None, sign * chance.randrange(10**12))),
        tags=chance.choice(({}, {"team": "blue"}, {"run": "7", "team": "blue"}, {"team": "red"})),
        **{name: sign * chance.randrange(10**6) for name in COUNTS},
    )


def counts_of(events: Sequence[UsageEvent]) -> dict[str, Any]:
    """Return what a report must say of these events, money in nano-USD."""
    requests = [event for event in events if event.kind == "attempt" and event.is_final]
    return {
        "requests": len(requests),
        "errors": sum(event.outcome != "ok" for event in requests),
        "cache_hits": sum(event.cache_status in HITS for event in requests),
        **{name: sum(getattr(event, name) for event in events) for name in COUNTS},
        "cost_nusd": sum(event.cost_nusd or 0 for event in events),
        "saved_nusd": sum(event.saved_nusd for event in events),
    }
