"""OpenAI's adapter where requests of other dialects go to its Responses API: the contract, over recorded cases."""

from pathlib import Path

import msgspec
import pytest

from providers.catalog import load_catalog
from providers.errors import (
    BadAnswer,
    ConnectFailed,
    ContentBlocked,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
    StreamInterrupted,
)
from providers.openai.azure import AzureOptions, azure_plugin
from providers.openai.plugin import OpenAIOptions, openai_plugin
from providers.openai.responses.decoder import EventDecoder
from providers.openai.responses.downstream import parse_response_request
from providers.openai.responses.render import render_response
from providers.openai.responses.upstream import read_response
from providers.stream import collect
from providers.testing.cases import load_cases
from providers.testing.contract import HttpAdapterContract
from providers.testing.sender import ScriptedSender
from providers.types import ChatRequest, Choice, Completion, Message, Target, TextDelta, ThinkingPart

HERE = Path(__file__).parent / "cases"
CASES = load_cases(HERE / "answers.json", HERE / "streams.json")
ROWS = load_catalog().vendors
TARGET = Target(provider="p", model="m", base_url="https://api.example.com/v1")


class TestOpenAI(HttpAdapterContract):
    plugin = openai_plugin("openai", ROWS["openai"])
    cases = CASES

    def options(self):
        return OpenAIOptions(chat_api="responses")


class TestAzure(HttpAdapterContract):
    plugin = azure_plugin("azure", ROWS["azure"])
    cases = CASES

    def options(self):
        return AzureOptions(chat_api="responses")


STREAMS = [pytest.param(case, id=case.name) for case in CASES if case.request.stream]


def _events(data):
    decoder = EventDecoder()
    return decoder.feed(data) + decoder.finish()


@pytest.mark.parametrize("case", STREAMS)
def test_lines_may_end_in_crlf_and_comments_may_come_between(case):
    stream = b": hi\r\n\r\n" + case.answer.replace(b"\n", b"\r\n")
    assert collect(_events(stream)) == case.completion


@pytest.mark.parametrize("case", STREAMS)
def test_a_stream_that_is_cut_is_interrupted(case):
    for place in range(0, len(case.answer) - 2, 7):
        with pytest.raises(StreamInterrupted):
            _events(case.answer[:place])


def _frame(text):
    return b"data: " + text.encode() + b"\n\n"


HEAD = _frame('{"type":"response.created","response":{"id":"resp_1","model":"m","created_at":7}}')
DELTA = _frame('{"type":"response.output_text.delta","output_index":0,"content_index":0,"delta":"x"}')
FAILED = '{{"type":"response.failed","response":{{"id":"resp_1","status":"failed","error":{}}}}}'


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ('{"code":"server_error","message":"m"}', ProviderOverloaded),
        ('{"code":"rate_limit_exceeded","message":"m"}', ProviderRateLimited),
        ('{"code":"invalid_prompt","message":"m"}', RequestRefused),
        ('{"code":"image_too_large","message":"m"}', RequestRefused),
        ('{"code":"image_content_policy_violation","message":"m"}', ContentBlocked),
        ("null", ProviderOverloaded),
        ("7", ProviderOverloaded),
    ],
)
def test_a_failed_response_is_an_error_of_its_kind(error, kind):
    with pytest.raises(kind):
        _events(HEAD + _frame(FAILED.format(error)))
    with pytest.raises(kind):
        read_response(f'{{"id":"resp_1","status":"failed","error":{error},"output":[]}}'.encode())


@pytest.mark.parametrize(
    "frame",
    [
        '{"type":"error","code":"server_error","message":"m","param":null,"sequence_number":3}',
        '{"type":"error","error":{"type":"server_error","code":"x","message":"m"}}',
        '{"error":{"message":"m"}}',
    ],
)
def test_what_came_before_an_error_is_said_first(frame):
    decoder = EventDecoder()
    events = decoder.feed(HEAD + DELTA + _frame(frame) + DELTA)
    assert events[1:] == [TextDelta(text="x")]
    assert decoder.is_finished
    for _ in range(2):
        with pytest.raises(ProviderOverloaded):
            decoder.feed(b"")
    with pytest.raises(ProviderOverloaded):
        decoder.finish()


def test_an_answer_that_comes_only_at_the_end_is_read_from_there():
    item = '{"type":"message","role":"assistant","id":"msg_1","content":[{"type":"output_text","text":"hi"}]}'
    end = f'{{"type":"response.completed","response":{{"id":"resp_1","status":"completed","output":[{item}]}}}}'
    assert collect(_events(HEAD + _frame(end))).choices[0].content[0].text == "hi"


def test_an_item_that_comes_whole_is_said_once():
    item = '{"type":"message","id":"msg_1","content":[{"type":"output_text","text":"hi"}]}'
    whole = _frame(f'{{"type":"response.output_item.done","output_index":0,"item":{item}}}')
    end = _frame('{"type":"response.completed","response":{"id":"resp_1","output":[]}}')
    assert [part.text for part in collect(_events(HEAD + whole + end)).choices[0].content] == ["hi"]


def test_an_end_without_a_beginning_is_a_bad_answer():
    with pytest.raises(BadAnswer):
        _events(_frame('{"type":"response.completed"}'))


def test_an_event_of_more_than_a_mebibyte_is_a_bad_answer():
    with pytest.raises(BadAnswer) as caught:
        EventDecoder().feed(b"data: " + b"x" * (1 << 20))
    assert caught.value.code == "upstream_too_large"


@pytest.mark.parametrize("body", [b'{"output": [7]}', b'{"output": {}}', b'{"status": "completed"}', b"[]", b"{"])
def test_what_is_no_response_is_a_bad_answer(body):
    with pytest.raises(BadAnswer):
        read_response(body)


def test_each_vendor_gets_only_its_own_signatures_back():
    item = b'{"id":"rs_1","type":"reasoning","summary":[],"encrypted_content":"gA"}'
    answer = b'{"id":"resp_1","status":"completed","output":[' + item + b"]}"
    openai, xai = (_dialect(name) for name in ("openai", "xai"))
    for dialect, signature in ((openai, "responses:gA"), (xai, "responses.xai:gA")):
        part = dialect.decode_chat(answer).choices[0].content[0]
        assert (part.signature, part.redacted) == (signature, True)
        streamed = dialect.chat_decoder()
        done = HEAD + _frame(f'{{"type":"response.output_item.done","output_index":0,"item":{item.decode()}}}')
        end = _frame('{"type":"response.completed","response":{"id":"resp_1"}}')
        assert collect([*streamed.feed(done + end), *streamed.finish()]).choices[0].content == [part]
        turn = Message(role="assistant", content=[part])
        request = ChatRequest(model="m", messages=[turn], dialect="anthropic")
        for other in (openai, xai):
            sent = msgspec.json.decode(other.encode_chat(request, TARGET).body)["input"]
            assert bool(sent) is (other is dialect)


def test_xais_reasoning_comes_back_to_it_through_a_client():
    part = ThinkingPart(redacted=True, signature="responses.xai:gA")
    choice = Choice(index=0, content=[part], finish_reason="stop")
    answer = Completion(id="1", model="m", created=7, choices=[choice])
    output = render_response(answer, document={"model": "m"}, model="m")["output"]
    assert output[0]["encrypted_content"] != "gA"
    (turn,) = parse_response_request({"model": "m", "input": output}).messages
    assert (turn.content[0].signature, turn.content[0].redacted) == (part.signature, True)


def _dialect(name):
    sender = ScriptedSender(ConnectFailed())
    return openai_plugin(name, ROWS[name]).open(sender, OpenAIOptions(chat_api="responses"))._dialect
