"""Anthropic's paths: what they ask, how they answer, how they say errors, and how operators speak of them."""

import json
from types import SimpleNamespace

import pytest

from app.api.anthropic.paths import COUNT_TOKENS_WIRE, MESSAGES_WIRE
from app.api.errors import TABLE, status_of
from app.api.understanding import Call
from app.kernel.errors import InvalidRequest, NotFound, Unavailable
from app.routing.transform import apply_edits, transform_edits
from app.settings.model import Transform
from providers.framing import sse
from providers.types import Choice, Completion, Finished, Started, TextDelta, TextPart

REQUEST = "01890a5d-ac96-774b-bcce-b302099a8057"
BODY = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x" * 40}]}
EXCHANGE = SimpleNamespace(request_id=REQUEST, route=SimpleNamespace(name="public"))
NO_CALL = Call("", "beta=true")


def test_a_body_says_what_is_asked():
    asked = MESSAGES_WIRE.read(BODY | {"stream": True}, NO_CALL)
    assert (asked.model, asked.stream, asked.keep_usage) == ("m", True, True)
    assert not MESSAGES_WIRE.read(BODY, NO_CALL).stream
    assert not COUNT_TOKENS_WIRE.read(BODY | {"stream": True}, NO_CALL).stream


@pytest.mark.parametrize("wire", [MESSAGES_WIRE, COUNT_TOKENS_WIRE])
def test_a_bad_body_is_refused_on_both_paths(wire):
    with pytest.raises(InvalidRequest):
        wire.read({"model": "m"}, NO_CALL)


def test_the_headers_of_the_dialect_pass_both_ways():
    for wire in (MESSAGES_WIRE, COUNT_TOKENS_WIRE):
        assert set(wire.passes) == {b"anthropic-version", b"anthropic-beta"}
        assert set(wire.id_headers) == {b"x-request-id", b"request-id"}


def test_an_answer_has_the_name_that_was_asked_for_and_the_id_of_the_request():
    choice = Choice(index=0, content=[TextPart(text="x")], finish_reason="stop")
    completion = Completion(id="chatcmpl-1", model="up", created=1, choices=[choice])
    renderer = MESSAGES_WIRE.operation.renderer
    whole = json.loads(renderer.whole(EXCHANGE, completion))
    assert (whole["id"], whole["model"]) == ("msg_01890a5dac96774bbcceb302099a8057", "public")
    stream = renderer.stream(EXCHANGE)
    said = stream.feed(Started(id="1", model="up", created=1)) + stream.feed(TextDelta(text="x"))
    frames = sse.split_frames(said + stream.feed(Finished(reason="stop")) + stream.finish())
    assert sse.event_of(frames[-1]) == b"message_stop"
    assert json.loads(sse.data_of(frames[0]))["message"]["id"] == whole["id"]


def test_a_count_is_an_estimate_where_nobody_counts():
    assert json.loads(COUNT_TOKENS_WIRE.operation.estimate(BODY)) == {"input_tokens": 10}
    assert not COUNT_TOKENS_WIRE.operation.generates


@pytest.mark.parametrize("kind", TABLE)
def test_every_error_is_said_in_the_dialects_form(kind):
    error = kind("no")
    body = json.loads(MESSAGES_WIRE.say_error(error, REQUEST))
    assert body.keys() == {"type", "error", "request_id"}
    assert (body["type"], body["request_id"], body["error"]["message"]) == ("error", REQUEST, "no")
    assert body["error"]["type"].endswith("_error") or body["error"]["type"] == "request_too_large"
    assert (status_of(error) >= 500) == (body["error"]["type"] in {"api_error", "overloaded_error", "timeout_error"})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidRequest("thread cannot be sent to this provider", param="thread"), "thread_unsupported_request"),
        (NotFound("no", param="thread.previous_message_id"), "thread_not_found"),
        (NotFound("no", code="model_not_found", param="model"), "model_not_found"),
    ],
)
def test_an_error_says_its_code_and_clients_go_on_without_a_thread(error, code):
    assert json.loads(MESSAGES_WIRE.say_error(error, REQUEST))["error"]["details"] == {"error_code": code}


def test_a_late_error_is_an_event_of_the_stream():
    frame = MESSAGES_WIRE.say_late_error(Unavailable("no"), REQUEST)
    assert sse.event_of(frame) == b"error"
    assert json.loads(sse.data_of(frame)) == json.loads(MESSAGES_WIRE.say_error(Unavailable("no"), REQUEST))


@pytest.mark.parametrize(
    ("transform", "changed"),
    [
        (Transform(system_prefix="P"), {"system": "P"}),
        (Transform(set={"stop": ["END"], "max_completion_tokens": 5}), {"stop_sequences": ["END"], "max_tokens": 5}),
        (
            Transform(set={"reasoning_effort": "low", "user": "u"}),
            {"output_config": {"effort": "low"}, "metadata": {"user_id": "u"}},
        ),
        (Transform(default={"max_tokens": 5}), {}),
    ],
)
def test_operators_speak_in_the_words_that_they_know(transform, changed):
    edits = transform_edits(transform, BODY, MESSAGES_WIRE.operation.vocabulary)
    assert apply_edits(BODY, edits) == BODY | changed


def test_the_operators_instructions_stand_first():
    vocabulary = MESSAGES_WIRE.operation.vocabulary
    edits = transform_edits(
        Transform(system_prefix="P"), BODY | {"system": [{"type": "text", "text": "S"}]}, vocabulary
    )
    assert json.loads(edits.put["system"]) == [{"type": "text", "text": "P"}, {"type": "text", "text": "S"}]
    assert vocabulary.asked_cap(BODY) == 9
    assert vocabulary.asked_choices(BODY | {"n": 7}) == 1
