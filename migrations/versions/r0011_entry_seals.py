"""A seal on each entry of the audit chain.

Revision 0011, after 0010. Expand only: what older releases write has none, and is named as that.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Make the column."""
    op.add_column("audit_entries", sa.Column("seal", sa.LargeBinary(length=40)))


def downgrade() -> None:
    """Drop it."""
    op.drop_column("audit_entries", "seal")
