"""The tables of kept responses and issued references. Law: every statement on them carries the organisation."""

from sqlalchemy import Column, Index, LargeBinary, String, Table, Uuid

from app.db.columns import Timestamp, metadata

ID_LENGTH = 256
"""Ids are the vendors' words; longer ones are not remembered."""

kept_responses = Table(
    "kept_responses",
    metadata,
    Column("organization_id", Uuid, primary_key=True),
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("previous_id", String(ID_LENGTH)),
    Column("kid", String(16), nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Index(None, "expires_at"),
    Index(None, "organization_id", "created_at"),
)
issued_references = Table(
    "issued_references",
    metadata,
    Column("organization_id", Uuid, primary_key=True),
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("provider", String(200)),
    Column("response_id", String(ID_LENGTH)),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Index(None, "expires_at"),
    Index(None, "organization_id", "response_id"),
)
