"""What goes through to Anthropic unchanged, and what the gateway reads of it as it comes back."""

import json
import random

import pytest

from providers.anthropic.answers import read_message
from providers.anthropic.inspect import CountInspector, StreamInspector, WholeInspector
from providers.anthropic.plugin import AnthropicDialect, AnthropicOptions
from providers.errors import BadAnswer, ProviderOverloaded, ProviderRateLimited, StreamInterrupted
from providers.framing import sse
from providers.types import Edits, RelayRequest, Secret, Target, Usage

TARGET = Target(provider="p", model="real", base_url="https://api.example.com", credential=Secret("k"))


def _relay(body, *, options=None, operation="anthropic.messages", **fields):
    request = RelayRequest(operation=operation, body=body, document=json.loads(body), **fields)
    return AnthropicDialect(options or AnthropicOptions()).encode_relay(request, TARGET)


# --- Requests


def test_bytes_go_through_but_for_the_name_of_the_model():
    body = b'{ "model":"public", "max_tokens" : 9,"odd": [1,  2], "messages":[{"role":"user","content":"\\u00e9"}]}'
    asked = _relay(body)
    assert asked.body == body.replace(b'"public"', b'"real"')
    assert asked.url == "https://api.example.com/v1/messages"
    assert _relay(asked.body).body is not None
    assert _relay(body.replace(b"public", b"real")).body == body.replace(b"public", b"real")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("thread", [{}, {"thread": None}, {"thread": {"type": "create"}}])
def test_the_message_of_a_thread_may_be_gone_on_from(thread, stream):
    request = RelayRequest(operation="anthropic.messages", body=b"", document=thread, stream=stream)
    inspector = AnthropicDialect(AnthropicOptions()).inspector(request)
    inspector.feed(START if stream else b'{"id":"msg_1","content":[]}')
    assert inspector.issued == (["msg_1"] if thread.get("thread") else [])


@pytest.mark.parametrize(("given", "cap", "said"), [(9, 5, 5), (5, 9, 5), (0, 9, 0), (None, 9, 9)])
def test_the_cap_is_lowered_never_raised(given, cap, said):
    body = json.dumps({"model": "real", "messages": []} | ({} if given is None else {"max_tokens": given})).encode()
    assert json.loads(_relay(body, output_cap=cap).body)["max_tokens"] == said


def test_the_operators_edits_are_made():
    body = b'{"model":"real","gateway":{},"a":1,"messages":[]}'
    asked = _relay(body, edits=Edits(put={"b": b"2"}, drop=frozenset({"gateway"}), rename={"a": "c"}))
    assert asked.body == b'{"model":"real","c":1,"messages":[],"b":2}'


def test_a_count_goes_to_its_own_path_and_has_no_cap():
    asked = _relay(b'{"model":"real","messages":[]}', operation="anthropic.count_tokens", output_cap=9)
    assert asked.url == "https://api.example.com/v1/messages/count_tokens"
    assert asked.body == b'{"model":"real","messages":[]}'


def test_the_clients_version_wins_and_betas_are_joined():
    options = AnthropicOptions(version="2023-06-01", beta=["b", "c"])
    passed = (
        ("anthropic-version", "2026-10-21"),
        ("anthropic-beta", "a, b"),
        ("x-api-key", "theirs"),
        ("x-app", "cli"),
    )
    headers = dict(_relay(b'{"model":"real"}', options=options, headers=passed).headers)
    assert headers == {
        "x-api-key": "k",
        "content-type": "application/json",
        "anthropic-version": "2026-10-21",
        "anthropic-beta": "a,b,c",
        "x-app": "cli",
    }
    assert dict(_relay(b'{"model":"real"}', options=options).headers)["anthropic-beta"] == "b,c"


# --- Answers


def _event(kind, **fields):
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields}, separators=(',', ':'))}\n\n".encode()


START = _event("message_start", message={"id": "msg_1", "usage": {"input_tokens": 9, "output_tokens": 1}})
BEGIN = _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
TEXT = _event(
    "content_block_delta", index=0, delta={"type": "text_delta", "text": '"message_stop" "error" event: error\n\n'}
)
MORE = _event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"})
END = _event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 7})
STOP = _event("message_stop")
PING = _event("ping")
ERROR = _event("error", error={"type": "overloaded_error", "message": "Overloaded"})


def _watch(*pieces):
    inspector = StreamInspector()
    return inspector, b"".join([inspector.feed(piece) for piece in pieces])


@pytest.mark.parametrize("seed", range(8))
def test_a_stream_passes_unchanged_in_any_cut(seed):
    stream = START + BEGIN + PING + TEXT + MORE * 3 + END + STOP
    cuts = sorted(random.Random(seed).sample(range(1, len(stream)), 9))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    inspector, passed = _watch(*pieces)
    assert passed == stream
    assert inspector.is_finished
    assert inspector.has_content
    assert inspector.usage == Usage(input_tokens=9, output_tokens=7)
    assert inspector.output_tokens_seen == 4


@pytest.mark.parametrize(
    ("frames", "has_content"),
    [
        (START + PING + BEGIN, False),
        (START + BEGIN + TEXT, True),
        (
            START + _event("content_block_start", index=0, content_block={"type": "tool_use", "id": "t", "name": "f"}),
            True,
        ),
        (START + _event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""}), True),
        (START + END, True),
    ],
)
def test_content_is_what_a_caller_would_call_an_answer(frames, has_content):
    inspector, _ = _watch(frames)
    assert inspector.has_content is has_content
    assert (inspector.output_tokens_seen > 0) is has_content


@pytest.mark.parametrize("before", [b"", START, START + BEGIN + TEXT])
def test_an_error_is_withheld_and_ends_the_stream(before):
    inspector, passed = _watch(before + ERROR + MORE, MORE)
    assert passed == before
    assert isinstance(inspector.error, ProviderOverloaded)
    assert inspector.error.vendor_code == "overloaded_error"
    assert not inspector.is_finished


def test_nothing_follows_the_end():
    inspector, passed = _watch(START + END + STOP + b"data: [DONE]\n\n", MORE)
    assert passed == START + END + STOP
    assert inspector.is_finished


def test_a_stream_that_was_cut_has_no_end():
    inspector, passed = _watch(START + BEGIN + TEXT + END + STOP[:-1])
    assert passed == START + BEGIN + TEXT + END
    with pytest.raises(StreamInterrupted):
        inspector.end()


def test_ids_of_what_the_vendor_keeps_are_noted():
    made = {"type": "bash_code_execution_tool_result", "content": {"content": [{"file_id": "file_1"}]}}
    end = _event("message_delta", delta={"stop_reason": "end_turn", "container": {"id": "container_1"}}, usage={})
    inspector, _ = _watch(START + BEGIN + TEXT, _event("content_block_start", index=1, content_block=made), end + STOP)
    assert inspector.issued == ["file_1", "container_1"]
    whole = WholeInspector()
    whole.feed(json.dumps({"container": {"id": "container_1"}, "content": [made]}).encode())
    assert whole.issued == ["container_1", "file_1"]


@pytest.mark.parametrize(
    "block",
    [
        {"type": "tool_use", "id": "t", "name": "f", "input": {"file_id": "file_others"}},
        {"type": "server_tool_use", "id": "t", "name": "f", "input": {"file_id": "file_others"}},
        {
            "type": "mcp_tool_result",
            "tool_use_id": "t",
            "content": [{"type": "text", "text": "", "file_id": "file_others"}],
        },
        {"type": "text", "text": "a", "citations": [{"file_id": "file_others"}]},
    ],
)
def test_a_client_cannot_have_the_files_of_others_noted_as_its_own(block):
    inspector, _ = _watch(START + BEGIN + TEXT, _event("content_block_start", index=1, content_block=block))
    whole = WholeInspector()
    whole.feed(json.dumps({"content": [block]}).encode())
    assert not inspector.issued + whole.issued


@pytest.mark.parametrize("usage", [None, {}, {"input_tokens": -1}, {"input_tokens": "9"}, {"input_tokens": 1.5}, [], 7])
def test_absurd_usage_is_none(usage):
    inspector = WholeInspector()
    body = json.dumps({"usage": usage, "content": []}).encode()
    assert inspector.feed(body) == body
    assert inspector.usage is None
    assert inspector.output_tokens_seen == len(body) // 4


def test_odd_events_pass():
    odd = b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":7}\n\n'
    new = _event("news", delta=[1])
    inspector, passed = _watch(START + odd + new + END + STOP)
    assert passed == START + odd + new + END + STOP
    assert inspector.is_finished


@pytest.mark.parametrize("data", [b"data: {\n\n", b"data: []\n\n", b"data: <html>\n\n"])
def test_garbage_is_a_bad_answer(data):
    with pytest.raises(BadAnswer):
        _watch(data)
    with pytest.raises(BadAnswer):
        _watch(START + BEGIN + TEXT, MORE + data)


def test_an_endless_event_is_too_large():
    with pytest.raises(BadAnswer) as caught:
        _watch(b"data: " + b"x" * (sse.MAX_FRAME_BYTES + 1))
    assert caught.value.code == "upstream_too_large"


def test_a_count_is_no_usage():
    inspector = CountInspector()
    assert inspector.feed(b'{"input_tokens":12}') == b'{"input_tokens":12}'
    assert inspector.usage == Usage()
    assert inspector.is_finished
    with pytest.raises(BadAnswer):
        CountInspector().feed(b"<html>")


@pytest.mark.parametrize("read", [WholeInspector().feed, read_message])
def test_an_error_in_place_of_a_message_is_one(read):
    with pytest.raises(ProviderRateLimited):
        read(json.dumps({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}).encode())


def test_a_rate_limit_inside_a_stream_is_one():
    inspector, _ = _watch(_event("error", error={"type": "rate_limit_error", "message": "slow down"}))
    assert isinstance(inspector.error, ProviderRateLimited)
