"""A usage event: what one upstream attempt used, cost and came to. Law: its id is derived, so it is written once."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

UsageKind = Literal["attempt", "adjustment"]
UsageSource = Literal["provider", "estimated", "none", "orphan"]
LegRole = Literal["won", "lost", "failed", "judge", "fuser"]
"""What part an attempt had in a fan-out: what became of its leg, or what its answer was for."""


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream attempt, or a correction of what one was charged.

    Token counts are disjoint but for reasoning, which is part of the output; those and the cost of an adjustment may
    be negative. `occurred_at` is when the request was admitted, by the store's clock. `is_final` marks the attempt by
    which the request is counted. `details` are counts that are parts of others (audio_input_tokens, image_input_tokens,
    audio_output_tokens, image_output_tokens, cache_write_1h_tokens, images), only those that are not zero. `fanout` is
    the ensemble that it was made for, or the strategy where a request named the models itself; `leg` is there on one
    attempt of each leg, the one that served or the last, and not on those that it repeated.
    """

    event_id: UUID
    request_id: UUID
    attempt: int
    organization_id: UUID
    team_id: UUID | None = None
    key_id: UUID
    occurred_at: datetime
    operation: str
    dialect: str
    provider: str
    model: str
    upstream_model: str
    outcome: str
    status: int | None = None
    stream: bool
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    usage_source: UsageSource
    cost_nusd: int | None = None
    price_version: str | None = None
    ttft_ms: int | None = None
    duration_ms: int
    tags: dict[str, str] = {}
    error_code: str | None = None
    kind: UsageKind = "attempt"
    is_final: bool = True
    details: dict[str, int] = {}
    cache_status: str | None = None
    saved_nusd: int = 0
    fanout: str | None = None
    leg: LegRole | None = None
