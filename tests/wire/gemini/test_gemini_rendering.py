"""Canonical answers, said to Google's clients: its own models, which are strict, take every one of them."""

import json

import pytest
from google.genai import types

from providers.gemini.render import ChunkRenderer, render_completion
from providers.gemini.upstream import ChunkDecoder, read_completion
from providers.stream import collect, replay
from providers.types import (
    Choice,
    Completion,
    FilePart,
    Finished,
    ImagePart,
    OpaquePart,
    RefusalPart,
    Started,
    TextDelta,
    TextPart,
    ThinkingPart,
    ToolCallDelta,
    ToolCallPart,
    ToolCallStarted,
    Usage,
)

CITATION = {
    "type": "url_citation",
    "url_citation": {"url": "https://a.example/", "title": "a", "start_index": 2, "end_index": 6},
}
TOKEN = {
    "token": "x",
    "logprob": -0.5,
    "bytes": [120],
    "top_logprobs": [{"token": "y", "logprob": -1.0, "bytes": [121]}],
}
USAGE = Usage(input_tokens=5, cache_read_tokens=3, cache_write_tokens=2, output_tokens=9, reasoning_tokens=4)


def _completion(*content, reason="stop", **fields) -> Completion:
    choice = Choice(index=0, content=list(content), finish_reason=reason, **fields)
    return Completion(id="r1", model="upstream", created=7, choices=[choice], usage=USAGE)


ANSWERS = {
    "text": _completion(TextPart(text="Hi \u2028.")),
    "nothing": _completion(reason="length"),
    "thoughts": _completion(
        ThinkingPart(text="Hm.", signature="anthropic:sig"),
        ThinkingPart(signature="anthropic:secret", redacted=True),
        TextPart(text="Yes.", signature="gemini:c2ln"),
    ),
    "calls": _completion(
        TextPart(text="Well."),
        ToolCallPart(id="c1", name="f", arguments='{"x": [1, {"y": null}]}', signature="gemini:c2ln"),
        ToolCallPart(id="c2", name="g", arguments=""),
        reason="tool_calls",
    ),
    "a custom call": _completion(
        ToolCallPart(id="c1", name="patch", arguments="a b", extras={"type": "custom"}), reason="tool_calls"
    ),
    "a call that was cut": _completion(ToolCallPart(id="c1", name="f", arguments='{"x'), reason="length"),
    "a broken call": _completion(ToolCallPart(id="c1", name="f", arguments="[1]"), reason="tool_calls"),
    "media": _completion(
        ImagePart(data="aGk=", media_type="image/png"),
        ImagePart(url="https://x.example/a.png"),
        FilePart(data="aGk=", media_type="application/pdf"),
        OpaquePart(dialect="gemini", value={"executableCode": {"language": "PYTHON", "code": "1"}}),
        OpaquePart(dialect="openai", value={"type": "novel"}),
        RefusalPart(text="No."),
    ),
    "citations": _completion(TextPart(text="À côté.", annotations=[CITATION])),
    "log-probabilities": _completion(TextPart(text="x"), logprobs={"content": [TOKEN], "refusal": None}),
    "blocked": _completion(TextPart(text="x"), reason="content_filter", extras={"finishReason": "RECITATION"}),
    "refused": _completion(TextPart(text="x"), reason="refusal", extras={"stop_sequence": "x"}),
    "several": Completion(
        id="",
        model="m",
        created=0,
        choices=[
            Choice(index=0, content=[TextPart(text="a")], finish_reason="stop"),
            Choice(index=1, content=[ToolCallPart(id="c", name="f")], finish_reason="tool_calls"),
        ],
    ),
}


def _stream(completion: Completion, framing: str) -> bytes:
    renderer = ChunkRenderer(model="public", framing=framing)
    return b"".join(renderer.feed(event) for event in replay(completion)) + renderer.finish()


def _pieces(completion: Completion) -> list[dict]:
    array = json.loads(_stream(completion, "array"))
    frames = _stream(completion, "sse").split(b"\n\n")
    assert frames.pop() == b""
    assert [json.loads(frame.removeprefix(b"data: ")) for frame in frames] == array
    return array


@pytest.mark.parametrize("name", ANSWERS)
def test_googles_models_take_every_answer(name):
    whole = render_completion(ANSWERS[name], model="public")
    for said in (whole, *_pieces(ANSWERS[name])):
        answer = types.GenerateContentResponse.model_validate_json(json.dumps(said))
        assert answer.model_version == "public"
        assert all(candidate.content.parts for candidate in answer.candidates)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_stream_says_what_the_whole_says(name):
    whole = read_completion(json.dumps(render_completion(ANSWERS[name], model="public")).encode())
    decoder = ChunkDecoder()
    events = decoder.feed(_stream(ANSWERS[name], "sse"))
    assert collect([*events, *decoder.finish()]) == whole


@pytest.mark.parametrize("name", ["text", "calls", "several", "nothing", "log-probabilities", "blocked"])
def test_what_google_can_say_comes_back(name):
    said = json.dumps(render_completion(ANSWERS[name], model="upstream")).encode()
    read = read_completion(said).choices
    given = [
        (choice.index, list(choice.content), choice.finish_reason, choice.logprobs) for choice in ANSWERS[name].choices
    ]
    for (index, content, reason, logprobs), choice in zip(given, read, strict=True):
        assert (choice.index, choice.finish_reason, choice.logprobs) == (index, reason, logprobs)
        assert [type(part) for part in choice.content] == [type(part) for part in content]


def test_an_answer_in_full():
    assert render_completion(ANSWERS["calls"], model="public") == {
        "candidates": [
            {
                "content": {
                    "role": "model",
                    "parts": [
                        {"text": "Well."},
                        {
                            "functionCall": {"id": "c1", "name": "f", "args": {"x": [1, {"y": None}]}},
                            "thoughtSignature": "c2ln",
                        },
                        {"functionCall": {"id": "c2", "name": "g", "args": {}}},
                    ],
                },
                "index": 0,
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 10,
            "candidatesTokenCount": 5,
            "totalTokenCount": 19,
            "cachedContentTokenCount": 3,
            "thoughtsTokenCount": 4,
        },
        "modelVersion": "public",
        "responseId": "r1",
    }


def test_citations_are_counted_in_bytes():
    candidate = render_completion(ANSWERS["citations"], model="m")["candidates"][0]
    assert candidate["groundingMetadata"] == {
        "groundingChunks": [{"web": {"uri": "https://a.example/", "title": "a"}}],
        "groundingSupports": [
            {"segment": {"startIndex": 3, "endIndex": 9, "text": "côté"}, "groundingChunkIndices": [0]}
        ],
    }
    assert _pieces(ANSWERS["citations"])[-1]["candidates"][0]["groundingMetadata"] == candidate["groundingMetadata"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a call that was cut", "MAX_TOKENS"),
        ("a broken call", "MALFORMED_FUNCTION_CALL"),
        ("blocked", "RECITATION"),
        ("refused", "SAFETY"),
        ("nothing", "MAX_TOKENS"),
    ],
)
def test_why_an_answer_ended(name, reason):
    whole = render_completion(ANSWERS[name], model="m")
    assert whole["candidates"][0]["finishReason"] == reason
    assert _pieces(ANSWERS[name])[-1]["candidates"][0]["finishReason"] == reason
    assert "functionCall" not in json.dumps(whole)


def test_calls_are_said_whole_and_in_order():
    renderer = ChunkRenderer(model="m")
    events = [
        Started(id="r", model="u", created=0),
        ToolCallStarted(index=0, id="a", name="f"),
        ToolCallDelta(index=0, arguments='{"x":'),
        ToolCallStarted(index=1, id="b", name="g"),
        ToolCallDelta(index=1, arguments="{}"),
        ToolCallDelta(index=0, arguments="1}"),
    ]
    begun = json.loads(b"".join(map(renderer.feed, events)).removeprefix(b"data: "))
    assert begun["candidates"] == [{"content": {"parts": [{"text": ""}], "role": "model"}, "index": 0}]
    said = renderer.feed(TextDelta(text="Then."))
    parts = json.loads(said.removeprefix(b"data: "))["candidates"][0]["content"]["parts"]
    assert parts == [
        {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}},
        {"functionCall": {"id": "b", "name": "g", "args": {}}},
        {"text": "Then."},
    ]
    assert renderer.feed(Finished(reason="stop")) == b""
    last = json.loads(renderer.finish().removeprefix(b"data: "))
    assert last["candidates"][0]["finishReason"] == "STOP"
    assert "usageMetadata" not in last


def test_an_answer_may_have_another_id():
    assert render_completion(ANSWERS["text"], model="m", answer_id="q1")["responseId"] == "q1"
    renderer = ChunkRenderer(model="m", answer_id="q1")
    said = [renderer.feed(event) for event in replay(ANSWERS["text"])]
    assert all(b'"responseId":"q1"' in piece for piece in [*filter(None, said), renderer.finish()])


@pytest.mark.parametrize("name", ANSWERS)
def test_an_array_has_begun_with_the_first_event(name):
    renderer = ChunkRenderer(model="m", framing="array")
    said = [renderer.feed(event) for event in replay(ANSWERS[name])]
    assert said[0] == b""
    assert said[1].startswith(b"[{")


def test_an_array_that_never_ends_is_never_closed():
    renderer = ChunkRenderer(model="m", framing="array")
    said = b"".join(renderer.feed(event) for event in replay(ANSWERS["calls"]))
    with pytest.raises(json.JSONDecodeError):
        json.loads(said)
    assert json.loads(said + renderer.finish())
