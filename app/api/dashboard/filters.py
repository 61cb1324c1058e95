"""What the lists of requests and of usage may be filtered by. Law: a field left blank says nothing."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from app.api.admin.usage import From, To
from app.domain.usage.reports import UsageQuery
from app.kernel.errors import InvalidRequest

Text = Annotated[str | None, QueryParameter(max_length=200)]
_IDS = ("organization_id", "team_id", "key_id")
_RANGE = {"from": "since", "to": "until"}


def provide_filters(
    *,
    from_: From = None,
    to: To = None,
    model: Text = None,
    provider: Text = None,
    key_id: Text = None,
    team_id: Text = None,
) -> dict[str, str]:
    """Return the fields that something was written into, by their names."""
    said = {"from": from_, "to": to, "model": model, "provider": provider, "key_id": key_id, "team_id": team_id}
    return {name: value for name, value in said.items() if value}


Filters = NamedDependency[dict[str, str]]
FILTERS = {"filters": Provide(provide_filters, sync_to_thread=False)}


def usage_query_of(given: Mapping[str, str]) -> UsageQuery:
    """Return what was filled in as a question to the ledger; raises `InvalidRequest` for an id that is none."""
    fields: dict[str, Any] = {_RANGE.get(name, name): value for name, value in given.items()}
    for name in _IDS:
        if name in fields:
            fields[name] = _read_id(name, fields[name])
    return UsageQuery(**fields)


def _read_id(name: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest(f"{name} is an id", param=name) from None
