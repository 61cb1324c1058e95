"""Column types and the one `MetaData`. Law: a value read back equals the value written, on SQLite as on PostgreSQL."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, MetaData
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeDecorator

from app.kernel.money import format_usd, parse_usd

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Names every constraint, so that a migration can drop what another one made."""


class Timestamp(TypeDecorator[datetime]):
    """A moment in UTC, to the microsecond; SQLite, which knows no zones, stores the UTC reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the moment in UTC; a naive one is a defect of the caller."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a timestamp needs a time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any | None, dialect: Dialect) -> datetime | None:
        """Return the moment as an aware datetime in UTC."""
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if dialect.name == "sqlite" else moment.astimezone(UTC)


class Usd(TypeDecorator[str]):
    """An amount of money: a decimal string of USD with nine places in a record, nano-USD in the database."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> int | None:
        """Return the nano-USD."""
        del dialect
        return None if value is None else parse_usd(value)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:
        """Return the decimal string."""
        del dialect
        return None if value is None else format_usd(value)


def json_column() -> JSON:
    """Return the type of a JSON column, where Python's None is SQL's NULL."""
    return JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


def sequence_column() -> BigInteger:
    """Return the type of a 64-bit counter that the database may fill; SQLite counts only an INTEGER PRIMARY KEY."""
    return BigInteger().with_variant(Integer(), "sqlite")
