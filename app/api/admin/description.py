"""The OpenAPI document of the admin plane. Law: a body that it lets pass has nothing wrong that a schema can say.

Litestar does not see what stands inside lists and maps, nor that a struct takes no other fields; msgspec does. It also
promises a body where there is none, and wants one where none is needed.
"""

from collections.abc import Collection
from typing import Any

import msgspec
from litestar import Litestar, Router
from litestar.handlers import HTTPRouteHandler

from app.api.admin.app import admin_openapi
from app.api.admin.bodies import JsonBody, may_be_left_out
from app.api.docs.schemas.references import schemas_of


def admin_document(router: Router, *, version: str) -> dict[str, Any]:
    """Return the document of an admin plane that has this router; `version` is the release's."""
    # Without the last, Litestar would put its own handlers in the place of the process's.
    described = Litestar([router], openapi_config=admin_openapi(version), logging_config=None)
    document: dict[str, Any] = described.openapi_schema.to_schema()
    document["components"]["schemas"] |= schemas_of(_bodies_of(described))
    for response in _responses_of(document, status="204"):
        response.pop("content", None)
    for operation in _operations_of(document, names=_without_need_of_body(described)):
        operation["requestBody"]["required"] = False
    return document


def _responses_of(document: dict[str, Any], *, status: str) -> list[dict[str, Any]]:
    """Return what the operations say of a status."""
    found: list[dict[str, Any]] = [operation["responses"].get(status, {}) for operation in _operations_of(document)]
    return found


def _operations_of(document: dict[str, Any], *, names: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Return the operations of these names, or all."""
    found = [operation for path in document["paths"].values() for operation in path.values()]
    return found if names is None else [operation for operation in found if operation["operationId"] in names]


def _without_need_of_body(app: Litestar) -> set[str]:
    """Return the names of the operations whose body may be left out."""
    return {handler.handler_name for handler in _handlers_of(app) if may_be_left_out(handler)}


def _handlers_of(app: Litestar) -> list[HTTPRouteHandler]:
    handlers = [handler for route in app.routes for handler in getattr(route, "route_handlers", ())]
    return [handler for handler in handlers if isinstance(handler, HTTPRouteHandler)]


def _bodies_of(app: Litestar) -> list[type[msgspec.Struct]]:
    """Return the structs that requests are read into."""
    bodies = [handler.resolve_data_dto() for handler in _handlers_of(app)]
    return list({body.described(): None for body in bodies if body is not None and issubclass(body, JsonBody)})
