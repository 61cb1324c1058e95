"""Kept responses and issued references.

Revision 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "kept_responses",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.Column("previous_id", sa.String(length=256)),
        sa.Column("kid", sa.String(length=16), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_kept_responses"),
    )
    op.create_index("ix_kept_responses_expires_at", "kept_responses", ["expires_at"])
    op.create_index("ix_kept_responses_organization_id_created_at", "kept_responses", ["organization_id", "created_at"])
    op.create_table(
        "issued_references",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.String(length=256), nullable=False),
        sa.Column("provider", sa.String(length=200)),
        sa.Column("response_id", sa.String(length=256)),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "id", name="pk_issued_references"),
    )
    op.create_index("ix_issued_references_expires_at", "issued_references", ["expires_at"])
    op.create_index(
        "ix_issued_references_organization_id_response_id", "issued_references", ["organization_id", "response_id"]
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("issued_references")
    op.drop_table("kept_responses")
