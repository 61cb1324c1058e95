"""Ollama, on one's own machine or at ollama.com.

Source: https://docs.ollama.com/api/introduction, read 2026-11.
"""

from typing import Any

import msgspec

from providers.catalog import Vendor
from providers.http.adapter import HttpAdapter
from providers.http.chat_only import ChatOnly
from providers.ollama import answers, upstream
from providers.ollama.errors import decode_error
from providers.ollama.upstream import OllamaOptions
from providers.plugin import Plugin
from providers.protocol import Adapter, ChatDecoder, Sender
from providers.types import (
    ChatRequest,
    EmbeddingRequest,
    Target,
    UpstreamRequest,
)

_JSON = ("content-type", "application/json")


class OllamaDialect(ChatOnly):
    """Ollama's own wire."""

    stream_type = "application/x-ndjson"
    decode_error = staticmethod(decode_error)
    decode_chat = staticmethod(answers.read_completion)
    decode_embeddings = staticmethod(answers.read_embeddings)
    decode_models = staticmethod(answers.read_models)

    def __init__(self, options: OllamaOptions) -> None:
        self._options = options

    def encode_chat(self, request: ChatRequest, target: Target) -> UpstreamRequest:
        """Return the request for an answer."""
        body, dropped = upstream.write_chat(request, model=target.model, defaults=self._options)
        return _post(target, "/api/chat", body, dropped=dropped)

    def chat_decoder(self) -> ChatDecoder:
        """Return a decoder for one streamed answer."""
        return answers.LineDecoder()

    def encode_embeddings(self, request: EmbeddingRequest, target: Target) -> UpstreamRequest:
        """Return the request for embeddings."""
        body, dropped = upstream.write_embeddings(request, model=target.model, defaults=self._options)
        return _post(target, "/api/embed", body, dropped=dropped)

    def encode_models(self, target: Target) -> UpstreamRequest:
        """Return the request that lists the models that are installed."""
        return UpstreamRequest(method="GET", url=f"{target.base_url}/api/tags", headers=_headers(target))


def _post(target: Target, path: str, body: dict[str, Any], *, dropped: tuple[str, ...]) -> UpstreamRequest:
    encoded = msgspec.json.encode(body)
    return UpstreamRequest(
        method="POST", url=target.base_url + path, headers=_headers(target), body=encoded, dropped=dropped
    )


def _headers(target: Target) -> tuple[tuple[str, str], ...]:
    """Return the headers; one's own server needs no key, ollama.com does."""
    if target.credential is None:
        return (_JSON,)
    return (("authorization", f"Bearer {target.credential.reveal()}"), _JSON)


def ollama_plugin(name: str, row: Vendor) -> Plugin:
    """Return the plug-in of Ollama."""

    def open_adapter(sender: Sender, options: msgspec.Struct) -> Adapter:
        chosen = options if isinstance(options, OllamaOptions) else OllamaOptions()
        return HttpAdapter(OllamaDialect(chosen), sender)

    return Plugin(
        name=name,
        open=open_adapter,
        options=OllamaOptions,
        base_url=row.base_url,
        key_variables=row.keys,
        needs_key=row.quirks.auth != "optional",
        catalog=name,
    )
