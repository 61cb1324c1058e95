"""Text Generation Inference by its own API, for servers that one runs oneself; it needs no key.

Its OpenAI-compatible API, at `/v1`, is the plain `openai` adapter's.
Source: https://huggingface.github.io/text-generation-inference, read 2026-11.
"""

import msgspec

from providers.catalog import Vendor
from providers.http.adapter import HttpAdapter
from providers.http.chat_only import ChatOnly
from providers.huggingface import answers, upstream
from providers.huggingface.errors import decode_error
from providers.huggingface.prompt import TEMPLATES, ChatTemplate, Template, raw_prompt
from providers.huggingface.stops import TrimmedStream, Trimmer
from providers.plugin import Plugin
from providers.protocol import Adapter, ChatDecoder, ChatStream, Sender
from providers.types import (
    ChatRequest,
    Target,
    UpstreamRequest,
)

_JSON = ("content-type", "application/json")


class TgiOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a TGI provider may set.

    `chat_template` is how a conversation becomes the one text that the server takes: `plain` is `User: …` and
    `Assistant: …` on lines of their own, which any model continues; the others are the forms that families of models
    were trained on. A text completion is sent as it is.
    """

    chat_template: ChatTemplate = "plain"


class TgiDialect(ChatOnly):
    """The server's own wire."""

    decode_error = staticmethod(decode_error)
    decode_chat = staticmethod(answers.read_completion)
    decode_models = staticmethod(answers.read_models)

    def __init__(self, template: Template) -> None:
        self._template = template

    def encode_chat(self, request: ChatRequest, target: Target) -> UpstreamRequest:
        """Return the request for an answer; the server has one model, so that none is named."""
        body, dropped = upstream.write_generate(request, template=self._template)
        path = "/generate_stream" if request.stream else "/generate"
        return UpstreamRequest(
            method="POST",
            url=target.base_url + path,
            headers=_headers(target),
            body=msgspec.json.encode(body),
            dropped=dropped,
        )

    def chat_decoder(self) -> ChatDecoder:
        """Return a decoder for one streamed answer."""
        return answers.TokenDecoder()

    def encode_models(self, target: Target) -> UpstreamRequest:
        """Return the request for the name of the model."""
        return UpstreamRequest(method="GET", url=f"{target.base_url}/info", headers=_headers(target))


def _headers(target: Target) -> tuple[tuple[str, str], ...]:
    """Return the headers; a key is for a proxy in front, or a hosted endpoint."""
    if target.credential is None:
        return (_JSON,)
    return (("authorization", f"Bearer {target.credential.reveal()}"), _JSON)


class TgiAdapter(HttpAdapter):
    """Calls the server, and tidies the ends of what it says."""

    def __init__(self, template: Template, sender: Sender) -> None:
        super().__init__(TgiDialect(template), sender)
        self._template = template

    async def chat(self, request: ChatRequest, target: Target) -> ChatStream:
        """Open an answer as canonical events."""
        stream = await super().chat(request, target)
        stops = upstream.stops_of(request, template=self._template)
        return TrimmedStream(stream, Trimmer(stops, strips=raw_prompt(request) is None))


def tgi_plugin(name: str, row: Vendor) -> Plugin:
    """Return the plug-in of Text Generation Inference."""

    def open_adapter(sender: Sender, options: msgspec.Struct) -> Adapter:
        chosen = options if isinstance(options, TgiOptions) else TgiOptions()
        return TgiAdapter(TEMPLATES[chosen.chat_template], sender)

    return Plugin(
        name=name,
        open=open_adapter,
        options=TgiOptions,
        base_url=row.base_url,
        key_variables=row.keys,
        needs_key=row.quirks.auth != "optional",
        catalog=name,
    )
