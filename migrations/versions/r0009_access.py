"""Grants to people, sessions of browsers, and sign-ins under way.

Revision 0009, after 0008.
"""

import sqlalchemy as sa
from alembic import op

from app.db.columns import json_column

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Make the tables."""
    _make_grants()
    _make_sessions()
    op.create_table(
        "sign_ins",
        sa.Column("state_mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("browser_mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("return_to", sa.String(length=512), nullable=False),
        sa.Column("is_fresh", sa.Boolean(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("state_mac", name="pk_sign_ins"),
    )
    op.create_index("ix_sign_ins_expires_at", "sign_ins", ["expires_at"])


def _make_grants() -> None:
    op.create_table(
        "grants",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("matches", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("organization_id", sa.Uuid()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_grants"),
        sa.ForeignKeyConstraint(["organization_id"], ["organizations.id"], name="fk_grants_organization_id"),
    )
    op.create_index("ix_grants_matches_value", "grants", ["matches", "value"])
    op.create_index("ix_grants_organization_id_id", "grants", ["organization_id", "id"])


def _make_sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("mac", sa.LargeBinary(length=32), nullable=False),
        sa.Column("identity", sa.String(length=16), nullable=False),
        sa.Column("principal_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("organization_id", sa.Uuid()),
        sa.Column("key_public_id", sa.String(length=10)),
        sa.Column("key_mac", sa.LargeBinary(length=32)),
        sa.Column("subject", sa.String(length=255)),
        sa.Column("claim_values", json_column()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signed_in_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
    )
    op.create_index("uq_sessions_mac", "sessions", ["mac"], unique=True)
    op.create_index("ix_sessions_organization_id_id", "sessions", ["organization_id", "id"])
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])
    op.create_index("ix_sessions_seen_at", "sessions", ["seen_at"])


def downgrade() -> None:
    """Drop the tables."""
    for table in ("sign_ins", "sessions", "grants"):
        op.drop_table(table)
