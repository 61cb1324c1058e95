"""`GET` and `DELETE /v1/responses/{id}`: responses that the caller's organisation may come back to.

What the gateway keeps it answers itself; what a provider keeps is asked of that provider.
"""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response, delete
from litestar.params import FromPath

from app.api.reading import reads
from app.domain.responses.schemas import Issued
from app.domain.responses.tables import ID_LENGTH
from app.gateway import Gateway
from app.guards.inference import requires_inference
from app.kernel.errors import InvalidRequest, NotFound
from app.pipeline.routed import client_error
from providers.errors import ProviderError
from providers.openai.responses.wire import RESPONSE_DELETE, RESPONSE_GET
from providers.types import RelayRequest

_PATH = "/v1/responses/{response_id:str}"
_Request = Request[Any, Any, Any]


def kept_response_handlers(gateway: Gateway) -> list[Any]:
    """Return the handlers of both methods."""

    @reads(_PATH)
    async def read_response(request: _Request, response_id: FromPath[str]) -> Response[bytes]:
        found = await _issued(gateway, request, response_id)
        if request.query_params.get("stream") in {"true", "1"}:
            raise InvalidRequest("a kept response is not streamed again", param="stream")
        if found.provider is not None:
            return _json(await _ask(gateway, found, RESPONSE_GET, organization_id=_organization(request)))
        kept = await gateway.core.responses.find(response_id, organization_id=_organization(request))
        if kept is None:
            raise _not_found(response_id)
        return _json(msgspec.json.encode(kept.response))

    @delete(_PATH, include_in_schema=False, status_code=200)
    async def delete_response(request: _Request, response_id: FromPath[str]) -> Response[bytes]:
        found = await _issued(gateway, request, response_id)
        if found.provider is not None:
            await _ask(gateway, found, RESPONSE_DELETE, organization_id=_organization(request))
        await gateway.core.responses.forget(response_id, organization_id=_organization(request))
        return _json(msgspec.json.encode({"id": response_id, "object": "response", "deleted": True}))

    return [read_response, delete_response]


async def _issued(gateway: Gateway, request: _Request, response_id: str) -> Issued:
    """Return what the caller's organisation knows under an id; raises `NotFound` for everything else."""
    context = request.scope["state"]["context"]
    principal = await requires_inference(context.headers, gateway.directory, gateway.tokens)
    request.scope["state"]["organization_id"] = principal.organization_id
    if not gateway.stores_responses:
        raise InvalidRequest("responses are not stored by this gateway", param="response_id")
    if len(response_id) > ID_LENGTH or not response_id.isprintable():
        raise _not_found(response_id)
    issued = await gateway.core.responses.issued([response_id], organization_id=principal.organization_id)
    found = issued.get(response_id)
    if found is None or found.response_id != response_id:
        raise _not_found(response_id)
    return found


def _organization(request: _Request) -> Any:
    return request.scope["state"]["organization_id"]


async def _ask(gateway: Gateway, found: Issued, operation: str, *, organization_id: UUID) -> bytes:
    """Return what the provider that keeps a response says to `operation`."""
    choice = gateway.routes.target_at(found.provider or "", operation)
    if choice is None or not (choice.dedicated_to is None or choice.is_dedicated_to(organization_id)):
        raise _not_found(found.id)
    asked = RelayRequest(operation=operation, body=b"", document={}, subject=found.id)
    try:
        stream = await choice.adapter.relay(asked, choice.whole_target)
        try:
            return await stream.read_all()
        finally:
            stream.close()
    except ProviderError as error:
        raise client_error(error) from error


def _not_found(response_id: str) -> NotFound:
    return NotFound(f"there is no response {response_id[:100]!r}", param="response_id")


def _json(body: bytes) -> Response[bytes]:
    return Response(body, media_type="application/json")
