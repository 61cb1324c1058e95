"""What the gateway reads of answers that pass through it: usage, content, errors and the end."""

import itertools
import json
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import BadAnswer, ProviderOverloaded, ProviderRateLimited
from providers.framing import sse
from providers.openai.chunks import ChunkDecoder
from providers.openai.inspect import StreamInspector, WholeInspector
from providers.openai.upstream import read_completion
from providers.openai.wire import WireUsage, read_usage, usage_of, write_usage
from providers.stream import collect
from providers.types import Usage

CASES = json.loads((Path(__file__).parent / "cases" / "usage.json").read_text(encoding="utf-8"))["cases"]
USAGE_CASES = [pytest.param(case, id=case["name"].partition(",")[0]) for case in CASES]
DONE = b"data: [DONE]\n\n"
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
COUNT = st.integers(0, 10**6)


def _chunk(delta=None, *, reason=None, **fields):
    choice = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": reason}
    return _frame({"id": "1", "object": "chat.completion.chunk", "choices": [choice], **fields})


def _frame(value):
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


FIRST = _chunk({"role": "assistant", "content": ""})
TEXT = _chunk({"content": 'see "usage", "error": data: [DONE]'})
MORE = _chunk({"content": "more"})
LAST = _chunk(reason="stop")
USAGE_FRAME = _frame({"id": "1", "choices": [], "usage": USAGE})
COMMENT = b": keep-alive\n\n"
ERROR = _frame({"error": {"message": "broken", "code": "server_error"}})


def _watch(pieces, *, keep_usage=False):
    inspector = StreamInspector(keep_usage=keep_usage)
    return inspector, b"".join([inspector.feed(piece) for piece in pieces])


# --- Usage


@pytest.mark.parametrize("case", USAGE_CASES)
def test_counts_are_made_disjoint(case):
    assert usage_of({"usage": case["wire"]}) == msgspec.convert(case["usage"], Usage | None)


@pytest.mark.parametrize("case", USAGE_CASES)
def test_a_relayed_answer_is_counted_alike(case):
    body = json.dumps({"choices": [{"index": 0}], "usage": case["wire"]}).encode()
    inspector = WholeInspector()
    assert inspector.feed(body) is body
    assert inspector.usage == msgspec.convert(case["usage"], Usage | None)
    assert inspector.is_finished
    assert inspector.has_content


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": None}, {"choices": {}}, {"choices": [], "usage": 7}])
def test_a_whole_answer_without_choices_says_nothing(body):
    inspector = WholeInspector()
    inspector.feed(json.dumps(body).encode())
    assert inspector.is_finished
    assert not inspector.has_content


@pytest.mark.parametrize("case", USAGE_CASES)
def test_a_relayed_stream_is_counted_alike(case):
    stream = FIRST + MORE + _frame({"choices": [], "usage": case["wire"]}) + DONE
    inspector, passed = _watch([stream])
    assert inspector.usage == msgspec.convert(case["usage"], Usage | None)
    asked = case["wire"] is None
    assert passed == (stream if asked else FIRST + MORE + DONE), "a usage frame goes, however odd"


@pytest.mark.parametrize("case", USAGE_CASES)
def test_a_translated_stream_is_counted_alike(case):
    decoder = ChunkDecoder()
    events = decoder.feed(FIRST + LAST + _frame({"choices": [], "usage": case["wire"]}) + DONE) + decoder.finish()
    assert collect(events).usage == msgspec.convert(case["usage"], Usage | None)


@pytest.mark.parametrize(
    ("tiers", "served"),
    [
        (["auto", "priority"], "priority"),
        (["flex", None], "flex"),
        ([None, "default"], "default"),
        ([None, None], None),
        ([7, {}], None),
        (["x" * 65, None], None),
    ],
)
def test_the_tier_that_served_is_known_however_the_answer_comes(tiers, served):
    first, last = ({} if tier is None else {"service_tier": tier} for tier in tiers)
    stream = _chunk({"content": "a"}, **first) + LAST + _frame({"choices": [], "usage": USAGE, **last}) + DONE
    usage = Usage(input_tokens=9, output_tokens=2, service_tier=served)
    assert _watch([stream])[0].usage == usage
    decoder = ChunkDecoder()
    assert collect(decoder.feed(stream) + decoder.finish()).usage == usage
    body = {"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}], "usage": USAGE, **first, **last}
    assert read_completion(json.dumps(body).encode()).usage == usage
    inspector = WholeInspector()
    inspector.feed(json.dumps(body).encode())
    assert inspector.usage == usage


SOUND = st.integers(0, 5 * 10**5)


@given(
    st.builds(
        Usage,
        input_tokens=COUNT,
        output_tokens=COUNT,
        cache_read_tokens=COUNT,
        cache_write_tokens=COUNT,
    ),
    SOUND,
    SOUND,
)
def test_counts_of_sound_that_are_written_are_read_again(usage, heard, spoken):
    audio_in, audio_out = min(heard, usage.input_tokens), min(spoken, usage.output_tokens)
    usage = msgspec.structs.replace(usage, audio_input_tokens=audio_in, audio_output_tokens=audio_out)
    assert read_usage(msgspec.convert(write_usage(usage), WireUsage)) == usage


@given(st.builds(Usage, input_tokens=COUNT, output_tokens=COUNT, cache_read_tokens=COUNT, cache_write_tokens=COUNT))
def test_counts_that_are_written_are_read_again(usage):
    assert read_usage(msgspec.convert(write_usage(usage), WireUsage)) == usage


@given(st.dictionaries(st.sampled_from(WireUsage.__struct_fields__), COUNT | st.floats() | st.text() | st.booleans()))
def test_counts_are_never_negative_and_never_counted_twice(wire):
    usage = usage_of({"usage": wire})
    if usage is not None:
        assert min(usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens) >= 0
        assert usage.prompt_tokens == wire["prompt_tokens"]
        assert usage.reasoning_tokens <= usage.output_tokens


# --- Whole answers


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[]", b"7", b"{", b"\xff", b"[" * 5000])
def test_a_whole_answer_must_be_an_object(body):
    with pytest.raises(BadAnswer):
        WholeInspector().feed(body)


@pytest.mark.parametrize("more", [{}, {"usage": None}, {"usage": 7}])
def test_an_error_in_place_of_a_whole_answer_is_one(more):
    with pytest.raises(ProviderRateLimited):
        WholeInspector().feed(json.dumps({"error": {"message": "m", "code": 429}, **more}).encode())
    body = json.dumps({"error": None, "choices": [], **more}).encode()
    assert WholeInspector().feed(body) == body


def test_an_answer_without_usage_is_measured():
    inspector = WholeInspector()
    inspector.feed(b'{"choices": [{"message": {"content": "' + b"x" * 400 + b'"}}]}')
    assert inspector.usage is None
    assert 100 <= inspector.output_tokens_seen <= 120


# --- Streams


STREAM = [COMMENT, FIRST, TEXT, COMMENT, MORE, LAST, USAGE_FRAME, DONE]


def test_a_usage_frame_that_nobody_asked_for_is_taken_out():
    inspector, passed = _watch([b"".join(STREAM)])
    assert passed == b"".join(frame for frame in STREAM if frame is not USAGE_FRAME)
    assert inspector.usage == Usage(input_tokens=9, output_tokens=2)
    assert inspector.is_finished
    assert inspector.error is None


def test_a_usage_frame_that_was_asked_for_stays():
    inspector, passed = _watch([b"".join(STREAM)], keep_usage=True)
    assert passed == b"".join(STREAM)
    assert inspector.usage == Usage(input_tokens=9, output_tokens=2)


def test_usage_beside_content_stays():
    stream = FIRST + _chunk({"content": "x"}, reason="stop", usage=USAGE) + DONE
    inspector, passed = _watch([stream])
    assert passed == stream
    assert inspector.usage == Usage(input_tokens=9, output_tokens=2)


def test_usage_in_every_chunk_counts_once_and_last():
    frames = [_chunk({"content": "x"}, usage={"prompt_tokens": 9, "completion_tokens": n}) for n in (1, 2, 3)]
    inspector, passed = _watch([*frames, DONE])
    assert passed == b"".join(frames) + DONE
    assert inspector.usage == Usage(input_tokens=9, output_tokens=3)


@pytest.mark.parametrize("text", [b'"usage":null', b'"usage": null', b'"usage" : null'])
def test_an_empty_usage_beside_content_passes(text):
    frames = [b'data: {"choices":[{"delta":{"content":"x"}}],' + text + b"}\n\n"] * 3
    inspector, passed = _watch([*frames, DONE])
    assert passed == b"".join(frames) + DONE
    assert inspector.usage is None
    assert inspector.output_tokens_seen == 3


STREAMS = {
    "lf": b"".join(STREAM),
    "crlf": b"".join(STREAM).replace(b"\n", b"\r\n"),
    "cr": b"".join(STREAM).replace(b"\n", b"\r"),
    "error": COMMENT + FIRST + TEXT + ERROR + MORE + DONE,
    "error first": ERROR + DONE,
    "after the end": FIRST + MORE + DONE + MORE + ERROR + DONE,
    "blank lines": FIRST + b"\n\n" + MORE + b"\n" + MORE + DONE,
}


@pytest.mark.parametrize("keep_usage", [False, True])
@pytest.mark.parametrize("name", STREAMS)
def test_the_same_passes_cut_at_any_byte(name, keep_usage):
    stream = STREAMS[name]
    whole, passed = _watch([stream], keep_usage=keep_usage)
    facts = ("usage", "has_content", "is_finished")
    for place in range(1, len(stream)):
        cut, also_passed = _watch([stream[:place], stream[place:]], keep_usage=keep_usage)
        assert also_passed == passed, place
        assert [getattr(cut, fact) for fact in facts] == [getattr(whole, fact) for fact in facts]
        assert type(cut.error) is type(whole.error)


@pytest.mark.parametrize("name", STREAMS)
def test_the_same_passes_cut_in_many_ways(name):
    stream, chance = STREAMS[name], random.Random(7)
    _, passed = _watch([stream])
    cuts = [sorted(chance.sample(range(len(stream)), min(9, len(stream)))) for _ in range(50)]
    for cut in [*cuts, range(len(stream))]:
        assert _watch([stream[a:b] for a, b in itertools.pairwise([0, *cut, len(stream)])])[1] == passed


def test_an_incomplete_frame_is_held_back():
    inspector = StreamInspector(keep_usage=False)
    assert inspector.feed(FIRST + MORE[:10]) == FIRST
    assert inspector.feed(MORE[10:-1]) == b""
    assert inspector.feed(MORE[-1:]) == MORE


@pytest.mark.parametrize("before", [b"", FIRST, FIRST + MORE])
def test_no_end_is_passed_after_an_error(before):
    for pieces in ([before + ERROR + DONE], [before, ERROR, DONE], [before + ERROR, MORE + DONE]):
        inspector, passed = _watch(pieces)
        assert passed == before
        assert isinstance(inspector.error, ProviderOverloaded)
        assert not inspector.is_finished


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "no"}},
        {"error": "no"},
        {"error": {}},
        {"error": {"code": 502}, "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]},
        {"error": {"message": "no"}, "choices": 7, "usage": "x"},
    ],
)
def test_an_error_is_seen_in_any_form(error):
    inspector, passed = _watch([FIRST + MORE, b"event: error\n" + _frame(error), DONE])
    assert isinstance(inspector.error, ProviderOverloaded)
    assert passed == FIRST + MORE


def test_a_rate_limit_in_a_stream_is_one():
    inspector, _ = _watch([_frame({"error": {"code": "rate_limit_exceeded"}})])
    assert isinstance(inspector.error, ProviderRateLimited)


def test_no_error_is_none():
    inspector, passed = _watch([_chunk({"content": "x"}, error=None), DONE])
    assert inspector.error is None
    assert passed.endswith(DONE)


def test_nothing_follows_the_end():
    inspector, passed = _watch([FIRST + MORE + DONE, MORE, DONE])
    assert passed == FIRST + MORE + DONE
    assert inspector.is_finished


@pytest.mark.parametrize(
    "end", [b"data: [DONE]\n\n", b"data:[DONE]\n\n", b"data: [DONE] \r\n\r\n", b"data: [DONE]\r\r"]
)
def test_the_end_is_seen_in_any_form(end):
    inspector, passed = _watch([FIRST, MORE, end])
    assert inspector.is_finished
    assert passed == FIRST + MORE + end


@pytest.mark.parametrize(
    "delta",
    [
        {"content": "x"},
        {"refusal": "no"},
        {"reasoning_content": "hm"},
        {"reasoning": "hm"},
        {"tool_calls": [{"index": 0}]},
        {"function_call": {"name": "f"}},
        {"audio": {"data": "x"}},
        {"content": [{"type": "thinking", "thinking": []}]},
    ],
)
def test_content_is_seen_in_any_form(delta):
    inspector, _ = _watch([FIRST])
    assert not inspector.has_content
    inspector.feed(_chunk(delta))
    assert inspector.has_content
    assert inspector.output_tokens_seen == 1


@pytest.mark.parametrize(
    "frame",
    [COMMENT, FIRST, USAGE_FRAME, _frame({"choices": []}), _chunk({"content": None}), b"event: ping\n\n", b"data:\n\n"],
)
def test_what_is_no_content_is_not_taken_for_it(frame):
    assert not _watch([frame])[0].has_content


def test_an_answer_that_only_ends_is_an_answer():
    assert _watch([LAST])[0].has_content


def test_tokens_seen_are_no_more_than_chunks_that_passed():
    frames = [TEXT, _chunk({"content": "data: of data:image/png"})] * 5
    inspector, _ = _watch([FIRST, b"".join(frames), *frames, COMMENT, COMMENT])
    assert inspector.output_tokens_seen == 20


@pytest.mark.parametrize(
    "frame",
    [
        b"data: {not json\n\n",
        b"data: [1]\n\n",
        b"data: null\n\n",
        b"data: \xff\n\n",
        b"data: " + b"[" * 5000 + b"\n\n",
        b'data: {"choices": 7, \n\n',
    ],
)
def test_garbage_before_content_is_a_bad_answer(frame):
    with pytest.raises(BadAnswer):
        StreamInspector(keep_usage=False).feed(frame)


@pytest.mark.parametrize("frame", [b"data: {not json\n\n", MORE[:-9] + b"\n\n", b"data: <html>\n\n"])
def test_garbage_amid_content_is_one_too(frame):
    inspector, _ = _watch([FIRST, TEXT])
    with pytest.raises(BadAnswer):
        inspector.feed(MORE + frame + MORE)


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": None},
        {"choices": 7},
        {"choices": [7, {"delta": 7}]},
        {"choices": [{"finish_reason": 7}]},
        {"usage": 7},
    ],
)
def test_an_oddly_formed_chunk_passes(chunk):
    _, passed = _watch([_frame({**chunk, "choices": chunk.get("choices", [{}])}), MORE, DONE])
    assert passed.count(b"data:") == 3


def test_an_event_of_more_than_a_mebibyte_is_a_bad_answer():
    with pytest.raises(BadAnswer) as caught:
        StreamInspector(keep_usage=False).feed(b"data: " + b"x" * (sse.MAX_FRAME_BYTES + 1))
    assert caught.value.code == "upstream_too_large"
