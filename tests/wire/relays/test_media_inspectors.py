"""What the gateway reads of pictures, sounds and transcripts that pass through it, and where it says that they end."""

import itertools
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import ImagesResponse, ModerationCreateResponse
from openai.types.audio import Transcription, TranscriptionTextDeltaEvent, TranscriptionTextDoneEvent
from openai.types.image_gen_completed_event import ImageGenCompletedEvent
from openai.types.image_gen_partial_image_event import ImageGenPartialImageEvent

from providers.catalog import Quirks
from providers.errors import BadAnswer, ProviderOverloaded, ProviderRateLimited, StreamInterrupted
from providers.framing import sse
from providers.http.adapter import HttpAdapter
from providers.openai.inspect_media import media_inspector
from providers.openai.plugin import OpenAIDialect
from providers.testing.sender import ScriptedAnswer, ScriptedSender
from providers.types import RelayRequest, Target, Usage

TARGET = Target(provider="p", model="m", base_url="http://provider.invalid/v1")
EVENTS = "text/event-stream; charset=utf-8"
LOOK = {"background": "opaque", "created_at": 7, "output_format": "png", "quality": "low", "size": "1024x1024"}
IMAGE_USAGE = {
    "input_tokens": 5,
    "output_tokens": 20,
    "total_tokens": 25,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 5},
}
PARTIAL = {"type": "image_generation.partial_image", "b64_json": "QUJD", "partial_image_index": 0, **LOOK}
COMPLETED = {"type": "image_generation.completed", "b64_json": "QUJD", "usage": IMAGE_USAGE, **LOOK}
TOKENS = {
    "type": "tokens",
    "input_tokens": 14,
    "output_tokens": 9,
    "total_tokens": 23,
    "input_token_details": {"text_tokens": 2, "audio_tokens": 12},
}
HEARD = {"type": "transcript.text.delta", "delta": "Hello"}
HEARD_ALL = {"type": "transcript.text.done", "text": "Hello", "usage": TOKENS}
SPOKEN = {"type": "speech.audio.delta", "audio": "QUJD"}
SPOKEN_ALL = {"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}}
COUNT = st.integers(0, 10**6)


def _frame(event, *, named=True):
    name = str(event.get("type")).encode() if named and event.get("type") else None
    return sse.encode(json.dumps(event).encode(), event=name)


def _request(operation, *, stream=True, **document):
    body = json.dumps(document).encode()
    return RelayRequest(operation=f"openai.{operation}", body=body, document=document, stream=stream)


SPEECH = _request("speech", input="12345678")
SPEECH_EVENTS = _request("speech", input="12345678", stream_format="sse")
IMAGES = _request("images", prompt="1234")
HEAR = _request("transcriptions", prompt="1234")
STREAMS = {
    "pictures": (IMAGES, [_frame(PARTIAL), b": note\n\n", _frame(PARTIAL), _frame(COMPLETED)]),
    "unnamed pictures": (IMAGES, [_frame(PARTIAL, named=False), _frame(COMPLETED, named=False)]),
    "a transcript": (HEAR, [_frame(HEARD), _frame(HEARD), _frame(HEARD_ALL)]),
    "speech": (SPEECH_EVENTS, [_frame(SPOKEN), _frame(SPOKEN), _frame(SPOKEN_ALL)]),
}
TOLD = {
    "pictures": Usage(input_tokens=5, output_tokens=20, image_output_tokens=20, images=1),
    "unnamed pictures": Usage(input_tokens=5, output_tokens=20, image_output_tokens=20, images=1),
    "a transcript": Usage(input_tokens=14, output_tokens=9, audio_input_tokens=12),
    "speech": Usage(input_tokens=14, output_tokens=101, audio_output_tokens=101),
}


def _watch(request, pieces):
    inspector = media_inspector(request)
    return inspector, b"".join([inspector.feed(piece) for piece in pieces])


async def _relay(request, pieces, content_type, *, error=None):
    """Read a relayed answer to its end, as the gateway does."""
    answer = ScriptedAnswer(pieces, headers={"content-type": content_type}, error=error)
    relay = await HttpAdapter(OpenAIDialect(Quirks()), ScriptedSender(answer)).relay(request, TARGET)
    try:
        if not request.stream:
            return await relay.read_all(), relay
        passed = []
        while not relay.inspector.is_finished:
            passed.append(await relay.read())
        return b"".join(passed), relay
    finally:
        relay.close()


# --- The events that these tests speak of are the SDK's


@pytest.mark.parametrize(
    ("model", "event"),
    [
        (ImageGenPartialImageEvent, PARTIAL),
        (ImageGenCompletedEvent, COMPLETED),
        (TranscriptionTextDeltaEvent, HEARD),
        (TranscriptionTextDoneEvent, HEARD_ALL),
    ],
)
def test_the_events_are_the_sdks(model, event):
    model.model_validate(event, strict=True)


# --- Streams of events


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_passes_whole_and_is_counted(name):
    request, frames = STREAMS[name]
    passed, relay = await _relay(request, frames, EVENTS)
    assert passed == b"".join(frames)
    assert relay.inspector.usage == TOLD[name]
    assert relay.inspector.has_content
    assert relay.headers["content-type"] == EVENTS


@pytest.mark.parametrize("ends", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("name", STREAMS)
def test_the_same_passes_cut_at_any_byte(name, ends):
    request, frames = STREAMS[name]
    stream = b"".join(frames).replace(b"\n", ends)
    for place in range(1, len(stream)):
        inspector, passed = _watch(request, [stream[:place], stream[place:]])
        assert passed == stream, place
        assert (inspector.usage, inspector.is_finished) == (TOLD[name], True)


@pytest.mark.parametrize("name", STREAMS)
def test_the_same_passes_cut_in_many_ways(name):
    request, frames = STREAMS[name]
    stream, chance = b"".join(frames), random.Random(7)
    for cut in [range(len(stream)), *(sorted(chance.sample(range(len(stream)), 9)) for _ in range(50))]:
        pieces = [stream[a:b] for a, b in itertools.pairwise([0, *cut, len(stream)])]
        assert _watch(request, pieces)[1] == stream


@pytest.mark.parametrize("name", STREAMS)
async def test_a_stream_that_is_cut_is_never_a_whole_one(name):
    request, frames = STREAMS[name]
    stream = b"".join(frames)
    for length in range(sum(map(len, frames[:-1])) - 30, len(stream)):
        with pytest.raises(StreamInterrupted):
            await _relay(request, [stream[:length]], EVENTS)


def test_nothing_follows_the_last_event():
    inspector, passed = _watch(HEAR, [_frame(HEARD) + _frame(HEARD_ALL) + _frame(HEARD), _frame(HEARD)])
    assert passed == _frame(HEARD) + _frame(HEARD_ALL)
    assert inspector.is_finished


def test_every_picture_has_its_last_event():
    request = _request("images", prompt="x", n=2)
    inspector, passed = _watch(request, [_frame(COMPLETED), _frame(PARTIAL)])
    assert not inspector.is_finished
    passed += inspector.feed(_frame(COMPLETED))
    assert inspector.is_finished
    assert passed == _frame(COMPLETED) + _frame(PARTIAL) + _frame(COMPLETED)
    assert inspector.usage == Usage(input_tokens=10, output_tokens=40, image_output_tokens=40, images=2)


async def test_fewer_pictures_than_asked_for_are_an_answer():
    request = _request("images", prompt="x", n=2)
    passed, relay = await _relay(request, [_frame(COMPLETED)], EVENTS)
    assert passed == _frame(COMPLETED)
    assert relay.inspector.usage == TOLD["pictures"]
    with pytest.raises(StreamInterrupted):
        await _relay(request, [_frame(COMPLETED) + b"data: {"], EVENTS)


@pytest.mark.parametrize("n", [None, 0, -1, "x", 1.5, True])
def test_an_odd_number_of_pictures_is_one(n):
    assert _watch(_request("images", prompt="x", n=n), [_frame(COMPLETED)])[0].is_finished


def test_a_large_picture_passes():
    event = {**COMPLETED, "b64_json": "QUJD" * 1_500_000}
    stream = _frame({**PARTIAL, "b64_json": "QUJD" * 500_000}) + _frame(event)
    pieces = [stream[at : at + 65536] for at in range(0, len(stream), 65536)]
    inspector, passed = _watch(IMAGES, pieces)
    assert passed == stream
    assert inspector.usage == TOLD["pictures"]


def test_an_endless_event_is_refused():
    inspector = media_inspector(IMAGES)
    inspector.feed(_frame(PARTIAL) + b"x" * (32 << 20))
    with pytest.raises(BadAnswer) as caught:
        inspector.feed(b"x")
    assert caught.value.code == "upstream_too_large"


async def test_a_server_that_says_done_is_understood():
    """vLLM streams transcripts as chunks. Source: https://docs.vllm.ai/en/stable/api/, read 2026-11."""
    chunk = {"id": "1", "object": "transcription.chunk", "choices": [{"delta": {"content": "Hi"}}]}
    usage = {"id": "1", "choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}}
    frames = [_frame(chunk), _frame(usage), b"data: [DONE]\n\n"]
    passed, relay = await _relay(HEAR, frames, EVENTS)
    assert passed == b"".join(frames)
    assert relay.inspector.has_content
    assert relay.inspector.usage == Usage(input_tokens=4, output_tokens=2)
    with pytest.raises(StreamInterrupted):
        await _relay(HEAR, frames[:2], EVENTS)


ERRORS = [
    b'data: {"error": {"message": "no", "code": "server_error"}}\n\n',
    b'event: error\ndata: {"type": "error", "error": {"message": "no"}}\n\n',
    b'event: error\ndata: {"message": "no"}\n\n',
    b'data: {"type": "error", "message": "no"}\n\n',
    b'data: {"error": "no"}\n\n',
]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("before", [b"", _frame(HEARD)])
async def test_an_error_ends_it_and_is_withheld(error, before):
    for pieces in ([before + error + _frame(HEARD_ALL)], [before, error, _frame(HEARD_ALL)]):
        inspector, passed = _watch(HEAR, pieces)
        assert passed == before
        assert isinstance(inspector.error, ProviderOverloaded)
        assert not inspector.is_finished
    with pytest.raises(ProviderOverloaded):
        await _relay(HEAR, [before + error], EVENTS)


def test_a_rate_limit_in_a_stream_is_one():
    inspector, _ = _watch(HEAR, [b'data: {"error": {"code": "rate_limit_exceeded"}}\n\n'])
    assert isinstance(inspector.error, ProviderRateLimited)


@pytest.mark.parametrize("frame", [b"data: {not json\n\n", b"data: [1]\n\n", b"data: null\n\n", b"data: \xff\xff\n\n"])
def test_garbage_is_a_bad_answer(frame):
    with pytest.raises(BadAnswer):
        media_inspector(HEAR).feed(frame)


@pytest.mark.parametrize("event", [{}, {"type": 7}, {"type": "transcript.text.created"}, {"choices": []}, {"usage": 7}])
def test_what_is_no_content_is_not_taken_for_it(event):
    inspector, passed = _watch(HEAR, [_frame(event)])
    assert passed == _frame(event)
    assert not inspector.has_content
    assert inspector.usage == Usage(input_tokens=1, estimated=True)


@pytest.mark.parametrize("usage", [None, 7, {}, {"type": "duration", "seconds": 2.5}, {"input_tokens": "x"}])
def test_usage_that_is_not_told_stays_estimated(usage):
    inspector, _ = _watch(HEAR, [_frame(HEARD), _frame({**HEARD_ALL, "usage": usage})])
    assert inspector.is_finished
    assert inspector.usage == Usage(input_tokens=1, output_tokens=2, estimated=True)


@pytest.mark.parametrize("size", [1, 40, 1000])
def test_what_is_heard_before_a_stream_breaks_is_seen(size):
    said = _frame(HEARD) * 3
    inspector, _ = _watch(HEAR, [said[at : at + size] for at in range(0, len(said), size)])
    assert inspector.output_tokens_seen == 3


def test_speech_in_events_that_does_not_tell_its_usage_is_estimated_from_its_text():
    inspector, _ = _watch(SPEECH_EVENTS, [b": note\n\n"])
    assert inspector.usage == Usage(input_tokens=2, estimated=True)
    inspector, _ = _watch(SPEECH_EVENTS, [_frame(SPOKEN), _frame({"type": "speech.audio.done"})])
    assert inspector.usage == Usage(input_tokens=2, output_tokens=10, audio_output_tokens=10, estimated=True)


# --- Transcripts that cannot be streamed


@pytest.mark.parametrize(
    ("content_type", "body", "usage"),
    [
        ("application/json", b'{"text": "Hello", "usage": {"type": "duration", "seconds": 1}}', 2),
        ("application/json", json.dumps({"text": "Hello", "usage": TOKENS}).encode(), TOLD["a transcript"]),
        ("text/plain", b"Hello there\n", 3),
        ("text/plain", b"Hi", 1),
        ("text/vtt", b"WEBVTT\n\n00:00.000 --> 00:01.000\nHello\n\n", 10),
    ],
)
async def test_a_transcript_that_comes_whole_passes_as_it_comes(content_type, body, usage):
    for size in (1, 3, 100):
        pieces = [body[at : at + size] for at in range(0, len(body), size)]
        passed, relay = await _relay(HEAR, pieces, content_type)
        assert passed == body
        assert relay.inspector.has_content
        guessed = Usage(input_tokens=1, output_tokens=usage, estimated=True) if isinstance(usage, int) else usage
        assert relay.inspector.usage == guessed


async def test_an_empty_stream_has_no_content():
    _, relay = await _relay(HEAR, [], EVENTS)
    assert not relay.inspector.has_content


async def test_a_page_is_no_transcript():
    with pytest.raises(BadAnswer):
        await _relay(HEAR, [b"<html>"], "text/html")


# --- Sound


@given(st.lists(st.binary(min_size=1, max_size=9), min_size=1, max_size=9))
async def test_sound_passes_as_it_comes(pieces):
    inspector = media_inspector(SPEECH)
    for piece in pieces:
        assert inspector.feed(piece) is piece
        assert not inspector.is_finished
    assert inspector.has_content
    assert inspector.end() == b""
    assert inspector.is_finished
    assert inspector.usage == Usage(input_tokens=2, output_tokens=10, audio_output_tokens=10, estimated=True)


async def test_sound_keeps_its_type():
    passed, relay = await _relay(SPEECH, [b"ID3", b"\x00\xff"], "audio/mpeg")
    assert passed == b"ID3\x00\xff"
    assert relay.headers["content-type"] == "audio/mpeg"


async def test_sound_that_is_cut_is_an_error():
    with pytest.raises(StreamInterrupted):
        await _relay(SPEECH, [b"ID3"], "audio/mpeg", error=StreamInterrupted())


async def test_silence_has_no_content():
    _, relay = await _relay(SPEECH, [], "audio/mpeg")
    assert not relay.inspector.has_content


@pytest.mark.parametrize("content_type", ["text/html", "application/json", "text/event-stream"])
async def test_what_is_no_sound_is_a_bad_answer(content_type):
    with pytest.raises(BadAnswer):
        await _relay(SPEECH, [b"x"], content_type)


async def test_whole_sound():
    request = _request("speech", stream=False, input="x")
    assert (await _relay(request, [b"ID3", b"x"], "audio/mpeg"))[0] == b"ID3x"
    with pytest.raises(BadAnswer):
        await _relay(request, [], "audio/mpeg")


# --- Whole answers


def _whole(operation, body, **document):
    inspector = media_inspector(_request(operation, stream=False, **document))
    assert inspector.feed(body) is body
    assert inspector.is_finished
    assert inspector.has_content
    return inspector.usage


@pytest.mark.parametrize(
    ("operation", "answer", "usage"),
    [
        (
            "images",
            {"created": 7, "data": [{"b64_json": "QUJD"}], "usage": IMAGE_USAGE},
            TOLD["pictures"],
        ),
        (
            "images",
            {
                "created": 7,
                "data": [{"url": "https://a.example"}, {"url": "https://b.example"}],
                "usage": {
                    "input_tokens": 50,
                    "output_tokens": 90,
                    "total_tokens": 140,
                    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
                    "output_tokens_details": {"text_tokens": 8, "image_tokens": 82},
                },
            },
            Usage(input_tokens=50, output_tokens=90, image_input_tokens=40, image_output_tokens=82, images=2),
        ),
        (
            "images",
            {
                "created": 7,
                "usage": IMAGE_USAGE,
                "svg_usage": {
                    "input_tokens": 3,
                    "model": "m",
                    "output_tokens": 8,
                    "reasoning_tokens": 2,
                    "total_tokens": 11,
                },
            },
            Usage(input_tokens=8, output_tokens=28, reasoning_tokens=2, image_output_tokens=20),
        ),
        ("transcriptions", {"text": "x", "usage": TOKENS}, TOLD["a transcript"]),
        ("rerank", {"results": [], "usage": {"total_tokens": 12}}, Usage(input_tokens=12)),
        ("rerank", {"results": [], "usage": {"prompt_tokens": 12, "total_tokens": 12}}, Usage(input_tokens=12)),
        (
            "rerank",
            {"results": [], "meta": {"tokens": {"input_tokens": 12, "output_tokens": 1}}},
            Usage(input_tokens=12, output_tokens=1),
        ),
        (
            "images",
            {"usage": {**IMAGE_USAGE, "input_tokens_details": {"cached_tokens": 2}}},
            Usage(input_tokens=3, output_tokens=20, cache_read_tokens=2, image_output_tokens=20),
        ),
        (
            "images",
            {"usage": {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 5}}},
            Usage(cache_read_tokens=1),
        ),
    ],
)
def test_the_usage_of_a_whole_answer(operation, answer, usage):
    assert _whole(operation, json.dumps(answer).encode()) == usage


@pytest.mark.parametrize("told", [IMAGE_USAGE, None])
@pytest.mark.parametrize("pictures", [1, 2])
def test_a_stream_of_pictures_counts_what_they_come_to_whole(told, pictures):
    one = {key: value for key, value in COMPLETED.items() if key != "usage"} | ({"usage": told} if told else {})
    streamed, _ = _watch(_request("images", prompt="1234", n=pictures), [_frame(one)] * pictures)
    sums = {name: told[name] * pictures for name in ("input_tokens", "output_tokens", "total_tokens")} if told else None
    body = {"created": 7, "data": [{"b64_json": "QUJD"}] * pictures, "usage": sums}
    whole = _whole("images", json.dumps(body).encode(), prompt="1234", n=pictures)
    assert streamed.is_finished
    assert streamed.usage == whole
    assert (whole.images, whole.estimated) == (pictures, told is None)


@pytest.mark.parametrize("usage", [IMAGE_USAGE, None])
def test_pictures_that_come_whole_where_a_stream_was_asked_for_are_counted(usage):
    body = json.dumps({"created": 7, "data": [{"b64_json": "QUJD"}] * 3, "usage": usage}).encode()
    inspector, passed = _watch(_request("images", prompt="1234", n=3), [body])
    assert passed + inspector.end() == body
    assert inspector.usage == _whole("images", body, prompt="1234")
    assert inspector.usage.images == 3


def test_pictures_too_long_to_be_read_are_as_many_as_were_asked_for():
    body = json.dumps({"created": 7, "data": [{"b64_json": "QUJD" * 600_000}] * 2}).encode()
    inspector, passed = _watch(_request("images", prompt="1234", n=2), [body])
    assert passed + inspector.end() == body
    drawn = 2 * 1056
    told = Usage(input_tokens=1, output_tokens=drawn, image_output_tokens=drawn, images=2, estimated=True)
    assert inspector.usage == told


@pytest.mark.parametrize("data", [None, 7, {}, "x", [], "absent"])
def test_an_answer_without_pictures_has_none(data):
    body = {"created": 7, "usage": IMAGE_USAGE} | ({} if data == "absent" else {"data": data})
    assert _whole("images", json.dumps(body).encode()).images == 0


def test_a_transcripts_sound_is_never_more_than_went_in():
    told = {**TOKENS, "input_token_details": {"audio_tokens": 99, "text_tokens": "x"}}
    usage = _whole("transcriptions", json.dumps({"text": "x", "usage": told}).encode())
    assert usage == Usage(input_tokens=14, output_tokens=9, audio_input_tokens=14)


@pytest.mark.parametrize(
    ("model", "answer"),
    [
        (ImagesResponse, {"created": 7, "data": [{"b64_json": "QUJD"}], "usage": IMAGE_USAGE}),
        (Transcription, {"text": "x", "usage": TOKENS}),
    ],
)
def test_the_answers_are_the_sdks(model, answer):
    model.model_validate(answer, strict=True)


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"results": [], "meta": {"billed_units": {"search_units": 1}}},
        {"usage": {"type": "duration", "seconds": 3.5}},
        {"usage": None, "meta": None, "svg_usage": 7},
        {"usage": {"input_tokens": -1, "output_tokens": "x", "total_tokens": 1e300}},
        {"usage": [1], "meta": {"tokens": 7}},
    ],
)
def test_what_a_whole_answer_does_not_tell_is_estimated(answer):
    body = json.dumps(answer).encode()
    assert _whole("rerank", body, query="1234", documents=["1234"]) == Usage(input_tokens=2, estimated=True)


def test_a_verdict_is_passed_on():
    body = b'{"id": "modr-1", "model": "omni-moderation-latest", "results": []}'
    ModerationCreateResponse.model_validate_json(body)
    assert _whole("moderations", body, input="1234") == Usage(input_tokens=1, estimated=True)


@given(
    st.dictionaries(
        st.sampled_from(["input_tokens", "output_tokens", "total_tokens", "prompt_tokens"]),
        COUNT | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.booleans() | st.none(),
    )
)
def test_counts_are_never_negative(told):
    inspector, _ = _watch(_request("rerank", stream=False), [json.dumps({"usage": told}).encode()])
    assert min(inspector.usage.input_tokens, inspector.usage.output_tokens, inspector.usage.cache_read_tokens) >= 0


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_a_transcript_may_be_text_of_which_nobody_tells_the_tokens(form):
    assert _whole("transcriptions", b"Hello", response_format=form) == Usage(output_tokens=2, estimated=True)
    assert _whole("translations", b"", response_format=form) == Usage(estimated=True)


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[]", b"7", b"{", b"\xff", b"[" * 5000])
@pytest.mark.parametrize("operation", ["images", "moderations", "rerank", "transcriptions", "translations"])
def test_a_whole_answer_must_be_an_object(operation, body):
    with pytest.raises(BadAnswer):
        media_inspector(_request(operation, stream=False)).feed(body)
