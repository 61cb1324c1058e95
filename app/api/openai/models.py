"""`GET /v1/models`: what the key may use, in OpenAI's shape, or in Anthropic's where its version header is sent."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.params import FromPath

from app.api.reading import reads
from app.gateway import Gateway
from app.guards.inference import requires_inference
from app.kernel.errors import InvalidRequest, NotFound
from app.routing.table import Route

_ANTHROPIC_VERSION = b"anthropic-version"
_CODEX_VERSION = "client_version"
"""Codex asks so for its own catalogue, in `models`; an empty one lets it take the name of any model from its settings.

Source: https://github.com/openai/codex/blob/main/codex-rs/codex-api/src/endpoint/models.rs, read 2026-11.
"""
_PATH = "/v1/models"
_DEFAULT_LIMIT, _MAX_LIMIT = 20, 1_000


def lists_anthropics(path: str, headers: Mapping[bytes, bytes]) -> bool:
    """Whether a request is for models in Anthropic's shape."""
    return _ANTHROPIC_VERSION in headers and (path == _PATH or path.startswith(f"{_PATH}/"))


def openai_model(route: Route) -> dict[str, Any]:
    """Return a model in OpenAI's shape."""
    return {"id": route.name, "object": "model", "created": route.created, "owned_by": route.owned_by}


def anthropic_model(route: Route) -> dict[str, Any]:
    """Return a model in Anthropic's shape."""
    created = datetime.fromtimestamp(route.created, UTC).isoformat().replace("+00:00", "Z")
    return {"type": "model", "id": route.name, "display_name": route.name, "created_at": created}


def anthropic_page(routes: list[Route], query: Any) -> dict[str, Any]:
    """Return a page of models in Anthropic's shape; `limit`, `after_id` and `before_id` as its API has them."""
    names = [route.name for route in routes]
    after, before = query.get("after_id"), query.get("before_id")
    start = names.index(after) + 1 if after in names else 0
    end = names.index(before) if before in names else len(names)
    limit = _limit(query.get("limit"))
    chosen = routes[start:end][:limit] if before not in names else routes[start:end][-limit:]
    return {
        "data": [anthropic_model(route) for route in chosen],
        "has_more": len(chosen) < len(routes[start:end]),
        "first_id": chosen[0].name if chosen else None,
        "last_id": chosen[-1].name if chosen else None,
    }


def _limit(text: str | None) -> int:
    if text is None:
        return _DEFAULT_LIMIT
    if len(text) > len(str(_MAX_LIMIT)) or not text.isdecimal() or not 1 <= int(text) <= _MAX_LIMIT:
        raise InvalidRequest(f"limit must be a whole number from 1 to {_MAX_LIMIT}", param="limit")
    return int(text)


def model_handlers(gateway: Gateway) -> list[Any]:
    """Return the handlers of both paths."""

    async def usable(request: Request[Any, Any, Any]) -> list[Route]:
        headers = _headers_of(request)
        principal = await requires_inference(headers, gateway.directory, gateway.tokens, scope="models")
        organization_id = principal.organization_id
        return [route for route in gateway.routes if principal.may_use(route.name) and route.open_to(organization_id)]

    @reads(_PATH)
    async def list_models(request: Request[Any, Any, Any]) -> Response[bytes]:
        routes = await usable(request)
        if _ANTHROPIC_VERSION in _headers_of(request):
            return _anthropic(anthropic_page(routes, request.query_params), request)
        listed: dict[str, Any] = {"object": "list", "data": [openai_model(route) for route in routes]}
        if _CODEX_VERSION in request.query_params:
            listed["models"] = []
        return _json(listed)

    @reads(f"{_PATH}/{{name:path}}")
    async def read_model(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
        wanted = name.removeprefix("/")
        route = next((route for route in await usable(request) if route.name == wanted), None)
        if route is None:
            raise NotFound(f"the model {wanted[:100]!r} does not exist", code="model_not_found", param="model")
        if _ANTHROPIC_VERSION in _headers_of(request):
            return _anthropic(anthropic_model(route), request)
        return _json(openai_model(route))

    return [list_models, read_model]


def _headers_of(request: Request[Any, Any, Any]) -> Mapping[bytes, bytes]:
    headers: Mapping[bytes, bytes] = request.scope["state"]["context"].headers
    return headers


def _anthropic(body: dict[str, Any], request: Request[Any, Any, Any]) -> Response[bytes]:
    answer = _json(body)
    answer.headers["request-id"] = request.scope["state"]["request_id"]
    return answer


def _json(body: dict[str, Any]) -> Response[bytes]:
    return Response(msgspec.json.encode(body), media_type="application/json")
