"""The table of usage events. Law: append-only; a correction is a new event."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, String, Table, Text, Uuid

from app.db.columns import Timestamp, json_column, metadata

usage_events = Table(
    "usage_events",
    metadata,
    Column("event_id", Uuid, primary_key=True),
    Column("request_id", Uuid, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("organization_id", Uuid, nullable=False),
    Column("team_id", Uuid),
    Column("key_id", Uuid, nullable=False),
    Column("occurred_at", Timestamp, nullable=False),
    Column("operation", Text, nullable=False),
    Column("dialect", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("upstream_model", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("status", Integer),
    Column("stream", Boolean, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cache_read_tokens", BigInteger, nullable=False),
    Column("cache_write_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("usage_source", String(16), nullable=False),
    Column("cost_nusd", BigInteger),
    Column("price_version", Text),
    Column("ttft_ms", Integer),
    Column("duration_ms", Integer, nullable=False),
    Column("tags", json_column(), nullable=False),
    Column("error_code", Text),
    Index(None, "organization_id", "occurred_at", "event_id"),
    Index(None, "key_id", "occurred_at", "event_id"),
    Index(None, "request_id"),
)
