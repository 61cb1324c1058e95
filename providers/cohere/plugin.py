"""Cohere.

Source: https://docs.cohere.com/reference/about, read 2026-11.
"""

from typing import Any

import msgspec

from providers.catalog import Vendor
from providers.cohere import answers, upstream
from providers.cohere.errors import decode_error
from providers.cohere.inspect import RerankInspector
from providers.cohere.stream import EventDecoder
from providers.errors import RequestRefused
from providers.framing.members import splice
from providers.http.adapter import HttpAdapter
from providers.plugin import NoOptions, Plugin
from providers.protocol import Adapter, ChatDecoder, Inspector, Sender
from providers.types import (
    ChatRequest,
    EmbeddingRequest,
    RelayRequest,
    Target,
    UpstreamRequest,
)

_JSON = ("content-type", "application/json")
_RERANK = "openai.rerank"


class CohereDialect:
    """Cohere's wire, version 2."""

    stream_type = "text/event-stream"
    decode_error = staticmethod(decode_error)
    decode_chat = staticmethod(answers.read_completion)
    decode_embeddings = staticmethod(answers.read_embeddings)
    decode_models = staticmethod(answers.read_models)

    def relays(self, target: Target) -> frozenset[str]:  # noqa: ARG002 - the protocol's
        """Return reranking: the gateway's own form of it is Cohere's."""
        return frozenset({_RERANK})

    def encode_chat(self, request: ChatRequest, target: Target) -> UpstreamRequest:
        """Return the request for an answer."""
        body, dropped = upstream.write_chat(request, model=target.model)
        return _post(target, "/v2/chat", msgspec.json.encode(body), dropped=dropped)

    def chat_decoder(self) -> ChatDecoder:
        """Return a decoder for one streamed answer."""
        return EventDecoder()

    def encode_embeddings(self, request: EmbeddingRequest, target: Target) -> UpstreamRequest:
        """Return the request for embeddings."""
        body, dropped = upstream.write_embeddings(request, model=target.model)
        return _post(target, "/v2/embed", msgspec.json.encode(body), dropped=dropped)

    def encode_relay(self, request: RelayRequest, target: Target) -> UpstreamRequest:
        """Return the request that carries the client's bytes to be ranked."""
        if request.operation != _RERANK:
            raise RequestRefused(f"this provider does not serve {request.operation}", status=404)
        put: dict[str, Any] = dict(request.edits.put)
        if request.document.get("model") != target.model:
            put["model"] = msgspec.json.encode(target.model)
        body = splice(request.body, put=put, drop=request.edits.drop, rename=dict(request.edits.rename))
        return _post(target, "/v2/rerank", body)

    def inspector(self, request: RelayRequest) -> Inspector:  # noqa: ARG002 - the protocol's
        """Return an inspector for a ranking."""
        return RerankInspector()

    def encode_models(self, target: Target) -> UpstreamRequest:
        """Return the request that lists the models, which only version 1 does; no account has more than one page."""
        url = f"{target.base_url}/v1/models?page_size=1000"
        return UpstreamRequest(method="GET", url=url, headers=_headers(target))


def _post(target: Target, path: str, body: bytes, *, dropped: tuple[str, ...] = ()) -> UpstreamRequest:
    return UpstreamRequest(
        method="POST", url=target.base_url + path, headers=_headers(target), body=body, dropped=dropped
    )


def _headers(target: Target) -> tuple[tuple[str, str], ...]:
    key = () if target.credential is None else (("authorization", f"Bearer {target.credential.reveal()}"),)
    return (*key, _JSON)


def cohere_plugin(name: str, row: Vendor) -> Plugin:
    """Return the plug-in of Cohere."""

    def open_adapter(sender: Sender, options: msgspec.Struct) -> Adapter:  # noqa: ARG001 - it has none
        return HttpAdapter(CohereDialect(), sender)

    return Plugin(
        name=name,
        open=open_adapter,
        options=NoOptions,
        base_url=row.base_url,
        key_variables=row.keys,
        catalog=name,
    )
