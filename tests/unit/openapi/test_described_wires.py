"""Every wire of the inference API is described, with its errors and its answers, as it says them."""

import json
from typing import Any

import msgspec
import pytest
from documents import check_answer, check_request, examples_of

from app.api.docs.inference.operations import EVENTS
from app.api.errors import TABLE, headers_of, status_of
from app.api.inference_openapi import inference_document
from app.api.understanding import Call, Wire
from app.api.wires import WIRES
from app.kernel import errors
from providers.types import (
    ChatEvent,
    Choice,
    Completion,
    Finished,
    RefusalPart,
    Started,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
    ToolCallStarted,
    Usage,
    UsageReported,
)

NOT_IN_THIS_PLANE = {405, 412}
"""Another method is another operation; conflicts and preconditions are the admin plane's."""
DOCUMENT = json.loads(inference_document(version="1"))
EXAMPLES = list(examples_of(DOCUMENT))


def _paths_of(wire: Wire) -> list[str]:
    """Return the templates at which the document describes a wire."""
    prefix, variable, _ = wire.route.partition("{")
    return [wire.route] if not variable else [path for path in DOCUMENT["paths"] if path.startswith(prefix)]


def _wire_at(path: str) -> Wire:
    return next(wire for wire in WIRES if path in _paths_of(wire))


def _is_streamed(path: str) -> bool:
    return EVENTS in DOCUMENT["paths"][path]["post"]["responses"]["200"]["content"]


PLACES = [(wire, path) for wire in WIRES for path in _paths_of(wire)]
RENDERED = [place for place in PLACES if place[0].operation.parse is not None and place[0].operation.generates]
_ids = {"ids": lambda value: value if isinstance(value, str) else ""}


@pytest.mark.parametrize("wire", WIRES, ids=lambda wire: wire.route)
def test_every_wire_is_described(wire):
    assert _paths_of(wire)
    for path in _paths_of(wire):
        operation = DOCUMENT["paths"][path]["post"]
        assert list(operation["requestBody"]["content"]) == [wire.media_type.decode()]
        assert {name.decode() for name in wire.id_headers} <= operation["responses"]["200"]["headers"].keys()


@pytest.mark.parametrize(("wire", "path"), PLACES, **_ids)
def test_the_headers_of_the_contract_are_described(wire, path):
    described = DOCUMENT["paths"][path]["post"]["responses"]["200"]["headers"].keys()
    names = {"provider", "model", "attempts", "cost", "overhead-ms", "degraded", "dropped-params"}
    names |= {"fanout", "cache", "cache-id", "cache-similarity"}
    limits = {f"x-ratelimit-{a}-{b}" for a in ("limit", "remaining", "reset") for b in ("requests", "tokens")}
    ids = {name.decode() for name in wire.id_headers}
    assert (
        described - {"x-accel-buffering", "idempotent-replayed", "age"}
        == ids | {f"x-gateway-{name}" for name in names} | limits
    )


@pytest.mark.parametrize(("wire", "path"), PLACES, **_ids)
def test_every_error_of_the_table_is_described(wire, path):
    described = {int(status) for status in DOCUMENT["paths"][path]["post"]["responses"]} - {200}
    assert described == {spoken.status for spoken in TABLE.values()} - NOT_IN_THIS_PLANE


@pytest.mark.parametrize("cls", [cls for cls, spoken in TABLE.items() if spoken.status not in NOT_IN_THIS_PLANE])
@pytest.mark.parametrize(("wire", "path"), PLACES, **_ids)
def test_every_error_is_said_as_described(wire, path, cls):
    error = cls(param="messages[0].content")
    said = {name.decode(): value.decode() for name, value in headers_of(error)}
    said |= {name.decode(): "r" for name in wire.id_headers}
    body = wire.say_error(error, "r")
    assert check_answer(DOCUMENT, path, "POST", status_of(error), body, headers=said) == []


@pytest.mark.parametrize(("wire", "path"), [place for place in PLACES if _is_streamed(place[1])], **_ids)
def test_an_error_in_a_stream_is_said_as_described(wire, path):
    late = wire.say_late_error(errors.UpstreamFailed(param="p"), "r")
    assert late is not None
    assert check_answer(DOCUMENT, path, "POST", 200, b": keep-alive\n\n" + late) == []


# -- examples ---------------------------------------------------------------------------------------------------------


def test_every_path_that_takes_json_has_an_example():
    posted = {path for path, item in DOCUMENT["paths"].items() if "post" in item}
    forms = {"/v1/audio/transcriptions", "/v1/audio/translations"}
    assert {path for path, _, _ in EXAMPLES} == posted - forms


@pytest.mark.parametrize(
    ("path", "about", "body"), [item for item in EXAMPLES if any(item[0] == path for _, path in PLACES)], ids=str
)
def test_every_example_is_taken_and_described(path, about, body):
    assert about
    assert check_request(DOCUMENT, path, "POST", body) == []
    assert _wire_at(path).read(body, _call_of(path)).model


def _call_of(path: str, *, query: str = "") -> Call:
    return Call("echo:" + path.rpartition(":")[2] if "{" in path else "", query)


# -- answers: what our own renderers say is what the document promises -------------------------------------------------

_USAGE = Usage(input_tokens=3, output_tokens=4, cache_read_tokens=1, cache_write_tokens=2, reasoning_tokens=1)
_NOTE = {"type": "url_citation", "url_citation": {"url": "https://example.com", "title": "t"}}
_COMPLETIONS = {
    "tool call": Choice(
        index=0,
        content=[
            ThinkingPart(text="hm", signature="anthropic:c2ln"),
            ThinkingPart(redacted=True, signature="gemini:c2ln"),
            TextPart(text="hi", annotations=[_NOTE]),
            ToolCallPart(id="t", name="search", arguments='{"a":1}', signature="gemini:c2ln"),
            ToolCallPart(id="u", name="search", arguments="{}"),
        ],
        finish_reason="tool_calls",
    ),
    "text": Choice(index=0, content=[TextPart(text="hi")], finish_reason="stop", extras={"stop_sequence": "x"}),
    "cut": Choice(index=0, content=[TextPart(text="hi")], finish_reason="length"),
    "refusal": Choice(index=0, content=[RefusalPart(text="no")], finish_reason="refusal"),
    "nothing": Choice(index=0, content=[], finish_reason="content_filter"),
}
_EVENTS: list[ChatEvent] = [
    Started(id="c1", model="up", created=1),
    ThinkingDelta(text="hm"),
    ThinkingDelta(text="", signature="anthropic:c2ln"),
    TextDelta(text="hi"),
    TextDelta(text=" you"),
    ToolCallStarted(index=0, id="t", name="search"),
    ToolCallDelta(index=0, arguments='{"a":'),
    ToolCallDelta(index=0, arguments="1}"),
    UsageReported(usage=_USAGE),
    Finished(reason="tool_calls"),
]


def _body_at(path: str) -> dict[str, Any]:
    return next(body for place, _, body in EXAMPLES if place == path)


@pytest.mark.parametrize("usage", [_USAGE, None], ids=["counted", "uncounted"])
@pytest.mark.parametrize("choice", _COMPLETIONS.values(), ids=_COMPLETIONS.keys())
@pytest.mark.parametrize(("wire", "path"), [place for place in RENDERED if "stream" not in place[1]], **_ids)
def test_a_rendered_answer_is_as_described(serve, wire, path, choice, usage):
    exchange = serve(wire, _body_at(path), _call_of(path))
    completion = Completion(id="c1", model="up", created=1, choices=[choice], usage=usage)
    body = wire.operation.renderer.whole(exchange, completion)
    assert check_answer(DOCUMENT, path, "POST", 200, body) == []


@pytest.mark.parametrize(
    ("wire", "path"),
    [place for place in RENDERED if _is_streamed(place[1])],
    **_ids,
)
def test_a_rendered_stream_is_as_described(serve, wire, path):
    body = _body_at(path) | ({} if "{" in path else {"stream": True})
    stream = wire.operation.renderer.stream(serve(wire, body, _call_of(path, query="alt=sse")))
    said = b"".join(stream.feed(event) for event in _EVENTS)
    late = wire.say_late_error(errors.UpstreamFailed(), "r")
    assert said
    assert check_answer(DOCUMENT, path, "POST", 200, said + late) == []
    assert check_answer(DOCUMENT, path, "POST", 200, said) == ["the stream has no end"]
    assert check_answer(DOCUMENT, path, "POST", 200, said + stream.finish()) == []


def test_a_stream_that_is_an_array_is_as_described(serve):
    path = "/v1beta/models/{model}:streamGenerateContent"
    wire = _wire_at(path)
    stream = wire.operation.renderer.stream(serve(wire, _body_at(path), _call_of(path)))
    said = b"".join(stream.feed(event) for event in _EVENTS) + stream.finish()
    assert len(json.loads(said)) > 1
    assert check_answer(DOCUMENT, path, "POST", 200, said) == []


def test_a_count_that_no_provider_made_is_as_described():
    path = "/v1/messages/count_tokens"
    body = _wire_at(path).operation.estimate(_body_at(path))
    assert msgspec.json.decode(body)["input_tokens"] > 0
    assert check_answer(DOCUMENT, path, "POST", 200, body) == []
