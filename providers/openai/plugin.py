"""OpenAI, and every vendor that speaks its wire."""

from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from providers.catalog import Quirks, Vendor
from providers.errors import RequestRefused
from providers.framing.members import splice
from providers.http.adapter import HttpAdapter
from providers.openai import media, mistral, upstream
from providers.openai.chunks import ChunkDecoder
from providers.openai.errors import decode_error
from providers.openai.foreign import needs_responses
from providers.openai.inspect import StreamInspector, WholeInspector
from providers.openai.inspect_media import media_inspector
from providers.openai.messages import unsealed_messages
from providers.openai.responses import relay
from providers.openai.responses.decoder import EventDecoder
from providers.openai.responses.upstream import read_response, write_response
from providers.openai.responses.wire import DIALECT as RESPONSES_SIGNER
from providers.openai.responses.wire import PATH, RESPONSES
from providers.openai.wire import CHAT, COMPLETIONS, DIALECT, EMBEDDINGS
from providers.plugin import Plugin
from providers.protocol import Adapter, ChatDecoder, Dialect, Inspector, Sender
from providers.signatures import holds_seal
from providers.types import (
    NO_WIRE_FIELDS,
    ChatRequest,
    Completion,
    EmbeddingRequest,
    Embeddings,
    RelayRequest,
    Target,
    UpstreamRequest,
)

_PATHS = {
    CHAT: "/chat/completions",
    EMBEDDINGS: "/embeddings",
    COMPLETIONS: "/completions",
    RESPONSES: PATH,
    **media.PATHS,
}
Endpoint = Literal["responses", "completions"]
ChatApi = Literal["chat", "responses"]
ChosenApi = Literal["auto", "chat", "responses"]
_ALWAYS = frozenset({CHAT, EMBEDDINGS}) | media.OPERATIONS
_JSON = ("content-type", "application/json")
_CAPS = ("max_tokens", "max_completion_tokens")


class OpenAIOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an OpenAI-compatible provider may set: the organisation and project that are billed, and what it serves.

    `serves` says which of `/responses` and `/completions` a server has; requests to the others are said as chat
    completions. By default a vendor's own address has what its documentation says, and any other address neither.
    `chat_api` is where requests of other dialects go: to `/chat/completions`, to `/responses`, or, by default, to the
    latter where OpenAI's own models are to think, since only there they show it and go on from it with tools.
    """

    organization: str | None = None
    project: str | None = None
    serves: frozenset[Endpoint] | None = None
    chat_api: ChosenApi = "auto"


class OpenAIDialect:
    """OpenAI's wire with a vendor's quirks."""

    stream_type = "text/event-stream"
    decode_error = staticmethod(decode_error)

    def __init__(
        self,
        quirks: Quirks,
        fixed_headers: tuple[tuple[str, str], ...] = (),
        *,
        home: str | None = None,
        serves: frozenset[Endpoint] | None = None,
        chat_api: ChatApi = "chat",
        signer: str = RESPONSES_SIGNER,
    ) -> None:
        """Make a dialect; `fixed_headers` go with every request, `home` is the vendor's own address.

        `serves` are the endpoints that the operator says there are, in place of the quirks'; `chat_api` is the one that
        canonical requests go to, and `signer` whose signatures the reasoning of its responses has.
        """
        self._quirks = quirks
        self._elsewhere = msgspec.structs.replace(quirks, is_openai=False)
        self._home = home
        self._serves = serves
        self._chat_api = chat_api
        self._signer = signer
        self._fixed = (*fixed_headers, *((name.lower(), value) for name, value in quirks.headers.items()))
        self._headers: dict[str | None, tuple[tuple[str, str], ...]] = {}

    def relays(self, target: Target) -> frozenset[str]:
        """Return what goes through unchanged: all that has one wire only, and what this server is known to serve."""
        serves = self._serves
        if serves is None:
            serves = self._quirks.serves if self._is_home(target) else frozenset()
        stored = relay.STORED if "responses" in serves and self._quirks.keeps_responses else frozenset()
        return _ALWAYS | {f"{DIALECT}.{endpoint}" for endpoint in serves} | stored

    def _is_home(self, target: Target) -> bool:
        """Whether the target is the vendor itself, and not another server that speaks its wire."""
        return self._home in {None, target.base_url} or self._quirks.auth == "optional"

    def prefers_responses(self, request: ChatRequest, target: Target) -> bool:
        """Whether a request of another dialect is better asked of `/responses`, where the target has that."""
        if not self._quirks.is_openai or RESPONSES not in self.relays(target):
            return False
        return needs_responses(request, model=target.model)

    def encode_chat(self, request: ChatRequest, target: Target) -> UpstreamRequest:
        """Return the request for an answer."""
        quirks = self._quirks if self._is_home(target) else self._elsewhere
        if self._chat_api == "responses":
            body, dropped = write_response(request, model=target.model, quirks=quirks, signer=self._signer)
            body |= {"stream": True} if request.stream else {}
            return self._post(target, RESPONSES, msgspec.json.encode(body), dropped=dropped)
        body, dropped = upstream.write_chat(request, model=target.model, quirks=quirks)
        if self._quirks.stream_usage == "always":
            body.pop("stream_options", None)
        if request.stream:
            body["stream"] = True
            if self._quirks.stream_usage == "include_usage":
                body["stream_options"] = {**body.get("stream_options", {}), "include_usage": True}
        return self._post(target, CHAT, msgspec.json.encode(body), dropped=dropped)

    def decode_chat(self, body: bytes) -> Completion:
        """Read an answer that was not streamed."""
        if self._chat_api == "responses":
            return read_response(body, signer=self._signer)
        return upstream.read_completion(body)

    def chat_decoder(self) -> ChatDecoder:
        """Return a decoder for one streamed answer."""
        return EventDecoder(signer=self._signer) if self._chat_api == "responses" else ChunkDecoder()

    def encode_embeddings(self, request: EmbeddingRequest, target: Target) -> UpstreamRequest:
        """Return the request for embeddings."""
        body = upstream.write_embeddings(request, model=target.model)
        dropped = mistral.rename_embedding_fields(body) if self._quirks.words == "mistral" else ()
        return self._post(target, EMBEDDINGS, msgspec.json.encode(body), dropped=dropped)

    def decode_embeddings(self, body: bytes) -> Embeddings:
        """Read embeddings."""
        return upstream.read_embeddings(body)

    def encode_relay(self, request: RelayRequest, target: Target) -> UpstreamRequest:
        """Return the request that carries the client's bytes."""
        if request.operation in media.OPERATIONS:
            return self._relay_media(request, target)
        if request.operation in relay.OPERATIONS:
            return self._relay_response(request, target)
        put, drop, rename = dict(request.edits.put), request.edits.drop, dict(request.edits.rename)
        if request.document.get("model") != target.model:
            put["model"] = msgspec.json.encode(target.model)
        if request.operation == CHAT and holds_seal(request.body):
            messages = msgspec.json.decode(put["messages"]) if "messages" in put else request.document["messages"]
            put["messages"] = msgspec.json.encode(unsealed_messages(messages, signs=self._quirks.signs))
        if request.stream:
            put |= self._ask_for_usage(request)
        if "stream_options" in request.document and self._quirks.stream_usage == "always":
            drop |= {"stream_options"}
        if "max_completion_tokens" in self._quirks.unsupported and "max_completion_tokens" in request.document:
            rename["max_completion_tokens"] = "max_tokens"
        if request.output_cap is not None:
            put |= self._cap_output(request, request.output_cap, rename=rename)
        body = request.body
        if put or drop or rename:
            body = splice(body, put=put, drop=drop, rename=rename)
        return self._post(target, request.operation, body)

    def _relay_media(self, request: RelayRequest, target: Target) -> UpstreamRequest:
        """Return the request for what is no chat; a form keeps its own content type."""
        headers = self._headers_for(target)
        if media.is_form(request):
            headers = tuple((name, request.content_type if name == _JSON[0] else value) for name, value in headers)
        return UpstreamRequest(
            method="POST",
            url=self.url(target, _PATHS[request.operation]),
            headers=headers,
            body=media.edited(request, model=target.model),
            answer_types=media.answer_types(request),
        )

    def _relay_response(self, request: RelayRequest, target: Target) -> UpstreamRequest:
        """Return the request for a response, or for one that the vendor has stored."""
        method, path = relay.place_of(request)
        body = relay.edited(request, model=target.model, keeps=self._quirks.keeps_responses)
        return UpstreamRequest(method=method, url=self.url(target, path), headers=self._headers_for(target), body=body)

    def _ask_for_usage(self, request: RelayRequest) -> dict[str, bytes]:
        if request.keep_usage or self._quirks.stream_usage != "include_usage":
            return {}
        given = request.document.get("stream_options") or {}
        return {"stream_options": msgspec.json.encode({**given, "include_usage": True})}

    def _cap_output(self, request: RelayRequest, cap: int, *, rename: Mapping[str, str]) -> dict[str, bytes]:
        """Return the cap in the fields that the client used, or in the one that the vendor prefers."""
        given = {name: request.document[name] for name in _CAPS if request.document.get(name) is not None}
        if not given:
            fields = {CHAT: self._quirks.max_tokens_field, COMPLETIONS: "max_tokens"}
            return {fields[request.operation]: b"%d" % cap} if request.operation in fields else {}
        return {rename.get(name, name): b"%d" % cap for name, tokens in given.items() if not 0 < tokens <= cap}

    def inspector(self, request: RelayRequest) -> Inspector:
        """Return an inspector for the answer to `request`."""
        if request.operation in media.OPERATIONS:
            return media_inspector(request)
        if request.operation in relay.OPERATIONS:
            return relay.response_inspector(request)
        return StreamInspector(keep_usage=request.keep_usage) if request.stream else WholeInspector()

    def encode_models(self, target: Target) -> UpstreamRequest:
        """Return the request that lists the models."""
        if not self._quirks.models_path:
            raise RequestRefused("this provider does not list its models", status=404)
        url = self.url(target, self._quirks.models_path)
        return UpstreamRequest(method="GET", url=url, headers=self._headers_for(target))

    def decode_models(self, body: bytes) -> list[str]:
        """Read the names of the models."""
        return upstream.read_models(body)

    def url(self, target: Target, path: str) -> str:
        """Return where `path` is served."""
        return target.base_url + path

    def credential_header(self, credential: str) -> tuple[str, str]:
        """Return the header that carries the key."""
        return ("api-key", credential) if self._quirks.auth == "api-key" else ("authorization", f"Bearer {credential}")

    def _post(self, target: Target, operation: str, body: bytes, *, dropped: tuple[str, ...] = ()) -> UpstreamRequest:
        url = self.url(target, _PATHS[operation])
        return UpstreamRequest(method="POST", url=url, headers=self._headers_for(target), body=body, dropped=dropped)

    def _headers_for(self, target: Target) -> tuple[tuple[str, str], ...]:
        """Return the headers, made once for each credential so that the transport can keep their bytes."""
        credential = target.credential.reveal() if target.credential else None
        headers = self._headers.get(credential)
        if headers is None:
            key = () if credential is None else (self.credential_header(credential),)
            headers = self._headers[credential] = (*key, _JSON, *self._fixed)
        return headers


class OpenAIAdapter(HttpAdapter):
    """Calls a provider by chat completions or by responses, whichever suits a request better."""

    def __init__(self, chat: OpenAIDialect, responses: OpenAIDialect, sender: Sender) -> None:
        super().__init__(chat, sender)
        self._chat = chat
        self._responses = responses

    def dialect_for(self, request: ChatRequest, target: Target) -> Dialect:
        """Return the words in which a request is asked: those of chat completions for what is added to them."""
        prefers = request.wire is NO_WIRE_FIELDS and self._chat.prefers_responses(request, target)
        return self._responses if prefers else self._chat


def open_openai(sender: Sender, *, chat_api: ChosenApi, make: Callable[[ChatApi], OpenAIDialect]) -> Adapter:
    """Return the adapter that asks as `chat_api` says; `make` returns the dialect for one way to ask."""
    if chat_api == "auto":
        return OpenAIAdapter(make("chat"), make("responses"), sender)
    return HttpAdapter(make(chat_api), sender)


def openai_plugin(name: str, row: Vendor) -> Plugin:
    """Return the plug-in of a vendor that speaks OpenAI's wire."""

    def open_adapter(sender: Sender, options: msgspec.Struct) -> Adapter:
        chosen = options if isinstance(options, OpenAIOptions) else OpenAIOptions()

        def make(chat_api: ChatApi) -> OpenAIDialect:
            return OpenAIDialect(
                row.quirks,
                _organization_headers(chosen),
                home=row.base_url,
                serves=chosen.serves,
                chat_api=chat_api,
                signer=RESPONSES_SIGNER if row.quirks.is_openai else f"{RESPONSES_SIGNER}.{name}",
            )

        return open_openai(sender, chat_api=chosen.chat_api, make=make)

    return Plugin(
        name=name,
        open=open_adapter,
        options=OpenAIOptions,
        base_url=row.base_url,
        key_variables=row.keys,
        needs_key=row.quirks.auth != "optional",
        catalog=name,
    )


def _organization_headers(options: OpenAIOptions) -> tuple[tuple[str, str], ...]:
    pairs = (("openai-organization", options.organization), ("openai-project", options.project))
    return tuple((name, value) for name, value in pairs if value is not None)
