"""The hash of a key under the pepper before, beside the one under the current pepper.

Revision 0012, after 0011. Expand only: what older releases write has none.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the columns."""
    op.add_column("key_secrets", sa.Column("former_mac", sa.LargeBinary(length=32)))
    op.add_column("key_secrets", sa.Column("former_kid", sa.String(length=16)))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("key_secrets", "former_kid")
    op.drop_column("key_secrets", "former_mac")
