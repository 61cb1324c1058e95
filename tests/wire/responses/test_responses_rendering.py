"""Canonical answers said to a client of the Responses dialect: whole, and as the typed events that lead to the same."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import APIError, OpenAI, omit
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from providers.framing import sse
from providers.openai.responses.decoder import EventDecoder
from providers.openai.responses.downstream import parse_response_request
from providers.openai.responses.render import EventRenderer, render_failure, render_response
from providers.openai.responses.upstream import read_response
from providers.stream import collect, replay
from providers.testing.cases import load_cases
from providers.types import (
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

HERE = Path(__file__).parent / "cases"
CASES = [pytest.param(case, id=case.name) for case in load_cases(HERE / "answers.json", HERE / "streams.json")]
EVENTS = TypeAdapter(ResponseStreamEvent)
# Fields of the wire that the SDK's models do not have.
KNOWN_EXTRAS = {"store", "logprobs.bytes"}
PATCH = {"type": "custom", "name": "apply_patch", "description": "Edits."}
DOCUMENT = {"model": "m", "input": "x", "tools": [PATCH, {"type": "web_search"}]}
START = Started(id="a1", model="up", created=7)


def _completion(*content, reason="stop", usage=None):
    choice = Choice(index=0, content=list(content), finish_reason=reason)
    return Completion(id="a1", model="up", created=7, choices=[choice], usage=usage)


def _streamed(events, document=DOCUMENT):
    renderer = EventRenderer(document=document, model="public")
    frames = b"".join([renderer.feed(event) for event in events])
    return frames + renderer.finish(), renderer.response


def _events_in(stream):
    """Return the events of a stream, whose names and numbers are right."""
    events = []
    for frame in sse.split_frames(stream):
        event = json.loads(sse.data_of(frame))
        assert sse.event_of(frame).decode() == event["type"]
        assert event["sequence_number"] == len(events)
        events.append(event)
    return events


def _check_events(events, response):
    """Fail if the SDK's models refuse an event, or its accumulator comes to another response."""
    state = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        read = EVENTS.validate_python(event, strict=True)
        assert not read.model_extra, (event["type"], read.model_extra)
        last = state.handle_event(read)[-1]
    assert events[-1]["response"] == response
    if response["status"] == "completed":
        assert [item.id for item in last.response.output] == [item["id"] for item in response["output"]]
        snapshot = state._ResponseStreamState__current_snapshot.output
        assert [item.type for item in snapshot] == [item["type"] for item in response["output"]]


def _check_response(response):
    read = Response.model_validate(json.loads(json.dumps(response)), strict=True)
    assert _extras_of(read) <= KNOWN_EXTRAS
    return read


def _extras_of(model):
    found = set(model.model_extra or {})
    for name in type(model).model_fields:
        value = getattr(model, name)
        for inner in value if isinstance(value, list) else [value]:
            if hasattr(inner, "model_extra"):
                found |= _extras_of(inner)
    return found


@pytest.mark.parametrize("case", CASES)
def test_an_answer_is_said_so_that_the_sdk_understands_and_we_read_it_again(case):
    response = render_response(case.completion, document=DOCUMENT, model="public")
    _check_response(response)
    again = read_response(json.dumps(response).encode())
    assert again.usage == case.completion.usage
    assert again.choices[0].finish_reason == case.completion.choices[0].finish_reason
    assert [_gist(part) for part in again.choices[0].content] == [
        _gist(part) for part in case.completion.choices[0].content
    ]


def _gist(part):
    """Return a part without what a summary of several parts was made of."""
    about = {name: value for name, value in part.extras.get("item", {}).items() if name in {"id", "phase"}}
    extras = {**part.extras, **({"item": about} if "item" in part.extras else {})}
    return msgspec.structs.replace(part, extras=extras)


@pytest.mark.parametrize("case", CASES)
def test_a_stream_ends_in_the_whole_answer(case):
    stream, response = _streamed(replay(case.completion))
    assert response == render_response(case.completion, document=DOCUMENT, model="public")
    _check_events(_events_in(stream), response)


@pytest.mark.parametrize("case", [case for case in CASES if case.values[0].request.stream])
def test_a_stream_of_a_provider_is_said_again(case):
    decoder = EventDecoder()
    stream, response = _streamed([*decoder.feed(case.answer), *decoder.finish()])
    assert response == render_response(case.completion, document=DOCUMENT, model="public")
    _check_events(_events_in(stream), response)
    again = EventDecoder()
    read = collect([*again.feed(stream), *again.finish()])
    assert read.choices[0].finish_reason == case.completion.choices[0].finish_reason


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
NAME = st.sampled_from(["f", "apply_patch"])
COUNT = st.integers(0, 10**6)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(TextPart, text=TEXT, signature=st.none() | st.just("gemini:s")),
            st.builds(RefusalPart, text=TEXT),
            st.builds(ThinkingPart, text=TEXT, signature=st.none() | st.sampled_from(["anthropic:a", "responses:g"])),
            st.builds(ThinkingPart, redacted=st.just(True), signature=st.just("anthropic:r")),
            st.builds(
                ToolCallPart, id=st.just(""), name=NAME, arguments=TEXT, signature=st.none() | st.just("gemini:s")
            ),
        ),
        max_size=6,
    ),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter", "refusal", "other"]),
    st.none() | st.builds(Usage, input_tokens=COUNT, output_tokens=COUNT, cache_write_tokens=COUNT),
)
def test_any_answer_is_said_alike_whole_and_streamed(content, reason, usage):
    numbered = [
        msgspec.structs.replace(part, id=f"call_{place}") if isinstance(part, ToolCallPart) else part
        for place, part in enumerate(content)
    ]
    answer = _completion(*numbered, reason=reason, usage=usage)
    stream, response = _streamed(replay(answer))
    assert response == render_response(answer, document=DOCUMENT, model="public")
    _check_response(response)
    _check_events(_events_in(stream), response)
    ids = [item["id"] for item in response["output"]]
    assert len(ids) == len(set(ids))


def test_what_was_signed_comes_back_signed():
    content = [
        ThinkingPart(text="hm", signature="anthropic:a"),
        TextPart(text="Hi", signature="gemini:t"),
        ThinkingPart(redacted=True, signature="anthropic:r"),
        ToolCallPart(id="c", name="f", arguments="{}", signature="gemini:s"),
        ToolCallPart(id="d", name="apply_patch", arguments='{"input": "*** Begin"}'),
    ]
    output = render_response(_completion(*content), document=DOCUMENT, model="m")["output"]
    # Clients such as Codex keep neither ids nor states.
    kept = [{name: value for name, value in item.items() if name not in {"id", "status"}} for item in output]
    (message,) = parse_response_request({"model": "m", "input": kept}).messages
    said = [msgspec.structs.replace(part, extras={}) for part in message.content]
    custom = msgspec.structs.replace(content[-1], arguments="*** Begin")
    assert said == [*content[:-1], custom]


# --- Streams, step by step


def _types(events):
    stream, _ = _streamed(events)
    return [event["type"].removeprefix("response.") for event in _events_in(stream)]


def test_the_steps_of_a_text():
    events = [START, TextDelta(text="a"), TextDelta(text=""), TextDelta(text="b"), Finished(reason="stop")]
    assert _types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_the_steps_of_reasoning_and_a_call():
    events = [
        START,
        ThinkingDelta(text="hm"),
        ThinkingDelta(signature="anthropic:a"),
        ToolCallStarted(index=0, id="c", name="f"),
        ToolCallDelta(index=0, arguments="{}"),
        Finished(reason="tool_calls"),
        UsageReported(usage=Usage(input_tokens=3, output_tokens=2)),
    ]
    assert _types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    assert _streamed(events)[1]["usage"]["total_tokens"] == 5


def test_calls_that_come_in_turns_are_kept_apart():
    events = [
        START,
        ToolCallStarted(index=0, id="c", name="f"),
        ToolCallStarted(index=1, id="d", name="apply_patch"),
        ToolCallDelta(index=1, arguments='{"input": '),
        ToolCallDelta(index=0, arguments='{"a":'),
        ToolCallDelta(index=1, arguments='"x"}'),
        ToolCallDelta(index=0, arguments="1}"),
        Finished(reason="tool_calls"),
    ]
    stream, response = _streamed(events)
    _check_events(_events_in(stream), response)
    assert [item.get("arguments", item.get("input")) for item in response["output"]] == ['{"a":1}', "x"]
    assert "response.custom_tool_call_input.delta" in {event["type"] for event in _events_in(stream)}


def test_only_the_first_of_several_answers_is_said():
    events = [START, TextDelta(text="a"), TextDelta(text="b", choice=1), Finished(reason="stop")]
    events.append(Finished(reason="length", choice=1))
    _, response = _streamed(events)
    assert (response["status"], response["output"][0]["content"][0]["text"]) == ("completed", "a")


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("refusal", "completed", None),
        ("other", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_every_reason_has_a_status(reason, status, details):
    stream, response = _streamed(replay(_completion(TextPart(text="a"), reason=reason)))
    assert (response["status"], response["incomplete_details"]) == (status, details)
    assert response["output"][0]["status"] == status
    assert _events_in(stream)[-1]["type"] == f"response.{status}"


def test_log_probabilities_come_with_their_bytes():
    token = {"token": "é", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "a", "logprob": -1.0}]}
    choice = Choice(index=0, content=[TextPart(text="é")], finish_reason="stop", logprobs={"content": [token]})
    answer = msgspec.structs.replace(_completion(), choices=[choice])
    (said,) = render_response(answer, document=DOCUMENT, model="m")["output"][0]["content"][0]["logprobs"]
    assert (said["bytes"], said["top_logprobs"][0]["bytes"]) == ([195, 169], [97])


# --- What a response repeats


def test_a_response_repeats_its_request():
    said = {
        "instructions": "Be brief.",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 9,
        "max_tool_calls": 2,
        "metadata": {"run": "7"},
        "parallel_tool_calls": False,
        "previous_response_id": "resp_0",
        "prompt_cache_key": "k",
        "reasoning": {"effort": "low", "summary": None},
        "safety_identifier": "s",
        "store": False,
        "text": {"format": {"type": "json_object"}, "verbosity": "low"},
        "tool_choice": "required",
        "tools": [PATCH],
        "top_logprobs": 3,
        "truncation": "auto",
        "user": "u",
    }
    response = render_response(_completion(), document={"model": "m", "input": "x", **said}, model="m")
    assert {name: response[name] for name in said} == said
    _check_response(response)


def test_a_response_of_a_bare_request_has_the_defaults():
    response = render_response(_completion(), document={"model": "m", "input": "x"}, model="public")
    assert (response["id"], response["created_at"], response["model"]) == ("resp_a1", 7, "public")
    defaults = {"tool_choice": "auto", "tools": [], "parallel_tool_calls": True, "store": True, "metadata": {}}
    assert {name: response[name] for name in defaults} == defaults
    assert response["text"] == {"format": {"type": "text"}}


def test_the_id_may_be_given():
    response = render_response(_completion(TextPart(text="a")), document=DOCUMENT, model="m", id="resp_x")
    assert response["id"] == "resp_x"
    assert response["output"][0]["id"].startswith("msg_x")


def test_a_vendors_own_ids_stay():
    parts = [
        ThinkingPart(text="a", extras={"item": {"id": "rs_9"}}),
        TextPart(text="b", extras={"item": {"id": "odd"}}),
    ]
    first, second = render_response(_completion(*parts), document=DOCUMENT, model="m")["output"]
    assert first["id"] == "rs_9"
    assert second["id"].startswith("msg_")


@pytest.mark.parametrize("kind", ["function", "custom"])
def test_a_call_goes_back_into_its_namespace(kind):
    inner = {"type": kind, "name": "find"}
    document = {"model": "m", "tools": [{"type": "namespace", "name": "crm", "description": "", "tools": [inner]}]}
    call = ToolCallPart(id="c", name="crm__find", arguments='{"input": "x"}')
    (item,) = render_response(_completion(call), document=document, model="m")["output"]
    assert (item["namespace"], item["name"]) == ("crm", "find")
    assert item["type"] == ("custom_tool_call" if kind == "custom" else "function_call")


# --- Answers that break


def test_a_broken_answer_is_an_error_and_a_failed_response():
    stream = render_failure("upstream_rate_limited", "m", param="input", id="resp_1")
    error, failed = _events_in(stream)
    assert (error["type"], error["code"], error["error"]["code"]) == ("error", *["upstream_rate_limited"] * 2)
    read = EVENTS.validate_python(failed, strict=True)
    assert (read.response.status, read.response.error.code) == ("failed", "rate_limit_exceeded")
    assert b"completed" not in stream


def test_the_sdk_raises_at_a_broken_answer(httpx_transport):
    renderer = EventRenderer(document=DOCUMENT, model="m")
    begun = renderer.feed(START) + renderer.feed(TextDelta(text="a"))
    client = httpx_transport(begun + render_failure("upstream_interrupted", "cut", param=None, id="resp_a1"))
    seen = []
    with pytest.raises(APIError, match="cut"):
        seen.extend(event.type for event in client.responses.create(model="m", input="x", stream=True))
    assert seen[-1] == "response.output_text.delta"


@pytest.fixture
def httpx_transport():
    """Return what makes an SDK client whose every answer is one given stream."""
    httpx = pytest.importorskip("httpx")
    clients = []

    def make(stream):
        def answer(request):
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=stream, request=request)

        transport = httpx.Client(transport=httpx.MockTransport(answer))
        clients.append(transport)
        return OpenAI(api_key="k", base_url="http://gateway.invalid/v1", http_client=transport, max_retries=0)

    yield make
    for client in clients:
        client.close()


def test_the_sdks_own_stream_reads_ours(httpx_transport):
    answer = _completion(TextPart(text="Hello"), ToolCallPart(id="c", name="f", arguments="{}"), reason="tool_calls")
    stream, response = _streamed(replay(answer))
    client = httpx_transport(stream)
    with client.responses.stream(model="m", input="x") as events:
        final = events.get_final_response()
    assert final.output_text == "Hello"
    assert [item.id for item in final.output] == [item["id"] for item in response["output"]]


def test_a_stream_that_breaks_ends_in_the_numbers_and_the_response_that_it_began():
    renderer = EventRenderer(document={"model": "m", "input": "hi"}, model="m", id="resp_1")
    begun = [Started(id="x", model="m", created=7), TextDelta(text="Hel")]
    frames = b"".join(renderer.feed(event) for event in begun) + renderer.fail(
        "upstream_interrupted", "cut", param=None
    )
    events = [json.loads(frame.split(b"data: ")[1]) for frame in frames.split(b"\n\n") if frame]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["id"] == events[0]["response"]["id"] == "resp_1"
    assert events[-1]["response"]["created_at"] == 7
    assert events[-1]["response"]["status"] == "failed"
    assert b"response.completed" not in frames
