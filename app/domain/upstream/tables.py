"""The tables of providers and models made through the admin API.

Credentials are rows of their own, so that no statement that lists or audits a provider touches them.
"""

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, String, Table, Uuid

from app.db.columns import Timestamp, json_column, metadata

providers = Table(
    "providers",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("spec", json_column(), nullable=False),
    Column("reach", String(16), nullable=False),
    Column("credentials", json_column(), nullable=False),
    Column("credential_version", Integer, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("version", Integer, nullable=False),
)

provider_credentials = Table(
    "provider_credentials",
    metadata,
    Column("provider_id", Uuid, ForeignKey("providers.id", ondelete="CASCADE"), primary_key=True),
    Column("kid", String(16), nullable=False, index=True),
    Column("wrapped_key", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
)

models = Table(
    "models",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(256), nullable=False, unique=True),
    Column("spec", json_column(), nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("version", Integer, nullable=False),
)
