"""The wires of the vendors: what each is recorded to say, and how each says that something went wrong."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

from faults.dialects.wires import BINARY, CREDENTIAL, LINES, SSE, Wire, split

from providers.framing import eventstream
from providers.testing.cases import load_cases

CASES = Path(__file__).parents[2] / "wire"
SAYS = f"Incorrect API key provided: {CREDENTIAL}"
"""Words of a provider that quote its credential."""
_HEAD = {"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "gpt-x"}
_DONE = b"data: [DONE]\n\n"


def _recorded(folder: str, kind: str) -> dict[str, list[bytes]]:
    found = load_cases(CASES / folder / "cases" / "streams.json", stream_type=kind)
    return {case.name: split(case.answer, kind) for case in found}


def _whole(folder: str) -> bytes:
    return load_cases(CASES / folder / "cases" / "answers.json")[0].answer


def _chat_streams() -> dict[str, list[bytes]]:
    """Return OpenAI's own streams, whose cases are of an older form."""
    cases = json.loads((CASES / "openai" / "cases" / "streams.json").read_bytes())["cases"]
    return {
        case["name"]: [
            *(_sse(chunk) for chunk in case.get("before", [])),
            *(_sse({**_HEAD, **chunk}) for chunk in case["chunks"]),
            _DONE,
        ]
        for case in cases
    }


def _chat_whole() -> bytes:
    cases = json.loads((CASES / "openai" / "cases" / "answers.json").read_bytes())["cases"]
    return json.dumps(cases[0]["body"]).encode()


def _sse(value: Any, *, event: str | None = None) -> bytes:
    named = b"" if event is None else f"event: {event}\n".encode()
    return named + b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n"


def _line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def _exception(name: str, message: str) -> bytes:
    headers = {":message-type": "exception", ":exception-type": name, ":content-type": "application/json"}
    return eventstream.encode(headers, json.dumps({"message": message}).encode())


def _unknown_event() -> bytes:
    return eventstream.encode({":message-type": "event", ":event-type": "novelty"}, b'{"p":"abc"}')


def _huge_frame() -> bytes:
    """Return the beginning of a frame of more than 1 MiB, whose size stands in it."""
    lengths = struct.pack(">II", (1 << 20) + 1, 0)
    return lengths + struct.pack(">I", zlib.crc32(lengths)) + b"x" * 99


def _openai_error(message: str, *, kind: str = "server_error", code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _anthropic_error(kind: str, message: str = SAYS) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def _fault(kind: str, code: str, message: str = SAYS) -> dict[str, Any]:
    return {"kind": kind, "message": message, "code": code}


TOO_LONG = (
    f"The prompt is too long for {CREDENTIAL}: input is too long, too many tokens, token count 9 exceeds 8, "
    "maximum context length, `inputs` must have less than 8 tokens"
)
"""A refusal in the words of all vendors, which quotes the credential."""
_GARBAGE, _TORN = b"data: {not json\n\n", b'data: {"type":"content","choices":[{"index":0,"delta":{"con\n\n'
_EVENTS: dict[str, Any] = {
    "kind": SSE,
    "garbage": _GARBAGE,
    "torn": _TORN,
    "huge": b'data: {"type":"' + b"x" * (1 << 20),
    "noise": (b": a comment\n\n", b":\n\n", b"retry: 3000\n\n"),
}
_CHAT: dict[str, Any] = {
    **_EVENTS,
    "breaks": _sse(_openai_error(SAYS)),
    "limits": _sse(_openai_error("slow down", kind="requests", code="rate_limit_exceeded")),
    "refuses": _sse(_openai_error(TOO_LONG, kind="invalid_request_error", code="context_length_exceeded")),
    "refusal": lambda status, message: _openai_error(message, code="invalid_value" if status == 400 else None),
    "relays": ("chat",),
    "spares": (b"[DONE]",),
}
_OF_LINES: dict[str, Any] = {
    "kind": LINES,
    "garbage": b"{not json\n",
    "torn": b'{"type":"text","message":{"role":"assist\n',
    "huge": b'{"type":"' + b"x" * (4 << 20),
    "noise": (b"\n", b"\r\n"),
}

OPENAI = Wire(
    name="openai",
    said=2,
    settings={"adapter": "openai", "base_url": "/v1"},
    model="gpt-5.2",
    streams=_chat_streams(),
    whole=_chat_whole(),
    **_CHAT,
)
RESPONSES = Wire(
    name="responses",
    said=5,
    settings={"adapter": "openai", "base_url": "/v1", "chat_api": "responses", "serves": ["responses"]},
    model="gpt-5.2",
    streams=_recorded("responses", SSE),
    whole=_whole("responses"),
    breaks=_sse({"type": "error", "code": "server_error", "message": SAYS, "sequence_number": 9}, event="error"),
    limits=_sse(
        {
            "type": "response.failed",
            "response": {"id": "resp_1", "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "no"}},
        },
        event="response.failed",
    ),
    refuses=_sse({"type": "error", "code": "context_length_exceeded", "message": TOO_LONG}, event="error"),
    refusal=_CHAT["refusal"],
    relays=("responses",),
    unasked=("chat",),
    **_EVENTS,
)
ANTHROPIC = Wire(
    name="anthropic",
    said=4,
    settings={"adapter": "anthropic", "base_url": ""},
    model="claude-opus-4-6",
    streams=_recorded("anthropic", SSE),
    whole=_whole("anthropic"),
    breaks=_sse(_anthropic_error("overloaded_error"), event="error"),
    limits=_sse(_anthropic_error("rate_limit_error"), event="error"),
    refuses=_sse(_anthropic_error("invalid_request_error", TOO_LONG), event="error"),
    refusal=lambda status, message: _anthropic_error(
        {401: "authentication_error", 429: "rate_limit_error", 400: "invalid_request_error"}.get(status, "api_error"),
        message,
    ),
    relays=("messages",),
    **_EVENTS,
)
GEMINI = Wire(
    name="gemini",
    said=1,
    settings={"adapter": "gemini", "base_url": "/v1beta"},
    model="gemini-3-pro",
    streams=_recorded("gemini", SSE),
    whole=_whole("gemini"),
    breaks=_sse({"error": {"code": 503, "message": SAYS, "status": "UNAVAILABLE"}}),
    limits=_sse({"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}),
    refuses=_sse({"error": {"code": 400, "message": TOO_LONG, "status": "INVALID_ARGUMENT"}}),
    refusal=lambda status, message: {"error": {"code": status, "message": message, "status": "SOME"}},
    relays=("gemini", "gemini-array"),
    has_terminator=False,
    **_EVENTS,
)
BEDROCK = Wire(
    name="bedrock",
    said=2,
    settings={"adapter": "bedrock", "base_url": "", "region": "us-east-1"},
    model="amazon.nova-pro-v1:0",
    kind=BINARY,
    streams=_recorded("bedrock", BINARY),
    whole=_whole("bedrock"),
    breaks=_exception("modelStreamErrorException", SAYS),
    limits=_exception("throttlingException", "slow down"),
    refuses=_exception("validationException", TOO_LONG),
    garbage=b"\x00\x00\x00\x20\x00\x00\x00\x08broken checksum and no frame at all",
    huge=_huge_frame(),
    torn=eventstream.encode(
        {":message-type": "event", ":event-type": "contentBlockDelta"}, b'{"contentBlockIndex":0,"delta":{"te'
    ),
    noise=(_unknown_event(),),
    refusal=lambda status, message: {"message": message},
    spares=(b"metadata",),
)
COHERE = Wire(
    name="cohere",
    said=3,
    settings={"adapter": "cohere", "base_url": ""},
    model="command-a-03-2025",
    streams=_recorded("cohere", SSE),
    whole=_whole("cohere"),
    breaks=_sse({"type": "message-end", "delta": {"finish_reason": "ERROR", "error": SAYS}}),
    limits=None,
    refuses=_sse({"message": TOO_LONG}),
    refusal=lambda status, message: {"id": "1", "message": message},
    trailers=(b"[DONE]",),
    **_EVENTS,
)
OLLAMA = Wire(
    name="ollama",
    said=1,
    settings={"adapter": "ollama", "base_url": ""},
    model="llama3.3",
    streams=_recorded("ollama", LINES),
    whole=_whole("ollama"),
    breaks=_line({"error": SAYS}),
    limits=_line({"error": "too many requests"}),
    refuses=_line({"error": TOO_LONG}),
    refusal=lambda status, message: {"error": message},
    **_OF_LINES,
)
TGI = Wire(
    name="tgi",
    said=1,
    settings={"adapter": "tgi", "base_url": ""},
    model="tgi",
    streams=_recorded("tgi", SSE),
    whole=_whole("tgi"),
    breaks=_sse({"error": SAYS, "error_type": "generation"}),
    limits=_sse({"error": "Model is overloaded", "error_type": "overloaded"}),
    refuses=_sse({"error": TOO_LONG, "error_type": "validation"}),
    refusal=lambda status, message: {"error": message, "error_type": "some"},
    **_EVENTS,
)
MISTRAL = Wire(
    name="mistral",
    said=2,
    settings={"adapter": "mistral", "base_url": "/v1"},
    model="mistral-large-latest",
    streams=_recorded("mistral", SSE),
    whole=_whole("mistral"),
    **_CHAT,
)
NATIVE = Wire(
    name="native",
    said=2,
    settings={"adapter": "native", "base_url": ""},
    model="upstream",
    streams=_recorded("native", LINES),
    whole=_whole("native"),
    breaks=_line({"type": "error", "error": _fault("ProviderOverloaded", "upstream_error", "it broke")}),
    limits=_line({"type": "error", "error": _fault("ProviderRateLimited", "upstream_rate_limited")}),
    refuses=_line({"type": "error", "error": _fault("ContextTooLong", "context_length_exceeded", TOO_LONG)}),
    refusal=lambda status, message: {
        "error": _fault(
            {400: "ContextTooLong", 401: "CredentialRefused", 429: "ProviderRateLimited"}.get(
                status, "ProviderOverloaded"
            ),
            {400: "context_length_exceeded", 401: "upstream_auth_failed", 429: "upstream_rate_limited"}.get(
                status, "upstream_error"
            ),
            message,
        )
        | {"status": status}
    },
    **_OF_LINES,
)
VENDORS = (OPENAI, RESPONSES, ANTHROPIC, GEMINI, BEDROCK, COHERE, OLLAMA, TGI, MISTRAL, NATIVE)
