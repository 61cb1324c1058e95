"""The Gemini API."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from providers.catalog import Vendor
from providers.framing.members import splice
from providers.gemini import embeddings, upstream
from providers.gemini.errors import decode_error
from providers.gemini.inspect import StreamInspector, WholeInspector
from providers.gemini.wire import GENERATE
from providers.http.adapter import HttpAdapter
from providers.plugin import NoOptions, Plugin
from providers.protocol import Adapter, ChatDecoder, Inspector, Sender
from providers.types import (
    ChatRequest,
    Completion,
    EmbeddingRequest,
    Embeddings,
    RelayRequest,
    Target,
    UpstreamRequest,
)

_JSON = ("content-type", "application/json")
_KEY = "x-goog-api-key"
_COLLECTIONS = frozenset({"models", "tunedModels"})
_STREAMED, _WHOLE = ":streamGenerateContent?alt=sse", ":generateContent"
_CONFIGS = ("generationConfig", "generation_config")
_CAPS = ("maxOutputTokens", "max_output_tokens")
_MODELS_PAGE = 1_000


class GeminiDialect:
    """generateContent, with the model and the method in the path."""

    stream_type = "text/event-stream"
    decode_error = staticmethod(decode_error)

    def __init__(self) -> None:
        self._headers: dict[str | None, tuple[tuple[str, str], ...]] = {}

    def relays(self, target: Target) -> frozenset[str]:
        """Return what goes through unchanged."""
        del target
        return frozenset({GENERATE})

    def encode_chat(self, request: ChatRequest, target: Target) -> UpstreamRequest:
        """Return the request for an answer."""
        body, dropped = upstream.write_generate(request, model=target.model)
        method = _STREAMED if request.stream else _WHOLE
        return self._post(target, method, msgspec.json.encode(body), dropped=dropped)

    def decode_chat(self, body: bytes) -> Completion:
        """Read an answer that was not streamed."""
        return upstream.read_completion(body)

    def chat_decoder(self) -> ChatDecoder:
        """Return a decoder for one streamed answer."""
        return upstream.ChunkDecoder()

    def encode_embeddings(self, request: EmbeddingRequest, target: Target) -> UpstreamRequest:
        """Return the request for embeddings."""
        body = embeddings.write_batch(request, model=_resource(target.model))
        dropped = embeddings.dropped(request)
        return self._post(target, ":batchEmbedContents", msgspec.json.encode(body), dropped=dropped)

    def decode_embeddings(self, body: bytes) -> Embeddings:
        """Read embeddings."""
        return embeddings.read_embeddings(body)

    def encode_relay(self, request: RelayRequest, target: Target) -> UpstreamRequest:
        """Return the request that carries the client's bytes."""
        put, drop = dict(request.edits.put), request.edits.drop
        if "model" in request.document:
            drop |= {"model"}
        if request.output_cap is not None:
            put |= _cap_output(request.document, request.output_cap, put=put, drop=drop)
        body = request.body
        if put or drop or request.edits.rename:
            body = splice(body, put=put, drop=drop, rename=request.edits.rename)
        return self._post(target, _STREAMED if request.stream else _WHOLE, body)

    def inspector(self, request: RelayRequest) -> Inspector:
        """Return an inspector for the answer to `request`."""
        return StreamInspector(framing=request.framing) if request.stream else WholeInspector()

    def encode_models(self, target: Target) -> UpstreamRequest:
        """Return the request that lists the models, all on one page."""
        url = f"{target.base_url}/models?pageSize={_MODELS_PAGE}"
        return UpstreamRequest(method="GET", url=url, headers=self._headers_for(target))

    def decode_models(self, body: bytes) -> list[str]:
        """Read the names of the models."""
        return embeddings.read_models(body)

    def url(self, target: Target, method: str) -> str:
        """Return where a method of the target's model is served."""
        collection, _, name = _resource(target.model).partition("/")
        return f"{target.base_url}/{collection}/{quote(name, safe='')}{method}"

    def _post(self, target: Target, method: str, body: bytes, *, dropped: tuple[str, ...] = ()) -> UpstreamRequest:
        url = self.url(target, method)
        return UpstreamRequest(method="POST", url=url, headers=self._headers_for(target), body=body, dropped=dropped)

    def _headers_for(self, target: Target) -> tuple[tuple[str, str], ...]:
        """Return the headers, made once for each credential so that the transport can keep their bytes."""
        credential = target.credential.reveal() if target.credential else None
        headers = self._headers.get(credential)
        if headers is None:
            key = () if credential is None else ((_KEY, credential),)
            headers = self._headers[credential] = (*key, _JSON)
        return headers


def _resource(model: str) -> str:
    """Return a model's name with the collection that it is in."""
    return model if model.partition("/")[0] in _COLLECTIONS and "/" in model else f"models/{model}"


def _cap_output(
    document: Mapping[str, Any], cap: int, *, put: Mapping[str, bytes], drop: frozenset[str]
) -> dict[str, bytes]:
    """Return the configs that ask for more than the cap, or name none, with the cap in them."""
    found = {name: document[name] for name in _CONFIGS if name in document and name not in drop}
    found |= {name: msgspec.json.decode(put[name]) for name in _CONFIGS if name in put}
    configs = {name: config for name, config in found.items() if isinstance(config, dict)} or {_CONFIGS[0]: {}}
    capped = {name: _capped(config, cap) for name, config in configs.items()}
    return {name: msgspec.json.encode(config) for name, config in capped.items() if config != configs[name]}


def _capped(config: dict[str, Any], cap: int) -> dict[str, Any]:
    given = [name for name in _CAPS if config.get(name) is not None] or [_CAPS[0]]
    return config | {name: cap for name in given if not _is_within(config.get(name), cap)}


def _is_within(tokens: Any, cap: int) -> bool:
    return isinstance(tokens, int | float) and 0 < tokens <= cap


def gemini_plugin(name: str, row: Vendor) -> Plugin:
    """Return the plug-in of the Gemini API."""

    def open_adapter(sender: Sender, options: msgspec.Struct) -> Adapter:
        del options
        return HttpAdapter(GeminiDialect(), sender)

    return Plugin(
        name=name,
        open=open_adapter,
        options=NoOptions,
        base_url=row.base_url,
        key_variables=row.keys,
        catalog=name,
    )
