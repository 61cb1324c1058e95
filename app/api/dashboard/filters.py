"""What the lists of requests and of usage may be filtered by. Law: a field left blank says nothing."""

from collections.abc import Mapping
from typing import Annotated, Any, get_args
from uuid import UUID

from litestar.di import NamedDependency, Provide
from litestar.params import QueryParameter

from app.api.admin.usage import From, To
from app.api.dashboard.changes import whole_number
from app.domain.usage.reports import UsageQuery
from app.gateway.trace_desk import TraceFilters
from app.kernel.errors import InvalidRequest
from app.pipeline.answer import CacheStatus

Text = Annotated[str | None, QueryParameter(max_length=200)]
CACHE_STATUSES: tuple[CacheStatus, ...] = get_args(CacheStatus)
_IDS = ("organization_id", "team_id", "key_id")
_RANGE = {"from": "since", "to": "until"}
_NUMBERS = ("status", "min_duration_ms")


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


def provide_sought(
    *,
    filters: Filters,
    organization_id: Text = None,
    status: Text = None,
    error_code: Text = None,
    cache: Text = None,
    min_duration_ms: Text = None,
) -> dict[str, str]:
    """Return those, and the fields that only what became of requests is filtered by."""
    said = {
        "organization_id": organization_id,
        "status": status,
        "error_code": error_code,
        "cache": cache,
        "min_duration_ms": min_duration_ms,
    }
    return filters | {name: value for name, value in said.items() if value}


Sought = NamedDependency[dict[str, str]]
SOUGHT = {"sought": Provide(provide_sought, sync_to_thread=False)}


def usage_query_of(given: Mapping[str, str]) -> UsageQuery:
    """Return what was filled in as a question to the ledger; raises `InvalidRequest` for an id that is none."""
    return UsageQuery(**_read(given))


def trace_filters_of(given: Mapping[str, str]) -> TraceFilters:
    """Return what was filled in as a question to the traces; raises `InvalidRequest` that names the field at fault."""
    fields = _read(given)
    for name in _NUMBERS:
        if name in fields:
            fields[name] = whole_number(name, fields[name])
    if fields.get("cache") not in (None, *CACHE_STATUSES):
        raise InvalidRequest(f"cache is one of {', '.join(CACHE_STATUSES)}", param="cache")
    return TraceFilters(**fields)


def _read(given: Mapping[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {_RANGE.get(name, name): value for name, value in given.items()}
    for name in _IDS:
        if name in fields:
            fields[name] = _read_id(name, fields[name])
    return fields


def _read_id(name: str, text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest(f"{name} is an id", param=name) from None
