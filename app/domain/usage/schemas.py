"""A usage event: what one upstream attempt used, cost and came to. Law: its id is derived, so it is written once."""

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

UsageSource = Literal["provider", "estimated", "none"]


class UsageEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream attempt; token counts are disjoint but for reasoning, which is part of the output."""

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
