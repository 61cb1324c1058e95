"""The table of ensembles made through the admin API."""

from sqlalchemy import Boolean, Column, Float, Index, Integer, String, Table, Text, Uuid

from app.db.columns import Timestamp, Usd, json_column, metadata

ensembles = Table(
    "ensembles",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("name", String(200), nullable=False),
    Column("strategy", String(200), nullable=False),
    Column("members", json_column(), nullable=False),
    Column("judge", String(200)),
    Column("fuser", String(200)),
    Column("rubric", Text),
    Column("check", json_column()),
    Column("quorum", Integer),
    Column("normalize", String(16), nullable=False),
    Column("after_s", Float),
    Column("min_logprob", Float),
    Column("scorer", String(200)),
    Column("min_success", Integer, nullable=False),
    Column("deadline_s", Float),
    Column("max_cost", Usd),
    Column("return_candidates", Boolean, nullable=False),
    Column("created_at", Timestamp, nullable=False),
    Column("updated_at", Timestamp, nullable=False),
    Column("version", Integer, nullable=False),
    Index(None, "name", unique=True),
)
