"""The table of kept answers. A row without a status is a claim: its holder is on the way to the answer.

Law: nothing of an answer stands outside `payload`, which is sealed.
"""

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table, Uuid

from app.db.columns import Timestamp, metadata

PATH_LENGTH, KEY_LENGTH = 512, 255

kept_answers = Table(
    "kept_answers",
    metadata,
    Column("key_id", Uuid, primary_key=True),
    Column("path", String(PATH_LENGTH), primary_key=True),
    Column("idempotency_key", String(KEY_LENGTH), primary_key=True),
    Column("organization_id", Uuid, nullable=False),
    Column("request_hash", LargeBinary(32), nullable=False),
    Column("holder", Uuid, nullable=False),
    Column("lease_until", Timestamp, nullable=False),
    Column("status", Integer),
    Column("kid", String(16)),
    Column("payload", LargeBinary),
    Column("created_at", Timestamp, nullable=False),
    Column("expires_at", Timestamp, nullable=False),
    Index(None, "expires_at"),
    Index(None, "organization_id"),
)
