"""What goes over the native wire, version 1. Law: additions only; what an older reader does not know, it leaves out.

    GET  /native/v1/                   → Introduction
    GET  /native/v1/models             → {"models": ["name", …]}
    POST /native/v1/chat               ChatAsk → Completion, or, streamed, events and their end, one a line
    POST /native/v1/embeddings         EmbeddingAsk → Embeddings
    POST /native/v1/relay/{operation}  a line with a RelayAsk, then the client's bytes as they are → Relayed, or,
                                       streamed, Relayed and its end, one a line

An answer that is no success is a `Refusal`; so is a line of a stream that breaks (`Failed`). A stream without its `End`
was cut. What an answer's head tells of the provider's own is in one header, for it is known before the body.
"""

import json
from typing import Any, Literal

import msgspec

from providers.errors import BadAnswer
from providers.framing import ndjson
from providers.native.errors import Fault
from providers.stream import OPAQUE_PART
from providers.types import (
    ChatEvent,
    ChatRequest,
    EmbeddingRequest,
    Headers,
    Part,
    RelayRequest,
    TextDelta,
    Timeouts,
    Usage,
)

PROTOCOL = 1
ROOT = "/native/v1/"
CHAT, EMBEDDINGS, MODELS, RELAY = f"{ROOT}chat", f"{ROOT}embeddings", f"{ROOT}models", f"{ROOT}relay/"
JSON_TYPE = "application/json"
LINES_TYPE = "application/x-ndjson"
RELAY_TYPE = "application/octet-stream"
TOLD_HEADER = "native-answer"
MAX_LINE_BYTES = 4 << 20
"""The longest line: a frame of a provider is at most 1 MiB, and in base64 a third longer."""
_MAX_TOLD_BYTES = 8 << 10


class Introduction(msgspec.Struct, frozen=True, kw_only=True):
    """Who answers: the version of the wire, the adapter, and what it relays (a provider's `relays` in the file)."""

    protocol: int
    adapter: str
    relays: list[str]


class Models(msgspec.Struct, frozen=True, kw_only=True):
    """The names of the models that the provider serves."""

    models: list[str]


class _Ask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all requests have: the upstream `model`, and the clocks of the upstream call."""

    model: str
    timeouts: Timeouts = Timeouts()


class ChatAsk(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A conversation to continue."""

    request: ChatRequest


class EmbeddingForm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An `EmbeddingRequest` with a type that JSON can be read as: a union of two lists cannot."""

    model: str
    input: list[str | list[int]]
    dialect: str
    dimensions: int | None = None
    encoding: Literal["float", "base64"] = "float"
    user: str | None = None
    extras: dict[str, Any] = {}


class EmbeddingAsk(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Inputs to embed."""

    request: EmbeddingForm


class RelayAsk(_Ask, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to relay; its `body` is empty, and so is its `document` where that is the body, decoded."""

    request: RelayRequest


class Relayed(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="data"):
    """Bytes that may be passed on, in base64, and what the inspector knows once they have passed."""

    data: bytes = b""
    usage: Usage | None = None
    has_content: bool = False
    is_finished: bool = False
    output_tokens_seen: int = 0
    issued: list[str] = []


class End(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="end"):
    """The stream is complete."""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """The stream broke."""

    error: Fault


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of the provider's answer before its body: its headers, and what the provider was not told."""

    headers: dict[str, str] = {}
    dropped: tuple[str, ...] = ()


_encode = msgspec.json.Encoder().encode
_events: msgspec.json.Decoder[ChatEvent | End | Failed] = msgspec.json.Decoder(ChatEvent | End | Failed)
_relayed: msgspec.json.Decoder[Relayed | End | Failed] = msgspec.json.Decoder(Relayed | End | Failed)
_decode_told = msgspec.json.Decoder(Told).decode
_decode_embedding_ask = msgspec.json.Decoder(EmbeddingAsk).decode
_decode_relay_ask = msgspec.json.Decoder(RelayAsk).decode

# --- Requests

read_chat = msgspec.json.Decoder(ChatAsk).decode


def read_embeddings(body: bytes) -> tuple[EmbeddingAsk, EmbeddingRequest]:
    """Return what asks for embeddings, and the request in it. Raises `DecodeError`."""
    ask = _decode_embedding_ask(body)
    if len({isinstance(item, str) for item in ask.request.input}) > 1:
        raise msgspec.ValidationError("Expected only texts, or only lists of tokens - at `$.request.input`")
    return ask, EmbeddingRequest(**msgspec.structs.asdict(ask.request))


def write_relay(request: RelayRequest, *, model: str, timeouts: Timeouts) -> bytes:
    """Return the body that asks for a relay."""
    is_json = request.content_type == JSON_TYPE
    head = msgspec.structs.replace(request, body=b"", document={} if is_json else request.document)
    return ndjson.encode(_encode(RelayAsk(request=head, model=model, timeouts=timeouts))) + request.body


def read_relay(body: bytes) -> RelayAsk:
    """Read what `write_relay` wrote. Raises `DecodeError`."""
    end = body.find(b"\n")
    if end < 0:
        raise msgspec.DecodeError("the line that says what to relay does not end")
    ask = _decode_relay_ask(body[:end])
    sent = body[end + 1 :]
    document = ask.request.document
    if ask.request.content_type == JSON_TYPE and sent:
        document = msgspec.json.decode(sent, type=dict[str, Any])
    request = msgspec.structs.replace(ask.request, body=sent, document=document)
    return msgspec.structs.replace(ask, request=request)


# --- Streams


def write_line(value: ChatEvent | Relayed | End | Failed) -> bytes:
    """Return one line of a stream."""
    return ndjson.encode(_encode(value))


def read_event(line: bytes) -> ChatEvent | End | Failed:
    """Read one line of a streamed chat. Raises `BadAnswer`."""
    try:
        event = _events.decode(line)
        if isinstance(event, TextDelta) and OPAQUE_PART in event.extras:
            part = msgspec.convert(event.extras[OPAQUE_PART], Part)
            return msgspec.structs.replace(event, extras={**event.extras, OPAQUE_PART: part})
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("the adapter sent a line that is no event") from None
    return event


def read_relayed(line: bytes) -> Relayed | End | Failed:
    """Read one line of a relayed stream, or a whole relayed answer. Raises `BadAnswer`."""
    try:
        return _relayed.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("the adapter sent a line that holds no relayed bytes") from None


class Lines:
    """Cuts a streamed answer into lines."""

    __slots__ = ("_splitter",)

    def __init__(self) -> None:
        self._splitter = ndjson.LineSplitter(MAX_LINE_BYTES)

    def split(self, data: bytes) -> list[bytes]:
        """Return the complete lines that `data` brings. Raises `BadAnswer` for one that is too long."""
        try:
            return self._splitter.split(data)
        except ndjson.LineTooLarge:
            raise BadAnswer("the adapter sent a line of more than 4 MiB", code="upstream_too_large") from None


# --- Heads


def write_told(headers: Headers, *, dropped: tuple[str, ...]) -> str:
    """Return the header that tells of the provider's answer, in ASCII; of too much only as much as fits."""
    names = list(dropped)
    while names and len(json.dumps(names)) > _MAX_TOLD_BYTES // 2:
        names.pop()
    text = json.dumps({"headers": dict(headers), "dropped": names})
    if len(text) <= _MAX_TOLD_BYTES:
        return text
    kept = {name: value for name, value in headers.items() if name == "content-type"}
    return json.dumps({"headers": kept, "dropped": names})


def read_told(headers: Headers) -> Told:
    """Read what a head tells of the provider's answer; nothing if it tells nothing."""
    try:
        return _decode_told(headers.get(TOLD_HEADER, "{}"))
    except (msgspec.MsgspecError, RecursionError):
        return Told()
