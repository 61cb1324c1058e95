"""Anthropic, and whoever else serves its Messages API."""

import msgspec

from providers.anthropic.answers import read_message, read_models
from providers.anthropic.errors import decode_error
from providers.anthropic.inspect import CountInspector, StreamInspector, WholeInspector
from providers.anthropic.stream import MessageDecoder
from providers.anthropic.upstream import write_messages
from providers.anthropic.wire import COUNT_TOKENS, MESSAGES, STREAM_TYPE
from providers.catalog import Vendor
from providers.errors import RequestRefused
from providers.framing.members import splice
from providers.http.adapter import HttpAdapter
from providers.plugin import Plugin
from providers.protocol import Adapter, ChatDecoder, Inspector, Sender
from providers.types import (
    ChatRequest,
    EmbeddingRequest,
    Embeddings,
    RelayRequest,
    Target,
    UpstreamRequest,
)

_PATHS = {MESSAGES: "/v1/messages", COUNT_TOKENS: "/v1/messages/count_tokens"}
_MODELS_PATH = "/v1/models?limit=1000"
_VERSION, _BETA = "anthropic-version", "anthropic-beta"
_OURS = frozenset({"x-api-key", "authorization", "content-type", _VERSION, _BETA})


class AnthropicOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider of Anthropic's wire may set.

    `version` is that of the API, for requests of clients that do not name one; `2026-10-21` is the other there is, and
    takes no sampling parameters. `beta` are features that are asked for with every request.
    Source: https://platform.claude.com/docs/en/api/versioning, read 2026-11.
    """

    version: str = "2023-06-01"
    beta: list[str] = []


class AnthropicDialect:
    """Anthropic's Messages API."""

    stream_type = STREAM_TYPE
    decode_error = staticmethod(decode_error)
    decode_chat = staticmethod(read_message)
    decode_models = staticmethod(read_models)

    def __init__(self, options: AnthropicOptions) -> None:
        self._options = options
        self._headers: dict[str | None, tuple[tuple[str, str], ...]] = {}

    def relays(self, target: Target) -> frozenset[str]:
        """Return what goes through unchanged: messages, and the count of their tokens."""
        del target
        return frozenset(_PATHS)

    def encode_chat(self, request: ChatRequest, target: Target) -> UpstreamRequest:
        """Return the request for an answer."""
        body, dropped = write_messages(request, model=target.model, version=self._options.version)
        asked = self._post(target, MESSAGES, msgspec.json.encode(body))
        return msgspec.structs.replace(asked, dropped=dropped)

    def chat_decoder(self) -> ChatDecoder:
        """Return a decoder for one streamed answer."""
        return MessageDecoder()

    def encode_embeddings(self, request: EmbeddingRequest, target: Target) -> UpstreamRequest:
        """Refuse: Anthropic has no embeddings."""
        del request, target
        raise _no_embeddings()

    def decode_embeddings(self, body: bytes) -> Embeddings:
        """Refuse: none were asked for."""
        del body
        raise _no_embeddings()

    def encode_relay(self, request: RelayRequest, target: Target) -> UpstreamRequest:
        """Return the request that carries the client's bytes."""
        put = dict(request.edits.put)
        if request.document.get("model") != target.model:
            put["model"] = msgspec.json.encode(target.model)
        if request.operation == MESSAGES and request.output_cap is not None:
            given = request.document.get("max_tokens")
            if not isinstance(given, int) or given > request.output_cap:
                put["max_tokens"] = b"%d" % request.output_cap
        body = request.body
        if put or request.edits.drop or request.edits.rename:
            body = splice(body, put=put, drop=request.edits.drop, rename=request.edits.rename)
        return self._post(target, request.operation, body, headers=request.headers)

    def inspector(self, request: RelayRequest) -> Inspector:
        """Return an inspector for the answer to `request`."""
        if request.operation == COUNT_TOKENS:
            return CountInspector()
        has_thread = bool(request.document.get("thread"))
        return StreamInspector(has_thread=has_thread) if request.stream else WholeInspector(has_thread=has_thread)

    def encode_models(self, target: Target) -> UpstreamRequest:
        """Return the request that lists the models, in one page."""
        return UpstreamRequest(method="GET", url=target.base_url + _MODELS_PATH, headers=self._headers_for(target))

    def _post(
        self, target: Target, operation: str, body: bytes, *, headers: tuple[tuple[str, str], ...] = ()
    ) -> UpstreamRequest:
        url = target.base_url + _PATHS[operation]
        return UpstreamRequest(method="POST", url=url, headers=self._headers_for(target, headers), body=body)

    def _headers_for(self, target: Target, passed: tuple[tuple[str, str], ...] = ()) -> tuple[tuple[str, str], ...]:
        """Return the headers; those without any of the client's are made once for each credential."""
        credential = target.credential.reveal() if target.credential else None
        if passed:
            return self._made(credential, dict(passed))
        found = self._headers.get(credential)
        if found is None:
            found = self._headers[credential] = self._made(credential, {})
        return found

    def _made(self, credential: str | None, passed: dict[str, str]) -> tuple[tuple[str, str], ...]:
        """Return the headers: the client's version wins, and its betas join those of the options."""
        asked = [name.strip() for name in passed.get(_BETA, "").split(",") if name.strip()]
        betas = list(dict.fromkeys([*asked, *self._options.beta]))
        ours = {
            "x-api-key": credential,
            "content-type": "application/json",
            _VERSION: passed.get(_VERSION) or self._options.version,
            _BETA: ",".join(betas) or None,
        }
        others = tuple((name, value) for name, value in passed.items() if name not in _OURS)
        return (*((name, value) for name, value in ours.items() if value is not None), *others)


def _no_embeddings() -> RequestRefused:
    return RequestRefused("Anthropic has no embeddings", status=400, code="unsupported_operation", param="model")


def anthropic_plugin(name: str, row: Vendor) -> Plugin:
    """Return the plug-in of a vendor that speaks Anthropic's wire."""

    def open_adapter(sender: Sender, options: msgspec.Struct) -> Adapter:
        chosen = options if isinstance(options, AnthropicOptions) else AnthropicOptions()
        return HttpAdapter(AnthropicDialect(chosen), sender)

    return Plugin(
        name=name,
        open=open_adapter,
        options=AnthropicOptions,
        base_url=row.base_url,
        key_variables=row.keys,
        catalog=name,
    )
