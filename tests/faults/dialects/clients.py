"""Clients of every dialect: how each asks, and what it may read in an answer, an error and a stream that breaks."""

import json
import re
from collections.abc import Callable
from typing import Any, NamedTuple

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_END = re.compile(rb"\r\n|\n|\r")
_TYPES = {
    400: "invalid_request_error",
    429: "rate_limit_error",
    502: "upstream_error",
    503: "server_error",
    504: "upstream_error",
}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    429: "rate_limit_error",
    502: "api_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_GOOGLE_STATUSES = {
    400: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class Failure(NamedTuple):
    """What went wrong, as every dialect must say it: an HTTP status, or what it would have been, and a code."""

    status: int
    code: str


class Client(NamedTuple):
    """One dialect, streamed in one framing.

    `ask` makes the body of a prompt, `path` where it goes. `check_error` checks the body of an error, `check_late` the
    frames that end a stream that broke. `ends` are parts of frames of which one ends a complete answer.
    """

    name: str
    path: Callable[[str, bool], str]
    ask: Callable[[str, str, bool], dict[str, Any]]
    check_error: Callable[[dict[str, Any], Failure], None]
    check_late: Callable[[list[Any], Failure], None]
    late_frames: int
    ends: tuple[str, ...]
    is_array: bool = False

    def frames(self, body: bytes) -> list[Any]:
        """Return what a stream holds so far, decoded; `[DONE]` as it is, and comments left out."""
        if self.is_array:
            return _elements(body)
        found = [_data_of(frame) for frame in _EVENT_END.split(body)]
        return [data if data == "[DONE]" else json.loads(data) for data in found if data is not None]

    def is_whole(self, body: bytes) -> bool:
        """Whether a stream says that nothing is missing."""
        if self.is_array:
            return body.endswith(b"]")
        frames = self.frames(body)
        return bool(frames) and any(end in json.dumps(frames[-1]) for end in self.ends)


def _data_of(frame: bytes) -> str | None:
    lines = [line for line in _LINE_END.split(frame) if line.startswith(b"data:")]
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines).decode() if lines else None


def _elements(body: bytes) -> list[Any]:
    """Return the elements of an array that may not be closed."""
    text = body.decode()
    if not text:
        return []
    found: list[Any] = json.loads(text if text.endswith("]") else text + "]")
    return found


# --- OpenAI, and the gateway's own dialect


def _messages(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text}]


def _ask_chat(model: str, text: str, stream: bool) -> dict[str, Any]:
    body: dict[str, Any] = {"model": model, "messages": _messages(text)}
    return body | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})


def _ask_llm(model: str, text: str, stream: bool) -> dict[str, Any]:
    return {"model": model, "messages": _messages(text), "stream": stream}


def _ask_responses(model: str, text: str, stream: bool) -> dict[str, Any]:
    return {"model": model, "input": text, "store": False, "stream": stream}


def _check_openai(body: dict[str, Any], failure: Failure) -> None:
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str)
    assert error["message"]
    assert (error["type"], error["code"]) == (_TYPES[failure.status], failure.code)


def _check_late_chat(frames: list[Any], failure: Failure) -> None:
    _check_openai(frames[-1], failure)


def _check_late_llm(frames: list[Any], failure: Failure) -> None:
    last = dict(frames[-1])
    assert last.pop("type") == "error"
    _check_openai(last, failure)


def _check_late_response(frames: list[Any], failure: Failure) -> None:
    error, failed = frames[-2:]
    assert (error["type"], error["code"], error["error"]["code"]) == ("error", failure.code, failure.code)
    assert failed["type"] == "response.failed"
    response = failed["response"]
    assert (response["object"], response["status"]) == ("response", "failed")
    assert response["error"]["code"] in {"server_error", "rate_limit_exceeded", "invalid_prompt"}
    numbers = [frame["sequence_number"] for frame in frames if "sequence_number" in frame]
    assert numbers == sorted(set(numbers)), "the events are not numbered in their order"


# --- Anthropic


def _ask_anthropic(model: str, text: str, stream: bool) -> dict[str, Any]:
    return {"model": model, "max_tokens": 99, "messages": _messages(text), "stream": stream}


def _check_anthropic(body: dict[str, Any], failure: Failure) -> None:
    assert set(body) == {"type", "error", "request_id"}
    assert body["type"] == "error"
    error = body["error"]
    assert set(error) == {"type", "message", "details"}
    assert (error["type"], error["details"]["error_code"]) == (_ANTHROPIC_TYPES[failure.status], failure.code)
    assert error["message"]


def _check_late_anthropic(frames: list[Any], failure: Failure) -> None:
    _check_anthropic(frames[-1], failure)


# --- Google


def _path_of_google(model: str, stream: bool) -> str:
    return f"/v1beta/models/{model}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"


def _path_of_array(model: str, stream: bool) -> str:
    return _path_of_google(model, stream).partition("?")[0]


def _ask_google(model: str, text: str, stream: bool) -> dict[str, Any]:
    del model, stream
    return {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def _check_google(body: dict[str, Any], failure: Failure) -> None:
    assert set(body) == {"error"}
    error = body["error"]
    assert (error["code"], error["status"]) == (failure.status, _GOOGLE_STATUSES[failure.status])
    assert error["message"]
    assert failure.code.upper() in [detail.get("reason") for detail in error["details"]]


def _check_late_google(frames: list[Any], failure: Failure) -> None:
    _check_google(frames[-1], failure)


_GOOGLE: dict[str, Any] = {
    "ask": _ask_google,
    "check_error": _check_google,
    "check_late": _check_late_google,
    "late_frames": 1,
    "ends": ('"finishReason"', '"blockReason"'),
}
CHAT = Client(
    "chat",
    path=lambda model, stream: "/v1/chat/completions",
    ask=_ask_chat,
    check_error=_check_openai,
    check_late=_check_late_chat,
    late_frames=1,
    ends=("[DONE]",),
)
RESPONSES = Client(
    "responses",
    path=lambda model, stream: "/v1/responses",
    ask=_ask_responses,
    check_error=_check_openai,
    check_late=_check_late_response,
    late_frames=2,
    ends=('"response.completed"', '"response.incomplete"'),
)
MESSAGES = Client(
    "messages",
    path=lambda model, stream: "/v1/messages",
    ask=_ask_anthropic,
    check_error=_check_anthropic,
    check_late=_check_late_anthropic,
    late_frames=1,
    ends=('"message_stop"',),
)
GEMINI = Client("gemini", path=_path_of_google, **_GOOGLE)
GEMINI_ARRAY = Client("gemini-array", path=_path_of_array, is_array=True, **_GOOGLE)
LLM = Client(
    "llm",
    path=lambda model, stream: "/v1/llm/chat",
    ask=_ask_llm,
    check_error=_check_openai,
    check_late=_check_late_llm,
    late_frames=1,
    ends=("[DONE]", '"finished"'),
)
CLIENTS = (CHAT, RESPONSES, MESSAGES, GEMINI, GEMINI_ARRAY, LLM)
UNSTREAMED = (CHAT, RESPONSES, MESSAGES, GEMINI, LLM)
