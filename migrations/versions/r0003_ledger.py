"""Usage rolled up by hour, balances, and entries that can never be events.

Revision 0003, after 0002. What was written before is rolled up here, as the release itself does it from now on.
"""

import hashlib
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_HAS_TEAM = sa.text("team_id IS NOT NULL")
_COLUMNS = ("kind", "is_final", "details", "cache_status", "saved_nusd")
_INDEXES = ("ix_usage_events_occurred_at_event_id", "ix_usage_events_team_id_occurred_at_event_id")
_MEASURES = (
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

_MARK_FINAL = """
    UPDATE usage_events SET is_final = false
    FROM (SELECT request_id, max(attempt) AS last FROM usage_events GROUP BY request_id HAVING count(*) > 1) AS request
    WHERE request.request_id = usage_events.request_id AND usage_events.attempt < request.last
"""
_ROLL_UP = """
    INSERT INTO usage_hourly
    SELECT {hour}, organization_id, coalesce(team_id, {no_team}), key_id, provider, model, {tags_hash}, {tags},
        sum(CASE WHEN is_final THEN 1 ELSE 0 END), count(*),
        sum(CASE WHEN is_final AND outcome <> 'ok' THEN 1 ELSE 0 END), 0,
        sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(reasoning_tokens),
        sum(coalesce(cost_nusd, 0)), 0
    FROM usage_events GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
"""
_BALANCE = """
    INSERT INTO balances
    SELECT '{kind}', {kind}_id, {hour}, sum(coalesce(cost_nusd, 0)), count(*)
    FROM usage_events WHERE {kind}_id IS NOT NULL GROUP BY 1, 2, 3
"""
_ON_POSTGRES = {
    "hour": "date_trunc('hour', occurred_at, 'UTC')",
    "no_team": "'00000000-0000-0000-0000-000000000000'::uuid",
    "tags_hash": "substring(sha256(convert_to(tags::text, 'UTF8')) FROM 1 FOR 16)",
    "tags": "tags",
}
_ON_SQLITE = {
    "hour": "substr(occurred_at, 1, 13) || ':00:00.000000'",
    "no_team": f"'{'0' * 32}'",
    "tags_hash": "hash_of_tags(tags)",
    "tags": "sorted_tags(tags)",
}


def upgrade() -> None:
    """Widen the events, make the tables and fill them."""
    _widen_events()
    _create_tables()
    _fill()


def downgrade() -> None:
    """Drop the tables and the columns."""
    for name in ("ledger_dead_letter", "balances", "usage_hourly"):
        op.drop_table(name)
    for name in _INDEXES:
        op.drop_index(name, "usage_events")
    for name in _COLUMNS:
        op.drop_column("usage_events", name)


def _widen_events() -> None:
    columns: tuple[sa.Column[Any], ...] = (
        sa.Column("kind", sa.String(length=16), nullable=False, server_default="attempt"),
        sa.Column("is_final", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("details", _JSON, nullable=False, server_default="{}"),
        sa.Column("cache_status", sa.String(length=16)),
        sa.Column("saved_nusd", sa.BigInteger(), nullable=False, server_default="0"),
    )
    for column in columns:
        op.add_column("usage_events", column)
    op.create_index("ix_usage_events_occurred_at_event_id", "usage_events", ["occurred_at", "event_id"])
    op.create_index(
        "ix_usage_events_team_id_occurred_at_event_id",
        "usage_events",
        ["team_id", "occurred_at", "event_id"],
        postgresql_where=_HAS_TEAM,
        sqlite_where=_HAS_TEAM,
    )


def _create_tables() -> None:
    op.create_table(
        "usage_hourly",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("tags_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("tags", _JSON, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _MEASURES),
        sa.PrimaryKeyConstraint(
            "hour",
            "organization_id",
            "team_id",
            "key_id",
            "provider",
            "model",
            "tags_hash",
            name="pk_usage_hourly",
        ),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index("ix_usage_hourly_key_id_hour", "usage_hourly", ["key_id", "hour"])
    op.create_index("ix_usage_hourly_organization_id_hour", "usage_hourly", ["organization_id", "hour"])
    op.create_table(
        "balances",
        sa.Column("scope_kind", sa.String(length=16), nullable=False),
        sa.Column("scope_id", sa.Uuid(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cost_nusd", sa.BigInteger(), nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope_kind", "scope_id", "hour", name="pk_balances"),
        postgresql_with={"fillfactor": 80},
    )
    op.create_table(
        "ledger_dead_letter",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ledger_dead_letter"),
        sqlite_autoincrement=True,
    )


def _fill() -> None:
    connection = op.get_bind()
    spelling = _ON_POSTGRES
    if connection.dialect.name == "sqlite":
        spelling = _ON_SQLITE
        driver: Any = connection.connection.dbapi_connection
        driver.create_function("sorted_tags", 1, _sorted_tags, deterministic=True)
        driver.create_function("hash_of_tags", 1, _hash_of_tags, deterministic=True)
    connection.exec_driver_sql(_MARK_FINAL)
    connection.exec_driver_sql(_ROLL_UP.format(**spelling))
    for kind in ("organization", "team", "key"):
        connection.exec_driver_sql(_BALANCE.format(kind=kind, hour=spelling["hour"]))


def _sorted_tags(text: str) -> str:
    return msgspec.json.encode(msgspec.json.decode(text), order="sorted").decode()


def _hash_of_tags(text: str) -> bytes:
    return hashlib.sha256(_sorted_tags(text).encode()).digest()[:16]
