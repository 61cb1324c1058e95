"""Prices made through the admin API.

Revision 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_AMOUNTS = ("input", "output", "cache_read", "cache_write", "reasoning", "image", "audio_input", "audio_output")


def upgrade() -> None:
    """Make the table; amounts are nano-USD."""
    op.create_table(
        "prices",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.String(length=200)),
        sa.Column("model", sa.String(length=200), nullable=False),
        *(sa.Column(name, sa.BigInteger()) for name in _AMOUNTS),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_prices"),
    )
    op.create_index("ix_prices_provider_model", "prices", ["provider", "model"], unique=True)
    # A null differs from every other, so a model without a provider needs a rule of its own.
    anywhere = sa.text("provider IS NULL")
    op.create_index(
        "ix_prices_model", "prices", ["model"], unique=True, sqlite_where=anywhere, postgresql_where=anywhere
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("prices")
