"""The tables of grants, sessions and sign-ins under way. Law: no column holds a token, only its keyed hash."""

from sqlalchemy import Boolean, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, Uuid

from app.db.columns import Timestamp, json_column, metadata

grants = Table(
    "grants",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("matches", String(16), nullable=False),
    Column("value", String(255), nullable=False),
    Column("role", String(16), nullable=False),
    Column("organization_id", Uuid, ForeignKey("organizations.id")),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("version", Integer, nullable=False),
    Index(None, "matches", "value"),
    Index(None, "organization_id", "id"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("mac", LargeBinary(32), nullable=False),
    Column("identity", String(16), nullable=False),
    Column("principal_id", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("role", String(16), nullable=False),
    Column("organization_id", Uuid),
    Column("key_public_id", String(10)),
    Column("key_mac", LargeBinary(32)),
    Column("subject", String(255)),
    Column("claim_values", json_column()),
    Column("created_at", Timestamp, nullable=False),
    Column("signed_in_at", Timestamp, nullable=False),
    Column("seen_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Index("uq_sessions_mac", "mac", unique=True),
    Index(None, "organization_id", "id"),
    Index(None, "expires_at"),
    Index(None, "seen_at"),
)

sign_ins = Table(
    "sign_ins",
    metadata,
    Column("state_mac", LargeBinary(32), primary_key=True),
    Column("browser_mac", LargeBinary(32), nullable=False),
    Column("return_to", String(512), nullable=False),
    Column("is_fresh", Boolean, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Index(None, "expires_at"),
)
