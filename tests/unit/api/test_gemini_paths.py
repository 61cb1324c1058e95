"""Google's paths: what they ask, how they answer, how they say errors, and how operators speak of them."""

import json
from types import SimpleNamespace

import pytest
from google.genai.errors import APIError

from app.api.errors import TABLE, status_of
from app.api.gemini.paths import GENERATE_WIRE
from app.api.understanding import Call
from app.kernel.errors import InvalidRequest, NotFound, RateLimited, Unavailable
from app.pipeline.operation import Asked
from app.routing.transform import apply_edits, transform_edits
from app.settings.model import Transform
from providers.framing import sse
from providers.gemini.plugin import GeminiDialect
from providers.types import Choice, Completion, Finished, RelayRequest, Started, Target, TextDelta, TextPart

REQUEST = "01890a5d-ac96-774b-bcce-b302099a8057"
BODY = {"contents": [{"role": "user", "parts": [{"text": "Hi?"}]}]}
VOCABULARY = GENERATE_WIRE.operation.vocabulary


def _exchange(**asked) -> SimpleNamespace:
    return SimpleNamespace(
        request_id=REQUEST, route=SimpleNamespace(name="public"), asked=Asked(model="public", **asked)
    )


@pytest.mark.parametrize(
    ("rest", "query", "model", "stream", "framing"),
    [
        ("m:generateContent", "", "m", False, "sse"),
        ("m:generateContent", "alt=json", "m", False, "sse"),
        ("m:streamGenerateContent", "alt=sse", "m", True, "sse"),
        ("m:streamGenerateContent", "%24x=1&alt=SSE", "m", True, "sse"),
        ("m:streamGenerateContent", "", "m", True, "array"),
        ("m:streamGenerateContent", "alt=json", "m", True, "array"),
        ("openai/gpt-4o:generateContent", "", "openai/gpt-4o", False, "sse"),
        ("llama3:8b:generateContent", "", "llama3:8b", False, "sse"),
    ],
)
def test_the_path_says_what_is_asked(rest, query, model, stream, framing):
    asked = GENERATE_WIRE.read(BODY, Call(rest, query))
    assert asked == Asked(model=model, stream=stream, keep_usage=True, framing=framing)


@pytest.mark.parametrize("rest", ["m", "m:countTokens", ":generateContent", "m:generateContent/x", ""])
def test_another_method_does_not_exist(rest):
    with pytest.raises(NotFound):
        GENERATE_WIRE.read(BODY, Call(rest, ""))


def test_a_bad_body_is_refused():
    with pytest.raises(InvalidRequest):
        GENERATE_WIRE.read({}, Call("m:generateContent", ""))


def test_a_request_is_parsed_with_what_the_path_says():
    request = GENERATE_WIRE.operation.parse(BODY, Asked(model="public", stream=True))
    assert (request.model, request.stream, request.dialect) == ("public", True, "gemini")


def test_nothing_is_said_in_a_quiet_stream():
    assert not GENERATE_WIRE.keeps_alive


def test_an_answer_has_the_name_that_was_asked_for_and_the_id_of_the_request():
    choice = Choice(index=0, content=[TextPart(text="x")], finish_reason="stop")
    completion = Completion(id="chatcmpl-1", model="up", created=1, choices=[choice])
    renderer = GENERATE_WIRE.operation.renderer
    whole = json.loads(renderer.whole(_exchange(), completion))
    assert (whole["responseId"], whole["modelVersion"]) == (REQUEST.replace("-", ""), "public")
    events = [Started(id="1", model="up", created=1), TextDelta(text="x"), Finished(reason="stop")]
    stream = renderer.stream(_exchange(stream=True))
    frames = sse.split_frames(b"".join(map(stream.feed, events)) + stream.finish())
    assert {json.loads(sse.data_of(frame))["responseId"] for frame in frames} == {whole["responseId"]}
    array = renderer.stream(_exchange(stream=True, framing="array"))
    elements = json.loads(b"".join(map(array.feed, events)) + array.finish())
    assert elements == [json.loads(sse.data_of(frame)) for frame in frames]


@pytest.mark.parametrize("kind", TABLE)
def test_every_error_is_said_in_the_dialects_form(kind):
    error = kind("no")
    body = json.loads(GENERATE_WIRE.say_error(error, REQUEST))
    read = APIError(status_of(error), body)
    assert (read.code, read.message) == (status_of(error), "no")
    assert body["error"]["code"] == status_of(error)
    assert read.status.isupper()
    assert body["error"]["details"][0]["reason"] == error.code.upper()


def test_an_error_says_the_field_and_how_long_to_wait():
    details = json.loads(GENERATE_WIRE.say_error(RateLimited("no", retry_after_s=2.5, param="contents"), REQUEST))
    by_type = {detail["@type"].rpartition(".")[2]: detail for detail in details["error"]["details"]}
    assert by_type["RetryInfo"]["retryDelay"] == "2.5s"
    assert by_type["BadRequest"]["fieldViolations"][0]["field"] == "contents"


def test_a_late_error_is_an_event_or_an_element_of_an_array_without_end():
    error = Unavailable("no")
    said = json.loads(GENERATE_WIRE.say_error(error, REQUEST))
    frame = GENERATE_WIRE.say_late_error(error, REQUEST)
    assert frame.startswith(b'data: {"error":')
    assert json.loads(sse.data_of(frame)) == said
    element = GENERATE_WIRE.say_late_element(error, REQUEST)
    assert json.loads(b"[{}" + element + b"]") == [{}, said]
    with pytest.raises(json.JSONDecodeError):
        json.loads(b"[{}" + element)


@pytest.mark.parametrize(
    ("transform", "changed"),
    [
        (Transform(system_prefix="P"), {"systemInstruction": {"parts": [{"text": "P"}]}}),
        (
            Transform(set={"stop": ["END"], "max_completion_tokens": 5, "reasoning_effort": "low"}),
            {
                "generationConfig": {
                    "stopSequences": ["END"],
                    "maxOutputTokens": 5,
                    "thinkingConfig": {"thinkingLevel": "low"},
                }
            },
        ),
        (
            Transform(default={"temperature": 0.2, "n": 2}),
            {"generationConfig": {"temperature": 0.2, "candidateCount": 2}},
        ),
    ],
)
def test_operators_speak_in_the_words_that_they_know(transform, changed):
    assert apply_edits(BODY, transform_edits(transform, BODY, VOCABULARY)) == BODY | changed


@pytest.mark.parametrize("name", ["systemInstruction", "system_instruction"])
def test_the_operators_instructions_stand_first(name):
    body = BODY | {name: {"role": "user", "parts": [{"text": "S"}]}}
    edits = transform_edits(Transform(system_prefix="P"), body, VOCABULARY)
    assert json.loads(edits.put[name]) == {"role": "user", "parts": [{"text": "P"}, {"text": "S"}]}


@pytest.mark.parametrize(
    "config",
    [
        {"generationConfig": {"maxOutputTokens": 9, "candidateCount": 3}},
        {"generation_config": {"max_output_tokens": 9, "candidate_count": 3}},
        {"generation_config": {"maxOutputTokens": 9, "candidateCount": 3}},
        {"generationConfig": {"max_output_tokens": 9, "candidate_count": 3}},
    ],
)
def test_what_bounds_the_cost_is_seen_by_every_name(config):
    assert VOCABULARY.asked_cap(BODY | config) == 9
    assert VOCABULARY.asked_choices(BODY | config) == 3


def test_an_operators_value_joins_a_config_of_the_other_name():
    config = {"top_k": 3, "top_p": 0.5, "max_output_tokens": 9, "temperature": 2}
    body = BODY | {"generation_config": config, "safety_settings": [1]}
    transform = Transform(set={"temperature": 0.2, "safetySettings": []}, drop=["top_p"])
    edits = transform_edits(transform, body, VOCABULARY)
    relayed = GeminiDialect().encode_relay(
        RelayRequest(operation="gemini.generate", body=json.dumps(body).encode(), document=body, edits=edits),
        Target(provider="p", model="m", base_url="http://x"),
    )
    sent = json.loads(relayed.body)
    config = {"top_k": 3, "max_output_tokens": 9, "temperature": 0.2}
    assert sent == BODY | {"generation_config": config, "safety_settings": []}
    request = GENERATE_WIRE.operation.parse(apply_edits(body, edits), Asked(model="m"))
    assert (request.sampling.top_k, request.sampling.temperature, request.max_output_tokens) == (3, 0.2, 9)
    assert request.sampling.top_p is None
