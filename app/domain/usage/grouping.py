"""What a report is grouped by: one key for each group, and one for the time. Law: a key has a total order."""

from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

import msgspec
from sqlalchemy import Column, ColumnElement, Text, Uuid, bindparam, func, literal, literal_column, select

from app.db.columns import Timestamp
from app.db.engine import Connection
from app.domain.usage.hours import day_of, hour_of
from app.domain.usage.tables import NO_TEAM
from app.kernel.errors import InvalidRequest

Interval = Literal["hour", "day", "none"]
INTERVALS: tuple[Interval, ...] = get_args(Interval)

_COLUMNS = {
    "model": "model",
    "provider": "provider",
    "key": "key_id",
    "team": "team_id",
    "organization": "organization_id",
}
GROUPS = tuple(_COLUMNS)
_TAG = "tag:"
_MAX_TAG_NAME = 64
_MAX_GROUPS = 10
_IS_THERE = "="
"""Stands before the value of a tag in a key, so that no tag and an empty one differ."""


class Group(msgspec.Struct, frozen=True):
    """One thing that a report is grouped by: the member of its items, and the tag it is of, if any."""

    member: str
    tag: str | None = None

    def key_of(self, connection: Connection, columns: Any) -> ColumnElement[Any]:
        """Return the expression of the key, over columns of the hourly usage or of the events."""
        if self.tag is not None:
            return func.coalesce(literal(_IS_THERE, Text).concat(_tag_of(connection, columns.tags, self.tag)), "")
        if self.member == "team_id":
            return func.coalesce(columns.team_id, literal(NO_TEAM, Uuid))
        column: Column[Any] = columns[self.member]
        return column

    def said(self, key: Any) -> Any:
        """Return what an item says of a key."""
        if self.tag is not None:
            return key.removeprefix(_IS_THERE) if key else None
        return None if key == NO_TEAM else key

    @property
    def key_type(self) -> type[Any]:
        """The type of the key."""
        return UUID if self.member.endswith("_id") and self.tag is None else str


def read_groups(text: str | None) -> tuple[Group, ...]:
    """Return the groups in a comma list; raises `InvalidRequest` for one that is unknown."""
    names = dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip())
    if len(names) > _MAX_GROUPS:
        raise InvalidRequest(f"at most {_MAX_GROUPS} groups", param="group_by")
    return tuple(_read_group(name) for name in names)


def _read_group(name: str) -> Group:
    if name in _COLUMNS:
        return Group(_COLUMNS[name])
    tag = name.removeprefix(_TAG)
    if tag and tag != name and len(tag) <= _MAX_TAG_NAME and tag.isprintable():
        return Group(name, tag)
    known = ", ".join(GROUPS)
    raise InvalidRequest(f"unknown group {name[:100]!r}; known are {known} and tag:NAME", param="group_by")


def start_of(connection: Connection, column: Column[datetime], *, interval: Interval) -> ColumnElement[datetime] | None:
    """Return the expression of the beginning of a moment's interval; None where the whole time is one."""
    if interval == "none":
        return None
    return (day_of if interval == "day" else hour_of)(connection, column)


def _tag_of(connection: Connection, tags: ColumnElement[Any], name: str) -> ColumnElement[Any]:
    wanted = bindparam(None, name, Text)
    if connection.dialect.name == "postgresql":
        return tags.op("->>", return_type=Text())(wanted)
    pairs = func.json_each(tags).table_valued("key", "value")
    return select(pairs.c.value).where(literal_column("key") == wanted).scalar_subquery()


KEY_TYPES = {UUID: Uuid, str: Text, datetime: Timestamp}
"""How the database types what a cursor holds."""
