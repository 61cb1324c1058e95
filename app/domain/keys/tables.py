"""The tables of API keys, admin keys and their secrets. Law: no column holds a secret, only its keyed hash."""

from sqlalchemy import Boolean, CheckConstraint, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Uuid

from app.db.columns import Timestamp, json_column, metadata

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("public_id", String(10), nullable=False),
    Column("name", String(200), nullable=False),
    Column("organization_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("team_id", Uuid, ForeignKey("teams.id")),
    Column("status", String(16), nullable=False),
    Column("models", json_column()),
    Column("limits", json_column()),
    Column("budget", json_column()),
    Column("cache", json_column()),
    Column("may_route", Boolean, nullable=False),
    Column("tags", json_column(), nullable=False),
    Column("scopes", json_column(), nullable=False),
    Column("expires_at", Timestamp),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("revoked_at", Timestamp),
    Column("version", Integer, nullable=False),
    Index(None, "organization_id", "id"),
    Index(None, "team_id"),
)

admin_keys = Table(
    "admin_keys",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("public_id", String(10), nullable=False),
    Column("name", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    Column("organization_id", Uuid, ForeignKey("organizations.id")),
    Column("status", String(16), nullable=False),
    Column("expires_at", Timestamp),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("revoked_at", Timestamp),
    Column("version", Integer, nullable=False),
    Index(None, "organization_id", "id"),
)

key_secrets = Table(
    "key_secrets",
    metadata,
    Column("public_id", String(10), primary_key=True),
    Column("key_id", Uuid, ForeignKey("api_keys.id", ondelete="CASCADE")),
    Column("admin_key_id", Uuid, ForeignKey("admin_keys.id", ondelete="CASCADE")),
    Column("mac", LargeBinary(32), nullable=False),
    Column("kid", String(16), nullable=False),
    Column("former_mac", LargeBinary(32)),
    Column("former_kid", String(16)),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp),
    CheckConstraint("(key_id IS NULL) <> (admin_key_id IS NULL)", name="one_owner"),
    Index(None, "key_id"),
    Index(None, "admin_key_id"),
)
