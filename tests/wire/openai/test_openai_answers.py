"""An OpenAI-compatible provider's answers read, and canonical answers said to a client of OpenAI's dialect."""

import base64
import itertools
import json
import random
import struct
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from providers.errors import BadAnswer, ProviderError, ProviderOverloaded, ProviderRateLimited, StreamInterrupted
from providers.framing import sse
from providers.openai.chunks import ChunkDecoder
from providers.openai.render import DONE, ChunkRenderer, render_completion, render_embeddings
from providers.openai.upstream import read_completion, read_embeddings, read_models
from providers.stream import Collector, collect, replay
from providers.types import (
    Choice,
    Completion,
    Embeddings,
    Finished,
    RefusalPart,
    Started,
    TextDelta,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    Usage,
)

HERE = Path(__file__).parent / "cases"
ANSWERS = json.loads((HERE / "answers.json").read_text(encoding="utf-8"))["cases"]
STREAMS = json.loads((HERE / "streams.json").read_text(encoding="utf-8"))["cases"]
HEAD = {"id": "chatcmpl-9", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "gpt-x"}
# What our renderer says beyond the SDK's models: the names for reasoning, and what signs it, that clients know.
KNOWN_EXTRAS = {"reasoning_content", "reasoning_details", "extra_content", "annotations"}


def _named(cases):
    return [pytest.param(case, id=case["name"].partition(",")[0]) for case in cases]


def _choices(case):
    return msgspec.convert(case["choices"], list[Choice])


def _usage(case):
    return msgspec.convert(case["usage"], Usage | None)


def _stream(case, *, end=b"\n", comments=False):
    chunks = [*case.get("before", []), *({**HEAD, **chunk} for chunk in case["chunks"])]
    frames = [sse.encode(json.dumps(chunk, ensure_ascii=False).encode()) for chunk in chunks] + [DONE]
    frames = [b": keep-alive\n\n" + frame if comments else frame for frame in frames]
    return b"".join(frames).replace(b"\n", end)


def _events(pieces):
    decoder = ChunkDecoder()
    events = [event for piece in pieces for event in decoder.feed(piece)]
    return events + decoder.finish()


# --- Whole answers


@pytest.mark.parametrize("case", _named(ANSWERS))
def test_an_answer_is_read(case):
    body = case["body"]
    assert read_completion(json.dumps(body).encode()) == Completion(
        id=body["id"], model=body["model"], created=1_790_000_000, choices=_choices(case), usage=_usage(case)
    )


@pytest.mark.parametrize("case", _named(ANSWERS))
def test_an_answer_is_said_so_that_the_sdk_understands_and_we_read_it_again(case):
    read = read_completion(json.dumps(case["body"]).encode())
    said = render_completion(read, model=read.model)
    _check_against_sdk(ChatCompletion, said)
    again = read_completion(json.dumps(said).encode())
    reasons = {choice.index: choice.finish_reason for choice in again.choices}
    choices = [
        msgspec.structs.replace(choice, finish_reason=reasons[choice.index])
        if choice.finish_reason == "other"
        else choice
        for choice in read.choices
    ]
    # Which tier of the vendor's served is not said again: it stands outside of what is translated.
    usage = read.usage and msgspec.structs.replace(read.usage, service_tier=None)
    assert again == msgspec.structs.replace(read, choices=choices, usage=usage)


@pytest.mark.parametrize("case", _named(ANSWERS))
def test_an_answer_is_said_as_it_was_heard(case):
    if case["name"].startswith(("text", "tool calls", "a custom", "a refusal", "several", "annotations")):
        said = render_completion(read_completion(json.dumps(case["body"]).encode()), model=case["body"]["model"])
        assert _without_nothing(said["choices"]) == _without_nothing(case["body"]["choices"])
    else:
        assert "," in case["name"] or "old" in case["name"], "only other vendors' forms are said in another form"


def _without_nothing(value):
    if isinstance(value, dict):
        return {name: _without_nothing(inner) for name, inner in value.items() if inner is not None and inner != []}
    return [_without_nothing(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{}",
        b"\xff",
        b"[" * 5000,
        b'{"choices": null}',
        b'{"choices": []}',
        b'{"choices": {}}',
        b'{"choices": [7]}',
        b'{"error": null}',
    ],
)
def test_what_is_no_answer_is_a_bad_one(body):
    with pytest.raises(BadAnswer):
        read_completion(body)


def test_an_error_in_place_of_an_answer_is_one():
    with pytest.raises(ProviderOverloaded):
        read_completion(b'{"error": {"message": "no", "code": 502}}')
    with pytest.raises(ProviderRateLimited):
        read_completion(b'{"choices": [], "error": {"message": "no", "code": 429}}')


ODD = st.sampled_from([None, True, 7, -1, 1.5, 1e300, 2**70, "x", "", [], [7], {}, {"a": 1}, [{"a": []}], [[]]])
PLACES = [
    ("id",),
    ("created",),
    ("model",),
    ("usage",),
    ("usage", "prompt_tokens"),
    ("usage", "prompt_tokens_details"),
    ("usage", "completion_tokens_details"),
    ("choices", 0, "index"),
    ("choices", 0, "finish_reason"),
    ("choices", 0, "logprobs"),
    ("choices", 0, "{}"),
    ("choices", 0, "{}", "content"),
    ("choices", 0, "{}", "content", 0),
    ("choices", 0, "{}", "content", 0, "thinking"),
    ("choices", 0, "{}", "refusal"),
    ("choices", 0, "{}", "annotations"),
    ("choices", 0, "{}", "reasoning_content"),
    ("choices", 0, "{}", "function_call"),
    ("choices", 0, "{}", "tool_calls"),
    ("choices", 0, "{}", "tool_calls", 0),
    ("choices", 0, "{}", "tool_calls", 0, "id"),
    ("choices", 0, "{}", "tool_calls", 0, "index"),
    ("choices", 0, "{}", "tool_calls", 0, "function"),
    ("choices", 0, "{}", "tool_calls", 0, "custom"),
    ("choices", 0, "{}", "tool_calls", 0, "function", "name"),
    ("choices", 0, "{}", "tool_calls", 0, "function", "arguments"),
]


def _odd_answer(inner, place, value):
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    message = {"content": [{"type": "thinking", "thinking": []}], "tool_calls": [call]}
    answer = {"id": "1", "created": 7, "model": "m", "usage": {"prompt_tokens": 1}}
    answer["choices"] = [{"index": 0, inner: message, "finish_reason": "stop"}]
    *path, last = [inner if step == "{}" else step for step in place]
    spot = answer
    for step in path:
        spot = spot[step]
    spot[last] = value
    return json.dumps(answer).encode()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES), ODD)
def test_odd_answers_are_read_or_bad_but_nothing_else(place, value):
    try:
        completion = read_completion(_odd_answer("message", place, value))
        render_completion(completion, model="m")
        assert collect(replay(completion)).choices
    except BadAnswer:
        assert place[0] == "choices"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(PLACES), ODD)
def test_odd_chunks_are_read_or_bad_but_nothing_else(place, value):
    renderer, collector = ChunkRenderer(model="m", include_usage=True), Collector()
    try:
        for event in _events([sse.encode(_odd_answer("delta", place, value)), DONE]):
            collector.feed(event)
            renderer.feed(event)
        assert collector.completion().choices
    except ProviderError:
        assert place[0] == "choices"


# --- Streams


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("case", _named(STREAMS))
def test_a_stream_is_read(case, end):
    events = _events([_stream(case, end=end, comments=end == b"\r\n")])
    assert events[0] == Started(id=HEAD["id"], model=HEAD["model"], created=HEAD["created"])
    answer = collect(events)
    assert (answer.choices, answer.usage) == (_choices(case), _usage(case))


@pytest.mark.parametrize("case", _named(STREAMS))
def test_a_stream_says_the_same_cut_at_any_byte(case):
    stream = _stream(case)
    whole = _events([stream])
    for place in range(len(stream)):
        assert _events([stream[:place], stream[place:]]) == whole, place
    assert _events([stream[place : place + 1] for place in range(len(stream))]) == whole


@pytest.mark.parametrize("case", _named(STREAMS))
def test_a_crlf_stream_says_the_same_cut_in_many_ways(case):
    stream, chance = _stream(case, end=b"\r\n"), random.Random(7)
    whole = _events([stream])
    for _ in range(50):
        edges = [0, *sorted(chance.sample(range(len(stream)), 5)), len(stream)]
        assert _events([stream[a:b] for a, b in itertools.pairwise(edges)]) == whole


@pytest.mark.parametrize("case", _named(STREAMS))
def test_a_stream_that_was_cut_is_interrupted(case):
    stream = _stream(case)
    for place in range(0, len(stream) - 2, 5):
        with pytest.raises(StreamInterrupted):
            _events([stream[:place]])


def test_a_stream_whose_choice_never_finished_is_interrupted():
    open_choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}
    for others in ([], [{"index": 1, "delta": {"content": "y"}, "finish_reason": "stop"}]):
        chunk = {**HEAD, "choices": [open_choice, *others]}
        with pytest.raises(StreamInterrupted):
            _events([sse.encode(json.dumps(chunk).encode()) + DONE])
    with pytest.raises(StreamInterrupted):
        _events([DONE])


def test_the_decoder_says_when_nothing_more_is_worth_reading():
    decoder = ChunkDecoder()
    decoder.feed(_stream(STREAMS[0])[: -len(DONE)])
    assert not decoder.is_finished
    decoder.feed(DONE)
    assert decoder.is_finished
    assert decoder.feed(_stream(STREAMS[0])) == []


def test_what_came_before_an_error_is_said_first():
    chunk = {**HEAD, "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": None}]}
    decoder = ChunkDecoder()
    events = decoder.feed(sse.encode(json.dumps(chunk).encode()) + b'data: {"error": {"message": "no"}}\n\n' + DONE)
    assert events[-1] == TextDelta(text="x")
    assert decoder.is_finished
    with pytest.raises(ProviderOverloaded):
        decoder.feed(b"")
    with pytest.raises(ProviderOverloaded):
        decoder.finish()


def test_an_error_alone_is_raised_at_once():
    with pytest.raises(ProviderOverloaded):
        ChunkDecoder().feed(b'data: {"error": "no"}\n\n')


def test_an_event_of_more_than_a_mebibyte_is_a_bad_answer():
    with pytest.raises(BadAnswer) as caught:
        ChunkDecoder().feed(b"data: " + b"x" * (1 << 20))
    assert caught.value.code == "upstream_too_large"


def test_empty_data_says_nothing():
    assert ChunkDecoder().feed(b"data:\n\ndata: \n\n: x\n\nevent: ping\n\n") == []


# --- Rendered streams


def _rendered(events, *, include_usage=True):
    renderer = ChunkRenderer(model="public", include_usage=include_usage)
    frames = b"".join([renderer.feed(event) for event in events])
    return frames + renderer.finish() + DONE


def _chunks(stream):
    data = [sse.data_of(frame) for frame in sse.split_frames(stream)]
    assert data.pop() == b"[DONE]"
    return [json.loads(text) for text in data]


@pytest.mark.parametrize("include_usage", [False, True])
@pytest.mark.parametrize("case", _named(STREAMS))
def test_a_stream_is_said_so_that_the_sdk_understands_and_we_read_it_again(case, include_usage):
    events = _events([_stream(case)])
    said = _rendered(events, include_usage=include_usage)
    for chunk in _chunks(said):
        assert chunk["model"] == "public"
        _check_against_sdk(ChatCompletionChunk, chunk)
    again = collect(_events([said]))
    expected = collect(events)
    assert again.choices == expected.choices
    assert again.usage == (expected.usage if include_usage else None)


@pytest.mark.parametrize("include_usage", [False, True])
def test_usage_is_said_in_the_last_chunk_and_only_if_asked_for(include_usage):
    *chunks, last = _chunks(_rendered(_events([_stream(STREAMS[0])]), include_usage=include_usage))
    if include_usage:
        assert all(chunk["usage"] is None for chunk in chunks)
        assert (last["choices"], last["usage"]["total_tokens"]) == ([], 11)
    else:
        assert all("usage" not in chunk for chunk in [*chunks, last])


def test_the_role_is_said_once_for_each_choice():
    chunks = _chunks(_rendered(_events([_stream(STREAMS[5])])))
    roles = [(c["index"], c["delta"]["role"]) for chunk in chunks for c in chunk["choices"] if "role" in c["delta"]]
    assert roles == [(0, "assistant"), (1, "assistant")]


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("refusal", "stop"),
        ("other", "stop"),
    ],
)
def test_every_reason_has_a_word(reason, word):
    *_, last = _chunks(_rendered([Started(id="1", model="m", created=1), Finished(reason=reason)]))
    assert last["choices"][0]["finish_reason"] == word


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
COUNT = st.integers(0, 10**6)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.builds(TextPart, text=TEXT),
            st.builds(RefusalPart, text=TEXT),
            st.builds(ThinkingPart, text=TEXT, signature=st.none() | TEXT),
            st.builds(ToolCallPart, id=TEXT, name=TEXT, arguments=TEXT),
        ),
        max_size=5,
    ),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter", "refusal", "other"]),
    st.none() | st.builds(Usage, input_tokens=COUNT, output_tokens=COUNT, cache_write_tokens=COUNT),
)
def test_any_answer_is_said_so_that_the_sdk_understands(content, reason, usage):
    choice = Choice(index=0, content=content, finish_reason=reason)
    answer = Completion(id="1", model="m", created=7, choices=[choice], usage=usage)
    _check_against_sdk(ChatCompletion, render_completion(answer, model="m"))
    said = _rendered(replay(answer))
    for chunk in _chunks(said):
        _check_against_sdk(ChatCompletionChunk, chunk)
    assert collect(_events([said])).usage == usage


def _check_against_sdk(model, said):
    """Fail if the SDK's model refuses `said`, or finds fields in it that it does not know."""
    read = model.model_validate(json.loads(msgspec.json.encode(said)), strict=True)
    assert _extras_of(read) <= KNOWN_EXTRAS


def _extras_of(model):
    """Return the names of the fields, at any depth, that the SDK's model had to keep as extras."""
    found = set(model.model_extra or {})
    for name in type(model).model_fields:
        value = getattr(model, name)
        for inner in value if isinstance(value, list) else [value]:
            if hasattr(inner, "model_extra"):
                found |= _extras_of(inner)
    return found


# --- Embeddings and models


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_are_said_and_read_again(encoding):
    vectors = [[0.5, -0.25, 1.0], [0.0, 2.0, -8.0]]
    answer = Embeddings(model="m", vectors=vectors, usage=Usage(input_tokens=5))
    said = render_embeddings(answer, model="m", encoding=encoding)
    assert read_embeddings(json.dumps(said).encode()) == answer
    if encoding == "float":
        _check_against_sdk(CreateEmbeddingResponse, said)


def test_base64_is_of_little_endian_floats():
    packed = base64.b64encode(struct.pack("<2f", 0.5, -1.0)).decode()
    body = {"model": "m", "data": [{"embedding": packed, "index": 0}], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
    read = read_embeddings(json.dumps(body).encode())
    assert (read.vectors, read.usage) == ([[0.5, -1.0]], Usage(input_tokens=3))


def test_embeddings_are_read_in_the_order_of_their_index():
    data = [{"index": 1, "embedding": [1.0]}, {"index": 0, "embedding": [0.0]}]
    assert read_embeddings(json.dumps({"data": data}).encode()).vectors == [[0.0], [1.0]]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"data": 7}',
        b'{"data": [7]}',
        b'{"data": [{}]}',
        b'{"data": [{"embedding": null}]}',
        b'{"data": [{"embedding": {}}]}',
        b'{"data": [{"embedding": ["x"]}]}',
        b'{"data": [{"embedding": [null]}]}',
        b'{"data": [{"embedding": "!"}]}',
        b'{"data": [{"embedding": "AAAAAAA="}]}',
    ],
)
def test_what_is_no_embedding_is_a_bad_answer(body):
    with pytest.raises(BadAnswer):
        read_embeddings(body)


def test_models_are_read():
    assert read_models(b'{"object": "list", "data": [{"id": "a"}, {"id": 7}, 8, {"id": "b"}]}') == ["a", "b"]
    assert read_models(b'{"models": [{"name": "a"}]}') == ["a"]
    for body in (b"[]", b"{}", b'{"data": {}}'):
        with pytest.raises(BadAnswer):
            read_models(body)
