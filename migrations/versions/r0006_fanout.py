"""Ensembles made through the admin API, and what part an attempt had in a fan-out.

Revision 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
_INDEX = "ix_usage_events_occurred_at_fanout"
_IS_FANOUT = sa.text("fanout IS NOT NULL")


def upgrade() -> None:
    """Make the table and widen the events; amounts are nano-USD."""
    op.create_table(
        "ensembles",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("strategy", sa.String(length=200), nullable=False),
        sa.Column("members", _JSON, nullable=False),
        sa.Column("judge", sa.String(length=200)),
        sa.Column("fuser", sa.String(length=200)),
        sa.Column("rubric", sa.Text()),
        sa.Column("check", _JSON),
        sa.Column("quorum", sa.Integer()),
        sa.Column("normalize", sa.String(length=16), nullable=False),
        sa.Column("after_s", sa.Float()),
        sa.Column("min_logprob", sa.Float()),
        sa.Column("scorer", sa.String(length=200)),
        sa.Column("min_success", sa.Integer(), nullable=False),
        sa.Column("deadline_s", sa.Float()),
        sa.Column("max_cost", sa.BigInteger()),
        sa.Column("return_candidates", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_ensembles"),
    )
    op.create_index("ix_ensembles_name", "ensembles", ["name"], unique=True)
    op.add_column("usage_events", sa.Column("fanout", sa.Text()))
    op.add_column("usage_events", sa.Column("leg", sa.String(length=16)))
    op.create_index(
        _INDEX,
        "usage_events",
        ["occurred_at", "fanout"],
        sqlite_where=_IS_FANOUT,
        postgresql_where=_IS_FANOUT,
    )


def downgrade() -> None:
    """Drop the columns and the table."""
    op.drop_index(_INDEX, "usage_events")
    op.drop_column("usage_events", "leg")
    op.drop_column("usage_events", "fanout")
    op.drop_table("ensembles")
