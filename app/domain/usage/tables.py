"""The tables of the ledger: usage events, what is rolled up of them, and what could not be written.

Law: events are append-only, a correction is a new event; roll-ups change only in the transaction that adds the events.
"""

from uuid import UUID

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, String, Table, Text, Uuid, text, true

from app.db.columns import Timestamp, json_column, metadata, sequence_column

NO_TEAM = UUID(int=0)
SUMS = (
    "requests",
    "attempts",
    "errors",
    "cache_hits",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "cost_nusd",
    "saved_nusd",
)

_HAS_TEAM = text("team_id IS NOT NULL")
_IS_FANOUT = text("fanout IS NOT NULL")
_HAS_FAILED = text("outcome <> 'ok'")
_WAS_CACHED = text("cache_status IS NOT NULL")
_OF_FANOUTS = (
    "organization_id",
    "team_id",
    "key_id",
    "provider",
    "model",
    "kind",
    "leg",
    "ttft_ms",
    "input_tokens",
    "output_tokens",
    "cost_nusd",
)
"""What a report of fan-outs reads, so that it reads the index alone: the legs lie far apart in the table. Tags may be
longer than an entry of an index."""


def _measures() -> list[Column[int]]:
    """Return the sums that every roll-up has."""
    return [Column(name, BigInteger, nullable=False) for name in SUMS]


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
    Column("kind", String(16), nullable=False, server_default="attempt"),
    Column("is_final", Boolean, nullable=False, server_default=true()),
    Column("details", json_column(), nullable=False, server_default="{}"),
    Column("cache_status", String(16)),
    Column("saved_nusd", BigInteger, nullable=False, server_default="0"),
    Column("fanout", Text),
    Column("leg", String(16)),
    Index(None, "occurred_at", "event_id"),
    Index(None, "organization_id", "occurred_at", "event_id"),
    Index(None, "key_id", "occurred_at", "event_id"),
    Index(None, "request_id"),
    Index(None, "team_id", "occurred_at", "event_id", postgresql_where=_HAS_TEAM, sqlite_where=_HAS_TEAM),
    Index(
        None,
        "occurred_at",
        "fanout",
        postgresql_where=_IS_FANOUT,
        postgresql_include=_OF_FANOUTS,
        sqlite_where=_IS_FANOUT,
    ),
    Index(None, "outcome", "occurred_at", "event_id", postgresql_where=_HAS_FAILED, sqlite_where=_HAS_FAILED),
    Index(
        None,
        "organization_id",
        "occurred_at",
        "cache_status",
        postgresql_where=_WAS_CACHED,
        postgresql_include=("kind", "is_final", "saved_nusd"),
        sqlite_where=_WAS_CACHED,
    ),
)
"""The defaults are for the release before, which goes on inserting while this one starts."""

usage_hourly = Table(
    "usage_hourly",
    metadata,
    Column("hour", Timestamp, primary_key=True),
    Column("organization_id", Uuid, primary_key=True),
    Column("team_id", Uuid, primary_key=True),
    Column("key_id", Uuid, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("tags_hash", LargeBinary(16), primary_key=True),
    Column("tags", json_column(), nullable=False),
    *_measures(),
    Index(None, "organization_id", "hour"),
    Index(None, "key_id", "hour"),
    postgresql_with={"fillfactor": 80},
)
"""Events by hour and by all that a report may ask for; a key without a team has `NO_TEAM`.

`tags_hash` stands for the tags in the key: 16 bytes of a hash of their JSON as this database spells it.
"""

usage_daily = Table(
    "usage_daily",
    metadata,
    Column("day", Timestamp, primary_key=True),
    Column("organization_id", Uuid, primary_key=True),
    Column("team_id", Uuid, primary_key=True),
    Column("key_id", Uuid, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("tags_hash", LargeBinary(16), primary_key=True),
    Column("tags", json_column(), nullable=False),
    *_measures(),
    Index(None, "organization_id", "day"),
    Index(None, "key_id", "day"),
    Index(None, "team_id", "day"),
    postgresql_with={"fillfactor": 80},
)
"""The same by day in UTC, for ranges of many days. PostgreSQL fills it itself, whichever release adds the events."""

usage_totals = Table(
    "usage_totals",
    metadata,
    Column("hour", Timestamp, primary_key=True),
    Column("organization_id", Uuid, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    *_measures(),
    Index(None, "organization_id", "hour"),
    postgresql_with={"fillfactor": 80},
)
"""The same by hour, of all keys together: few rows however many keys there are. Filled as `usage_daily` is."""

balances = Table(
    "balances",
    metadata,
    Column("scope_kind", String(16), primary_key=True),
    Column("scope_id", Uuid, primary_key=True),
    Column("hour", Timestamp, primary_key=True),
    Column("cost_nusd", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    postgresql_with={"fillfactor": 80},
)
"""What each organisation, team and key was charged, by hour."""

ledger_dead_letter = Table(
    "ledger_dead_letter",
    metadata,
    Column("id", sequence_column(), primary_key=True, autoincrement=True),
    Column("received_at", Timestamp, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("error", Text, nullable=False),
    sqlite_autoincrement=True,
)
"""Entries of the queue that can never be events, kept for whoever looks into it."""
