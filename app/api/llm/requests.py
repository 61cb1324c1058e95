"""`GET /v1/llm/requests/{id}` and `POST /v1/llm/explain`: what became of a request, and what would become of one."""

from collections.abc import Mapping
from typing import Any

import msgspec
from litestar import Request, Response, post
from litestar.params import FromPath

from app.api.body import FORM_TYPE, JSON_TYPE, JsonReader, check_head
from app.api.explaining import Explainer, key_of, refused
from app.api.reading import reads
from app.api.understanding import Call, Said, Understanding, Wire
from app.domain.keys.principal import Principal
from app.gateway import Gateway
from app.gateway.trace_desk import open_trace_desk
from app.guards.inference import requires_inference
from app.kernel.errors import GatewayError, InvalidRequest
from app.kernel.ids import uuid7_text
from app.pipeline.exchange import Exchange
from app.pipeline.explanation import ExplainedRequest, Explanation
from app.pipeline.notes import Notes

_REST = "{rest:path}"
_FIELDS = frozenset({"path", "body"})
_SHOWN = 100
_Request = Request[Any, Any, Any]


def request_handlers(gateway: Gateway, wires: tuple[Wire, ...]) -> list[Any]:
    """Return the handlers of both paths; `wires` are what can be explained."""
    desk, dry_run = open_trace_desk(gateway.core), DryRun(gateway, wires)

    @reads("/v1/llm/requests/{request_id:str}")
    async def read_own_request(request: _Request, request_id: FromPath[str]) -> Response[bytes]:
        principal = await _principal(gateway, request)
        gateway.tally.flush()
        await gateway.recorder.flush()
        return _json(await desk.read_own(principal.key_id, request_id))

    @post("/v1/llm/explain", include_in_schema=False, status_code=200)
    async def explain(request: _Request) -> Response[bytes]:
        principal = await _principal(gateway, request)
        headers: Mapping[bytes, bytes] = request.scope["state"]["context"].headers
        check_head(headers, limit_bytes=gateway.body_limit_bytes, media_type=JSON_TYPE)
        return _json(await dry_run(headers, await request.body(), principal))

    return [read_own_request, explain]


class DryRun:
    """Explains requests that are not made. One for each worker."""

    def __init__(self, gateway: Gateway, wires: tuple[Wire, ...]) -> None:
        self._gateway = gateway
        self._json = JsonReader()
        self._wires = [
            (template, wire, Understanding(wire)) for wire in wires for template in (wire.route, *wire.also_at)
        ]

    async def __call__(self, headers: Mapping[bytes, bytes], body: bytes, principal: Principal) -> Explanation:
        """Return what would become of the request that a body describes; raises `InvalidRequest` for one that does not.

        The options in the headers are those of the request that is explained.
        """
        document = await self._json.read(body)
        wire, understand, call, asked = self._read(document)
        notes, gateway = Notes(), self._gateway
        said = Said(headers, msgspec.json.encode(asked), asked, call)
        if wire.media_type == FORM_TYPE:
            said = said._replace(form_type=FORM_TYPE.decode())
        try:
            exchange = understand(
                said,
                principal,
                routes=gateway.routes,
                most_legs=gateway.fanout_width,
                request_id=uuid7_text(gateway.clock.now_ns()),
                started_ns=gateway.clock.monotonic_ns(),
                notes=notes,
            )
        except GatewayError as error:
            return _misunderstood(error, wire, principal, model=notes.model, size_bytes=len(said.body))
        refusal = await _refused_by_store(gateway, exchange)
        plan = gateway.books.policies.plan(principal, *exchange.asked_models)
        explain = Explainer(
            gateway.explained_routes,
            lanes=gateway.routed.lanes,
            demands=gateway.demands,
            preview=gateway.preview,
            foresight=gateway.foresight,
            knows_lanes=True,
        )
        return await explain(exchange, plan, refusal=refusal, key=key_of(principal))

    def _read(self, document: dict[str, Any]) -> tuple[Wire, Understanding, Call, dict[str, Any]]:
        for name in document:
            if name not in _FIELDS:
                label = name[:_SHOWN]
                raise InvalidRequest(f"unknown field {label!r}", code="unknown_parameter", param=label)
        path, body = document.get("path"), document.get("body")
        if not isinstance(path, str):
            raise InvalidRequest(
                "path must be the path of an inference request, such as /v1/chat/completions", param="path"
            )
        if not isinstance(body, dict):
            raise InvalidRequest("body must be the JSON object that would be sent there", param="body")
        place, _, query = path.partition("?")
        for template, wire, understand in self._wires:
            prefix, has_rest, _ = template.partition(_REST)
            if place == template or (has_rest and place.startswith(prefix)):
                return wire, understand, Call(place.removeprefix(prefix) if has_rest else "", query), body
        raise InvalidRequest(f"nothing can be asked at {path[:_SHOWN]!r}", param="path")


async def _refused_by_store(gateway: Gateway, exchange: Exchange) -> GatewayError | None:
    """Resolve what a request refers to; returns why it may not, or why its answer may not be kept."""
    try:
        await gateway.stored.prepare(exchange)
    except GatewayError as error:
        return error
    return None


def _misunderstood(
    error: GatewayError, wire: Wire, principal: Principal, *, model: str | None, size_bytes: int
) -> Explanation:
    """Return what would become of a request that is refused as it stands."""
    return Explanation(
        dry_run=True,
        request=ExplainedRequest(
            model=(model or "")[:_SHOWN],
            operation=wire.operation.name,
            dialect=wire.operation.dialect,
            size_bytes=size_bytes,
            input_tokens=None,
            output_tokens=None,
            stream=False,
            cost_bound=None,
        ),
        key=key_of(principal),
        outcome="refused",
        refusal=refused(error),
        route=None,
        cache=None,
        limits=[],
        concurrency=[],
        budgets=[],
    )


async def _principal(gateway: Gateway, request: _Request) -> Principal:
    headers = request.scope["state"]["context"].headers
    return await requires_inference(headers, gateway.directory, gateway.tokens)


def _json(said: Any) -> Response[bytes]:
    return Response(msgspec.json.encode(said), media_type="application/json", headers={"cache-control": "no-store"})
