"""What Bedrock refuses, and what breaks on its way."""

import json

import pytest

from providers.bedrock.errors import decode_error
from providers.bedrock.plugin import bedrock_plugin
from providers.bedrock.stream import EventDecoder
from providers.catalog import load_catalog
from providers.errors import (
    BadAnswer,
    ContentBlocked,
    ContextTooLong,
    CredentialRefused,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
    StreamInterrupted,
)
from providers.framing import eventstream
from providers.stream import collect
from providers.testing.sender import ScriptedAnswer, ScriptedSender
from providers.types import ChatRequest, Finished, Message, Secret, Started, Target, TextDelta, TextPart, UsageReported

STREAM_TYPE = "application/vnd.amazon.eventstream"
TARGET = Target(
    provider="p", model="anthropic.claude-3-haiku-20240307-v1:0", base_url="https://b.invalid", credential=Secret("k")
)


def frame(name, payload, *, kind="event", **headers):
    named = {":exception-type" if kind == "exception" else ":event-type": name, ":content-type": "application/json"}
    return eventstream.encode({**named, ":message-type": kind, **headers}, json.dumps(payload).encode())


START = frame("messageStart", {"role": "assistant"})
TEXT = frame("contentBlockDelta", {"delta": {"text": "Hi"}, "contentBlockIndex": 0})
STOPPED = frame("contentBlockStop", {"contentBlockIndex": 0})
END = frame("messageStop", {"stopReason": "end_turn"})
USAGE = frame("metadata", {"usage": {"inputTokens": 3, "outputTokens": 1, "totalTokens": 4}, "metrics": {}})


# --- Refusals


@pytest.mark.parametrize(
    ("status", "name", "message", "kind"),
    [
        (400, "ValidationException", "The provided model identifier is invalid.", RequestRefused),
        (400, "ValidationException", "Input is too long for requested model.", ContextTooLong),
        (400, "ValidationException", "prompt is too long: 210000 tokens > 200000 maximum", ContextTooLong),
        (400, "ValidationException", "input length and `max_tokens` exceed context limit: 1 + 2 > 2", ContextTooLong),
        (400, "ValidationException", "Too many input tokens. Max input tokens: 8192", ContextTooLong),
        (400, "ValidationException", "Output blocked by content filtering policy", ContentBlocked),
        (400, "ServiceQuotaExceededException", "Your request exceeds the service quota.", ProviderRateLimited),
        (400, "UnrecognizedClientException", "The security token included is invalid.", CredentialRefused),
        (400, "ExpiredTokenException", "The security token has expired", CredentialRefused),
        (403, "AccessDeniedException", "You don't have access to the model.", CredentialRefused),
        (403, "InvalidSignatureException", "The canonical string was 'POST\n/model'", CredentialRefused),
        (404, "ResourceNotFoundException", "The model has reached its end of life.", RequestRefused),
        (408, "ModelTimeoutException", "The model took too long.", ProviderOverloaded),
        (424, "ModelErrorException", "The model failed.", ProviderOverloaded),
        (429, "ThrottlingException", "Too many tokens per day, please wait before trying again.", ProviderRateLimited),
        (429, "ModelNotReadyException", "The model is not ready.", ProviderRateLimited),
        (500, "InternalServerException", "Internal error", ProviderOverloaded),
        (503, "ServiceUnavailableException", "Unavailable", ProviderOverloaded),
    ],
)
def test_an_exception_is_known_by_its_name_wherever_it_stands(status, name, message, kind):
    url = ":http://internal.amazon.com/coral/com.amazon.bedrock/"
    forms = [
        ({"x-amzn-errortype": name + url}, {"message": message}),
        ({"x-amzn-errortype": name}, {"Message": message}),
        ({}, {"__type": f"com.amazon.coral.service#{name}", "message": message}),
    ]
    for headers, body in forms:
        error = decode_error(status, headers, json.dumps(body).encode())
        assert type(error) is kind
        assert (error.status, error.vendor_code) == (status, name)
        if isinstance(error, RequestRefused):
            assert error.message == message


def test_a_wait_is_told_and_what_a_signature_was_made_of_is_not():
    error = decode_error(429, {"x-amzn-errortype": "ThrottlingException", "retry-after": "3"}, b'{"message":"slow"}')
    assert (error.retry_after_s, error.message) == (3, "slow")
    refused = decode_error(403, {"x-amzn-errortype": "InvalidSignatureException"}, b'{"message":"host:secret"}')
    assert "secret" not in str(refused)


# --- Streams


async def read(body, *, content_type=STREAM_TYPE):
    answer = ScriptedAnswer(body, headers={"content-type": content_type})
    plugin = bedrock_plugin("bedrock", load_catalog().vendors["bedrock"])
    adapter = plugin.open(ScriptedSender(answer), plugin.options())
    message = Message(role="user", content=[TextPart(text="x")])
    request = ChatRequest(model="public", messages=[message], dialect="openai", stream=True)
    events = []
    stream = await adapter.chat(request, TARGET)
    try:
        async for event in stream:
            events.append(event)  # noqa: PERF401 - what came before an error counts
    except Exception as error:
        error.events = events
        raise
    finally:
        stream.close()
    return events


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("throttlingException", ProviderRateLimited),
        ("validationException", RequestRefused),
        ("modelStreamErrorException", ProviderOverloaded),
        ("internalServerException", ProviderOverloaded),
        ("serviceUnavailableException", ProviderOverloaded),
        ("modelTimeoutException", ProviderOverloaded),
        ("nobodyKnowsException", ProviderOverloaded),
    ],
)
async def test_an_exception_in_the_stream_is_an_error_after_what_came_before(name, kind):
    broken = frame(name, {"message": "It went wrong."}, kind="exception")
    for pieces in ([START + TEXT + broken], [START, TEXT, broken]):
        with pytest.raises(kind) as caught:
            await read(pieces)
        assert type(caught.value) is kind
        assert caught.value.status is None
        assert caught.value.vendor_code == name[0].upper() + name[1:]
        assert [type(event) for event in caught.value.events] == [Started, TextDelta]


async def test_a_prompt_that_is_too_long_may_be_told_in_the_stream():
    with pytest.raises(ContextTooLong, match="too long"):
        await read(
            [frame("validationException", {"message": "Input is too long for requested model."}, kind="exception")]
        )


async def test_an_error_without_a_payload_is_one_too():
    headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": "An internal error"}
    with pytest.raises(ProviderOverloaded) as caught:
        await read([START, eventstream.encode(headers)])
    assert caught.value.vendor_code == "InternalError"


async def test_a_stream_is_complete_with_the_end_of_its_message():
    events = await read([START + TEXT + STOPPED + END])
    assert collect(events).usage is None
    assert isinstance(events[-1], Finished)
    assert isinstance((await read([START + TEXT + STOPPED + END + USAGE]))[-1], UsageReported)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        START,
        START + TEXT,
        START + TEXT + STOPPED,
        START + USAGE,
        START + TEXT + END[:-1],
        START + TEXT + END + USAGE[:-1],
    ],
)
async def test_without_it_the_stream_was_cut(body):
    with pytest.raises(StreamInterrupted):
        await read([body])


async def test_nothing_after_the_last_event_is_read():
    events = await read([START + TEXT + END + USAGE + b"odd", b"garbage that nobody reads"])
    assert isinstance(events[-1], UsageReported)


async def test_events_after_the_end_of_the_message_add_nothing():
    late = frame("contentBlockDelta", {"delta": {"text": "more"}, "contentBlockIndex": 1})
    events = await read([START + TEXT + END + late + END + USAGE])
    assert sum(isinstance(event, Finished) for event in events) == 1
    assert collect(events).choices[0].content == [TextPart(text="Hi")]


async def test_a_changed_byte_and_a_frame_too_large_are_bad_answers():
    changed = bytearray(START + TEXT + END)
    changed[len(START) + 60] ^= 1
    with pytest.raises(BadAnswer):
        await read([bytes(changed)])
    large = frame("contentBlockDelta", {"delta": {"text": "x" * (1 << 20)}, "contentBlockIndex": 0})
    with pytest.raises(BadAnswer) as caught:
        await read([START, large])
    assert caught.value.code == "upstream_too_large"


async def test_an_event_that_is_no_json_is_a_bad_answer():
    headers = {":message-type": "event", ":event-type": "contentBlockDelta"}
    for payload in (b"{", b"[]", b"\xff", b"[" * 5000):
        with pytest.raises(BadAnswer):
            await read([START, eventstream.encode(headers, payload)])


async def test_another_type_of_content_is_a_bad_answer():
    for content_type in ("application/json", "text/event-stream", "text/html"):
        with pytest.raises(BadAnswer):
            await read([START + TEXT + END], content_type=content_type)


def test_fields_and_events_of_odd_shapes_change_nothing():
    odd = [
        frame("messageStart", {}),
        frame("contentBlockStart", {"contentBlockIndex": "x", "start": 7}),
        frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": "{}"}}}),
        frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": 7}}),
        frame("contentBlockStop", {"contentBlockIndex": 9}),
        frame("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hi"}}),
        frame("messageStop", {"stopReason": None, "additionalModelResponseFields": []}),
        frame("metadata", {"usage": {"inputTokens": -1, "outputTokens": 2}}),
    ]
    decoder = EventDecoder()
    events = decoder.feed(b"".join(odd))
    completion = collect([*events, *decoder.finish()])
    assert completion.choices[0].content == [TextPart(text="Hi")]
    assert (completion.choices[0].finish_reason, completion.usage) == ("other", None)
