"""The tables of organisations and teams."""

from sqlalchemy import Column, ForeignKey, Index, Integer, String, Table, Uuid

from app.db.columns import Timestamp, json_column, metadata

organizations = Table(
    "organizations",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("models", json_column()),
    Column("limits", json_column()),
    Column("budget", json_column()),
    Column("cache", json_column()),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("version", Integer, nullable=False),
)

teams = Table(
    "teams",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("organization_id", Uuid, ForeignKey("organizations.id"), nullable=False),
    Column("name", String(200), nullable=False),
    Column("status", String(16), nullable=False),
    Column("models", json_column()),
    Column("limits", json_column()),
    Column("budget", json_column()),
    Column("cache", json_column()),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("version", Integer, nullable=False),
    Index(None, "organization_id", "id"),
)
