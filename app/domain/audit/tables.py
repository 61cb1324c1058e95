"""The tables of the audit chain and its sealed end, the change feed and the answers kept for idempotent writes."""

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, String, Table, Text, Uuid

from app.db.columns import Timestamp, metadata, sequence_column

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Timestamp, nullable=False),
    Column("principal_kind", String(32), nullable=False),
    Column("principal_id", String(64), nullable=False),
    Column("principal_name", String(200), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object_kind", String(32), nullable=False),
    Column("object_id", Uuid, nullable=False),
    Column("organization_id", Uuid),
    Column("before", Text),
    Column("after", Text),
    Column("request_id", String(64), nullable=False),
    Column("prev_hash", LargeBinary(32), nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("seal", LargeBinary(40)),
    Index(None, "organization_id", "seq"),
    Index(None, "object_id", "seq"),
    Index(None, "principal_id", "seq"),
    Index(None, "at"),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("unsealed", BigInteger, nullable=False),
    Column("kid", String(16), nullable=False),
    Column("seal", LargeBinary(32), nullable=False),
)

change_log = Table(
    "change_log",
    metadata,
    Column("seq", sequence_column(), primary_key=True, autoincrement=True),
    Column("at", Timestamp, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("object_id", Uuid, nullable=False),
    Index(None, "at"),
    sqlite_autoincrement=True,
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("principal_id", String(64), primary_key=True),
    Column("idempotency_key", String(255), primary_key=True),
    Column("request_hash", LargeBinary(32), nullable=False),
    Column("status", Integer),
    Column("answer", LargeBinary),
    Column("kid", String(16)),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Index(None, "expires_at"),
)
