"""Canonical answers, said to a client in the Responses dialect.

Source: https://platform.openai.com/docs/api-reference/responses/object, read 2026-11.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from providers.answers import fields, objects
from providers.framing import sse
from providers.openai.responses.growing import Event
from providers.openai.responses.output import OutputBuilder
from providers.openai.responses.tools import flat_name, names_in
from providers.openai.responses.wire import COMPLETED, FAILED, INCOMPLETE, write_usage
from providers.stream import replay
from providers.types import ChatEvent, Completion, Finished, FinishReason, Started, Usage, UsageReported

_INCOMPLETE: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "safety_identifier",
    "temperature",
    "top_logprobs",
    "top_p",
    "user",
)
_CODES = {
    "rate_limit_exceeded": "rate_limit_exceeded",
    "upstream_rate_limited": "rate_limit_exceeded",
    "context_length_exceeded": "invalid_prompt",
    "content_policy_violation": "invalid_prompt",
    "upstream_invalid_request": "invalid_prompt",
}
_OTHER_CODE = "server_error"


def response_id(answer_id: str) -> str:
    """Return the id of the response that says the answer of this id."""
    return answer_id if answer_id.startswith("resp_") else f"resp_{answer_id}"


def render_response(
    completion: Completion,
    *,
    document: Mapping[str, Any],
    model: str,
    id: str | None = None,  # noqa: A002 - the wire's word
) -> dict[str, Any]:
    """Return a whole response, its items in `output`; it repeats part of `document`, the request that it answers.

    `model` is the name that the client asked for, `id` the response's id if it is not to be made from the answer's.
    """
    answer = ResponseAnswer(document=document, model=model, id=id)
    for event in replay(completion):
        answer.feed(event)
    answer.finish()
    return answer.response


class ResponseAnswer:
    """One response as it grows: takes canonical events, says them as typed ones without their numbers.

    `response` is the whole of it after `finish`.
    """

    __slots__ = ("_builder", "_custom_names", "_id", "_reason", "_spaces", "response", "usage")

    def __init__(self, *, document: Mapping[str, Any], model: str, id: str | None = None) -> None:  # noqa: A002 - the wire's word
        self._id = id
        self._custom_names = _custom_names(document)
        self._spaces = names_in(document)
        self._builder = OutputBuilder(seed="")
        self._reason: FinishReason = "other"
        self.response = _echo(document, model)
        self.usage: Usage | None = None

    def feed(self, event: ChatEvent) -> list[Event]:
        """Return the events that say `event`. Only the first of several answers has a place here."""
        match event:
            case Started():
                return self._start(event)
            case UsageReported():
                self.usage = event.usage
                return []
            case Finished():
                return self._end(event) if event.choice == 0 else []
            case _:
                return self._builder.feed(event) if event.choice == 0 else []

    def _start(self, event: Started) -> list[Event]:
        self.response["id"] = self._id or response_id(event.id)
        self.response["created_at"] = event.created
        seed = str(self.response["id"]).removeprefix("resp_")
        self._builder = OutputBuilder(seed=seed, custom_names=self._custom_names, spaces=self._spaces)
        first = {"response": {**self.response, "output": []}}
        return [{"type": "response.created", **first}, {"type": "response.in_progress", **first}]

    def _end(self, event: Finished) -> list[Event]:
        self._reason = event.reason
        return self._builder.close("incomplete" if event.reason in _INCOMPLETE else "completed")

    def finish(self) -> list[Event]:
        """Return the event that ends a complete answer: completed, or incomplete."""
        reason = _INCOMPLETE.get(self._reason)
        self.response |= {
            "status": "incomplete" if reason else "completed",
            "incomplete_details": {"reason": reason} if reason else None,
            "output": self._builder.output,
            "usage": None if self.usage is None else write_usage(self.usage),
        }
        return [{"type": INCOMPLETE if reason else COMPLETED, "response": self.response}]


class EventRenderer:
    """Renders the events of one answer as the typed events of a response, each a server-sent event with its number.

    `response` is the response as it stands; after `finish` it is whole, its items in `output`.
    """

    __slots__ = ("_answer", "_number")

    def __init__(self, *, document: Mapping[str, Any], model: str, id: str | None = None) -> None:  # noqa: A002 - the wire's word
        self._answer = ResponseAnswer(document=document, model=model, id=id)
        self._number = 0

    @property
    def response(self) -> dict[str, Any]:
        """The response as it stands."""
        return self._answer.response

    def feed(self, event: ChatEvent) -> bytes:
        """Return the frames that say `event`: perhaps none."""
        return self._encode(self._answer.feed(event))

    def finish(self) -> bytes:
        """Return the frame that ends a complete answer."""
        return self._encode(self._answer.finish())

    def fail(self, code: str, message: str, *, param: str | None) -> bytes:
        """Return the frames that end an answer which broke."""
        return self._encode(_failure(self.response, code, message, param=param))

    def _encode(self, events: list[Event]) -> bytes:
        first = self._number
        self._number += len(events)
        return b"".join([_frame(event, first + place) for place, event in enumerate(events)])


def _frame(event: Event, number: int) -> bytes:
    data = msgspec.json.encode({**event, "sequence_number": number})
    return sse.encode(data, event=event["type"].encode())


def render_failure(
    code: str,
    message: str,
    *,
    param: str | None,
    id: str,  # noqa: A002 - the wire's word
    first: int = 0,
    is_stored: bool = False,
) -> bytes:
    """Return the frames of an answer that broke and of which nothing is known but its id and their first number.

    `is_stored` is whether its vendor may have stored it.
    """
    events = _failure({**_echo({"store": is_stored}, ""), "id": id}, code, message, param=param)
    return b"".join([_frame(event, number) for number, event in enumerate(events, first)])


def _failure(response: dict[str, Any], code: str, message: str, *, param: str | None) -> list[Event]:
    """Return the end of an answer that broke: an `error` event, and the response as failed.

    The SDKs raise at the error; agents that read events themselves wait for the failed response.
    """
    said = {"code": code, "message": message, "param": param}
    error = {"type": "error", **said, "error": {"type": _OTHER_CODE, **said}}
    failure = {"code": _CODES.get(code, _OTHER_CODE), "message": message}
    return [error, {"type": FAILED, "response": {**response, "status": "failed", "error": failure}}]


def _custom_names(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the custom tools of a request, as they are known to providers."""
    spaces = [(None, objects(document.get("tools")))]
    spaces += [(space.get("name"), objects(space.get("tools"))) for _, tools in spaces[:1] for space in tools]
    return frozenset(
        flat_name(str(tool.get("name")), space)
        for space, tools in spaces
        for tool in tools
        if tool.get("type") == "custom"
    )


def _echo(document: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return a response that has only begun: what it repeats of the request."""
    text = fields(document.get("text"))
    parallel, stored = document.get("parallel_tool_calls"), document.get("store")
    return {
        "id": "",
        "object": "response",
        "created_at": 0,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        **{name: document.get(name) for name in _ECHOED},
        "parallel_tool_calls": True if parallel is None else parallel,
        "reasoning": {"effort": None, "summary": None, **fields(document.get("reasoning"))},
        "store": True if stored is None else stored,
        "text": {**text, "format": text.get("format") or {"type": "text"}},
        "tool_choice": document.get("tool_choice") or "auto",
        "tools": objects(document.get("tools")),
        "truncation": document.get("truncation") or "disabled",
        "metadata": document.get("metadata") or {},
        "usage": None,
    }
