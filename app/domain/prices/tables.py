"""The table of prices made through the admin API."""

from sqlalchemy import Column, Index, Integer, String, Table, Uuid, text

from app.db.columns import Timestamp, Usd, metadata

_ANYWHERE = text("provider IS NULL")

prices = Table(
    "prices",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("provider", String(200)),
    Column("model", String(200), nullable=False),
    Column("input", Usd),
    Column("output", Usd),
    Column("cache_read", Usd),
    Column("cache_write", Usd),
    Column("reasoning", Usd),
    Column("image", Usd),
    Column("audio_input", Usd),
    Column("audio_output", Usd),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("version", Integer, nullable=False),
    Index(None, "provider", "model", unique=True),
    Index(None, "model", unique=True, sqlite_where=_ANYWHERE, postgresql_where=_ANYWHERE),
)
