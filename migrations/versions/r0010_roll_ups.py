"""Usage rolled up by day, and by hour for all keys together; indexes for failures, fan-outs and the cache's report.

Revision 0010, after 0009. Expand only: PostgreSQL fills both tables by a trigger, so that the release before, which
knows neither of them, goes on adding events while this one starts. SQLite has one process, which fills them itself.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_SUMS = (
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
_TOTALS_KEY = ("hour", "organization_id", "provider", "model")
_DAILY_KEY = ("day", "organization_id", "team_id", "key_id", "provider", "model", "tags_hash")
_FANOUTS, _OLD_FANOUTS = "ix_usage_events_occurred_at_fanout", ["occurred_at", "fanout"]
_IS_FANOUT, _HAS_FAILED, _WAS_CACHED = (
    sa.text(condition) for condition in ("fanout IS NOT NULL", "outcome <> 'ok'", "cache_status IS NOT NULL")
)
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

_FILL = """
    INSERT INTO usage_totals ({totals_key}, {sums})
    SELECT {totals_key}, {added} FROM usage_hourly GROUP BY {totals_key};
    INSERT INTO usage_daily ({daily_key}, tags, {sums})
    SELECT {day}, organization_id, team_id, key_id, provider, model, tags_hash, tags, {added}
    FROM usage_hourly GROUP BY 1, 2, 3, 4, 5, 6, 7, tags
"""
_ADDED = """
        count(*) FILTER (WHERE kind = 'attempt' AND is_final),
        count(*) FILTER (WHERE kind = 'attempt'),
        count(*) FILTER (WHERE kind = 'attempt' AND is_final AND outcome <> 'ok'),
        count(*) FILTER (
            WHERE kind = 'attempt' AND is_final AND cache_status IN ('exact', 'semantic', 'coalesced')
        ),
        sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), sum(cache_write_tokens), sum(reasoning_tokens),
        sum(coalesce(cost_nusd, 0)), sum(saved_nusd)
"""
# Rows are locked in the order of their keys, and one table after the other, as the statement that adds events does.
_FUNCTION = """
CREATE FUNCTION roll_up_usage_events() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO usage_totals AS kept ({totals_key}, {sums})
    SELECT date_trunc('hour', occurred_at, 'UTC'), organization_id, provider, model, {added}
    FROM added GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    ON CONFLICT ({totals_key}) DO UPDATE SET {kept};
    INSERT INTO usage_daily AS kept ({daily_key}, tags, {sums})
    SELECT date_trunc('day', occurred_at, 'UTC'), organization_id,
        coalesce(team_id, '00000000-0000-0000-0000-000000000000'::uuid), key_id, provider, model,
        substring(sha256(convert_to(tags::text, 'UTF8')) FROM 1 FOR 16), tags, {added}
    FROM added GROUP BY 1, 2, 3, 4, 5, 6, 7, 8 ORDER BY 1, 2, 3, 4, 5, 6, 7
    ON CONFLICT ({daily_key}) DO UPDATE SET {kept};
    RETURN NULL;
END
$body$
"""
_TRIGGER = """
CREATE TRIGGER usage_events_are_rolled_up AFTER INSERT ON usage_events
REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION roll_up_usage_events()
"""


def upgrade() -> None:
    """Make the tables, fill them, and keep them full; make the indexes."""
    _create_tables()
    is_postgres = op.get_bind().dialect.name == "postgresql"
    if is_postgres:
        # Nobody adds events between what is rolled up here and the trigger; reports go on.
        op.execute("LOCK TABLE usage_events IN SHARE ROW EXCLUSIVE MODE")
    _fill(is_postgres=is_postgres)
    if is_postgres:
        kept = ", ".join(f"{name} = kept.{name} + excluded.{name}" for name in _SUMS)
        op.execute(_said(_FUNCTION, added=_ADDED, kept=kept))
        op.execute(_TRIGGER)
    _create_indexes()


def downgrade() -> None:
    """Drop all that, and have the index of fan-outs as it was."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER usage_events_are_rolled_up ON usage_events")
        op.execute("DROP FUNCTION roll_up_usage_events()")
    op.drop_index("ix_usage_events_organization_id_occurred_at_cache_status", "usage_events")
    op.drop_index("ix_usage_events_outcome_occurred_at_event_id", "usage_events")
    op.drop_index(_FANOUTS, "usage_events")
    op.create_index(_FANOUTS, "usage_events", _OLD_FANOUTS, postgresql_where=_IS_FANOUT, sqlite_where=_IS_FANOUT)
    for table in ("usage_totals", "usage_daily"):
        op.drop_table(table)


def _create_tables() -> None:
    sums: tuple[sa.Column[Any], ...] = tuple(sa.Column(name, sa.BigInteger(), nullable=False) for name in _SUMS)
    op.create_table(
        "usage_daily",
        sa.Column("day", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("team_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("tags_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("tags", _JSON, nullable=False),
        *(sa.Column(column.name, sa.BigInteger(), nullable=False) for column in sums),
        sa.PrimaryKeyConstraint(*_DAILY_KEY, name="pk_usage_daily"),
        postgresql_with={"fillfactor": 80},
    )
    op.create_table(
        "usage_totals",
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        *sums,
        sa.PrimaryKeyConstraint(*_TOTALS_KEY, name="pk_usage_totals"),
        postgresql_with={"fillfactor": 80},
    )
    for name in ("organization_id", "key_id", "team_id"):
        op.create_index(f"ix_usage_daily_{name}_day", "usage_daily", [name, "day"])
    op.create_index("ix_usage_totals_organization_id_hour", "usage_totals", ["organization_id", "hour"])


def _fill(*, is_postgres: bool) -> None:
    day = "date_trunc('day', hour, 'UTC')" if is_postgres else "substr(hour, 1, 10) || ' 00:00:00.000000'"
    added = ", ".join(f"CAST(sum({name}) AS bigint)" for name in _SUMS)
    for statement in _said(_FILL, added=added, day=day).split(";"):
        op.execute(statement)


def _said(template: str, **fields: str) -> str:
    return template.format(
        totals_key=", ".join(_TOTALS_KEY), daily_key=", ".join(_DAILY_KEY), sums=", ".join(_SUMS), **fields
    )


def _create_indexes() -> None:
    op.drop_index(_FANOUTS, "usage_events")
    op.create_index(
        _FANOUTS,
        "usage_events",
        _OLD_FANOUTS,
        postgresql_where=_IS_FANOUT,
        postgresql_include=_OF_FANOUTS,
        sqlite_where=_IS_FANOUT,
    )
    op.create_index(
        "ix_usage_events_outcome_occurred_at_event_id",
        "usage_events",
        ["outcome", "occurred_at", "event_id"],
        postgresql_where=_HAS_FAILED,
        sqlite_where=_HAS_FAILED,
    )
    op.create_index(
        "ix_usage_events_organization_id_occurred_at_cache_status",
        "usage_events",
        ["organization_id", "occurred_at", "cache_status"],
        postgresql_where=_WAS_CACHED,
        postgresql_include=("kind", "is_final", "saved_nusd"),
        sqlite_where=_WAS_CACHED,
    )
