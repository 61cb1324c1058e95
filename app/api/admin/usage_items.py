"""What the usage endpoints answer: items, events, lines of the export. Law: money is a decimal string of USD."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.admin.spreadsheet import csv_bytes, csv_cell
from app.domain.usage.schemas import LegRole, UsageEvent, UsageKind, UsageSource
from app.kernel.money import format_usd

Cost = Annotated[str, Meta(description="USD with nine places.")]


class UsageItem(msgspec.Struct, frozen=True, kw_only=True):
    """What one group used in one interval; it has the ids of what was grouped by, also as `tag:NAME`."""

    model: str | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    key_id: UUID | UnsetType = UNSET
    team_id: Annotated[UUID | UnsetType | None, Meta(description="Null for keys without a team.")] = UNSET
    organization_id: UUID | UnsetType = UNSET
    start: Annotated[datetime, Meta(description="Of the interval, in UTC; without intervals, of the range.")]
    requests: Annotated[int, Meta(description="Requests, not attempts.")]
    errors: Annotated[int, Meta(description="Requests that did not end well.")]
    cache_hits: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    cost: Cost
    saved_cost: Annotated[str, Meta(description="What answers from the cache would have cost; USD with nine places.")]


class UsagePage(msgspec.Struct, frozen=True):
    """Some items, in the order of time and then of their groups, and the cursor of those that follow."""

    items: list[UsageItem]
    cursor: str | None


class UsageEventItem(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream attempt, or a correction of what one was charged."""

    id: UUID
    request_id: UUID
    kind: UsageKind
    attempt: int
    is_final: Annotated[bool, Meta(description="Whether the request is counted by this attempt.")]
    occurred_at: Annotated[datetime, Meta(description="When the request was admitted.")]
    organization_id: UUID
    team_id: UUID | None
    key_id: UUID
    operation: str
    dialect: str
    provider: str
    model: str
    upstream_model: str
    outcome: str
    status: int | None
    error_code: str | None
    stream: bool
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    reasoning_tokens: Annotated[int, Meta(description="Part of `output_tokens`.")]
    details: Annotated[dict[str, int], Meta(description="Counts that are parts of others.")]
    usage_source: UsageSource
    cost: Annotated[str | None, Meta(description="USD with nine places; null without a price.")]
    saved_cost: Cost
    price_version: str | None
    cache_status: str | None
    ttft_ms: int | None
    duration_ms: int
    tags: dict[str, str]
    fanout: Annotated[
        str | None,
        Meta(description="The ensemble, or the strategy of a fan-out over models that the request named itself."),
    ]
    leg: Annotated[
        LegRole | None,
        Meta(description="What became of this leg of the fan-out; null of an attempt that its leg repeated."),
    ]


class UsageEventPage(msgspec.Struct, frozen=True):
    """Some events, newest first, and the cursor of those that follow; null at the end."""

    items: list[UsageEventItem]
    cursor: str | None


CSV_COLUMNS = UsageEventItem.__struct_fields__


def event_item(event: UsageEvent) -> UsageEventItem:
    """Return an event as the API says it."""
    fields = msgspec.structs.asdict(event)
    cost_nusd = fields.pop("cost_nusd")
    return UsageEventItem(
        id=fields.pop("event_id"),
        cost=None if cost_nusd is None else format_usd(cost_nusd),
        saved_cost=format_usd(fields.pop("saved_nusd")),
        **fields,
    )


def csv_header() -> bytes:
    """Return the first line of the export."""
    return csv_bytes([CSV_COLUMNS])


def csv_lines(events: Sequence[UsageEvent]) -> bytes:
    """Return events as lines of RFC 4180, in UTF-8."""
    return csv_bytes([[_cell(name, value) for name, value in _fields(event)] for event in events])


def _fields(event: UsageEvent) -> Sequence[tuple[str, Any]]:
    return list(msgspec.structs.asdict(event_item(event)).items())


def _cell(name: str, value: Any) -> str:
    """Return the text of a cell; an amount is a number, though it is written as text."""
    return str(value) if name in {"cost", "saved_cost"} and value is not None else csv_cell(value)
