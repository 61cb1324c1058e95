"""OpenAI's own SDK through a served gateway to a provider over TCP, in both modes."""

import base64
import json
import struct

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel
from servers.gateway import GatewayProcess

from providers.testing import FakeProvider, count_tokens, vector_of

HELLO = [{"role": "user", "content": "say hello to the gateway"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.mark.parametrize("model", ["echo", "fake-model"])
def test_answers_a_chat(client: OpenAI, model: str):
    answer = client.chat.completions.create(model=model, messages=HELLO)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


@pytest.mark.parametrize("model", ["echo", "fake-model"])
def test_streams_a_chat(client: OpenAI, model: str):
    whole = client.chat.completions.create(model=model, messages=HELLO).choices[0].message.content
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole
    assert len(chunks) > 2
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks), "usage that nobody asked for"


@pytest.mark.parametrize("model", ["echo", "fake-model"])
def test_streams_usage_when_asked(client: OpenAI, model: str):
    stream = client.chat.completions.create(
        model=model, messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    last = list(stream)[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens > 0


async def test_answers_and_streams_asynchronously(async_client: AsyncOpenAI):
    answer = await async_client.chat.completions.create(model="echo", messages=HELLO)
    stream = await async_client.chat.completions.create(model="echo", messages=HELLO, stream=True)
    parts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(parts) == answer.choices[0].message.content == HELLO[0]["content"]
    assert len([part for part in parts if part]) == 5


def test_calls_tools_and_takes_their_results(client: OpenAI):
    answer = client.chat.completions.create(model="fake-tools", messages=HELLO, tools=[WEATHER])
    calls = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls"
    assert calls is not None
    assert len(calls) == 2
    assert json.loads(calls[0].function.arguments) is not None
    results = [{"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in calls]
    messages = [*HELLO, answer.choices[0].message.model_dump(exclude_none=True), *results]
    second = client.chat.completions.create(model="fake-model", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content


def test_streams_tool_calls(client: OpenAI):
    with client.chat.completions.stream(model="fake-tools", messages=HELLO, tools=[WEATHER]) as stream:
        final = stream.get_final_completion()
    calls = final.choices[0].message.tool_calls
    assert calls is not None
    assert {call.function.name for call in calls} == {"get_weather"}
    assert len({call.id for call in calls}) == 2


def test_passes_images_schema_logprobs_and_n(client: OpenAI, fake_provider: FakeProvider):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
    schema = {"name": "answer", "strict": True, "schema": {"type": "object", "properties": {"a": {"type": "string"}}}}
    answer = client.chat.completions.create(
        model="fake-model",
        messages=[{"role": "user", "content": [{"type": "text", "text": "look"}, image]}],
        response_format={"type": "json_schema", "json_schema": schema},
        logprobs=True,
        top_logprobs=2,
        n=2,
    )
    assert len(answer.choices) == 2
    assert answer.choices[0].logprobs is not None
    json.loads(answer.choices[0].message.content or "")
    sent = fake_provider.journal.last.json
    assert sent["messages"][0]["content"][1] == image  # type: ignore[index]
    assert sent["response_format"]["json_schema"] == schema  # type: ignore[index]
    assert (sent["n"], sent["top_logprobs"]) == (2, 2)


def test_parses_structured_output(client: OpenAI):
    class Answer(BaseModel):
        a: str

    parsed = client.chat.completions.parse(model="fake-model", messages=HELLO, response_format=Answer)
    assert isinstance(parsed.choices[0].message.parsed, Answer)


def test_unknown_fields_reach_the_provider_untouched(client: OpenAI, fake_provider: FakeProvider):
    extra = {"vendor_field": {"deep": [1, 2.50, None, "ü\u2028"]}, "verbosity": "low"}
    client.chat.completions.create(model="fake-model", messages=HELLO, extra_body=extra)
    assert fake_provider.journal.last.json.items() >= extra.items()


def test_the_bytes_between_equal_dialects_are_the_clients(gateway: GatewayProcess, fake_provider: FakeProvider):
    import httpx  # noqa: PLC0415 - the one raw request of this module

    body = b'{ "model" : "fake-model",\n\t"messages":[{"role":"user","content":"\\u00fc 1.50e0"}] , "x":1.50 }'
    headers = {"authorization": f"Bearer {gateway.key}", "content-type": "application/json; charset=utf-8"}
    answer = httpx.post(f"{gateway.openai_url}/chat/completions", content=body, headers=headers)
    assert answer.status_code == 200
    assert fake_provider.journal.last.body == body


@pytest.mark.parametrize("given", ["one text", ["first", "second"], [[1, 2, 3], [4]]])
def test_embeds(client: OpenAI, given: object):
    answer = client.embeddings.create(model="fake-embedding", input=given)  # type: ignore[arg-type]
    assert len(answer.data) == (1 if isinstance(given, str) else 2)
    assert answer.usage.prompt_tokens > 0
    if isinstance(given, str):
        assert answer.data[0].embedding == pytest.approx(vector_of(given, dimensions=len(answer.data[0].embedding)))


def test_embeds_with_the_echo_in_both_encodings(client: OpenAI):
    floats = client.embeddings.create(model="echo", input="hi", encoding_format="float").data[0].embedding
    raw = client.embeddings.with_raw_response.create(model="echo", input="hi", encoding_format="base64")
    packed = base64.b64decode(json.loads(raw.text)["data"][0]["embedding"])
    assert struct.unpack(f"<{len(packed) // 4}f", packed) == pytest.approx(floats)


def test_lists_and_reads_models(client: OpenAI):
    names = {model.id for model in client.models.list()}
    assert {"echo", "fake-model", "fake-embedding"} <= names
    assert client.models.retrieve("fake-model").id == "fake-model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_says_who_served_and_what_it_cost(client: OpenAI):
    raw = client.chat.completions.with_raw_response.create(model="fake-model", messages=HELLO)
    usage = raw.parse().usage
    assert usage is not None
    assert raw.headers["x-gateway-provider"] == "fake"
    assert raw.headers["x-gateway-model"] == "fake-model"
    assert raw.headers["x-gateway-attempts"] == "1"
    assert float(raw.headers["x-gateway-overhead-ms"]) > 0
    assert raw.parse()._request_id == raw.headers["x-request-id"]
    expected_nusd = -(-(usage.prompt_tokens * 150_000_000 + usage.completion_tokens * 600_000_000) // 1_000_000)
    assert raw.headers["x-gateway-cost"] == f"{expected_nusd / 1e9:.9f}"
    assert usage.completion_tokens == count_tokens(raw.parse().choices[0].message.content or "")


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [
        ("no-such-model", openai.NotFoundError, "model_not_found"),
        ("fake-400", openai.BadRequestError, None),
        ("fake-401", openai.InternalServerError, "upstream_auth_failed"),
        ("fake-429", openai.RateLimitError, "upstream_rate_limited"),
        ("fake-500", openai.InternalServerError, "upstream_error"),
        ("fake-503", openai.InternalServerError, "upstream_error"),
        ("fake-html", openai.InternalServerError, "upstream_bad_response"),
        ("fake-bad-json", openai.InternalServerError, "upstream_bad_response"),
        ("fake-redirect", openai.InternalServerError, "upstream_redirect_blocked"),
        ("fake-refused", openai.InternalServerError, "upstream_interrupted"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_are_the_sdks_own(
    client: OpenAI, model: str, error: type[openai.APIStatusError], code: str | None, stream: bool
):
    with pytest.raises(error) as caught:
        client.chat.completions.create(model=model, messages=HELLO, stream=stream)
    assert caught.value.request_id
    if code is not None:
        assert caught.value.code == code


def test_an_answer_that_is_too_large_is_not_read_to_its_end(client: OpenAI):
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model="fake-huge", messages=HELLO)
    assert caught.value.code == "upstream_too_large"


@pytest.mark.parametrize(
    ("model", "code"),
    [
        ("fake-reset", "upstream_interrupted"),
        ("fake-cut", "upstream_interrupted"),
        ("fake-no-done", "upstream_interrupted"),
        ("fake-error-frame", "upstream_error"),
    ],
)
def test_a_stream_that_breaks_says_so(client: OpenAI, model: str, code: str):
    received: list[object] = []
    stream = client.chat.completions.create(model=model, messages=HELLO, stream=True)
    with pytest.raises(openai.APIError) as caught:
        received.extend(stream)
    assert received, "content came before the break"
    assert caught.value.code == code


@pytest.mark.parametrize(
    "model",
    [
        "fake-crlf",
        "fake-cr",
        "fake-comments",
        "fake-byte-by-byte",
        "fake-one-write",
        "fake-until-close",
        "fake-usage-everywhere",
        "fake-no-usage",
        "fake-negative-usage",
        "fake-text-usage",
        "fake-huge-usage",
        "fake-float-usage",
    ],
)
def test_odd_but_complete_streams_are_complete(client: OpenAI, model: str):
    whole = client.chat.completions.create(model="fake-model", messages=HELLO).choices[0].message.content
    chunks = list(client.chat.completions.create(model=model, messages=HELLO, stream=True))
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == whole


def test_a_wrong_key_is_refused(gateway: GatewayProcess):
    with (
        OpenAI(base_url=gateway.openai_url, api_key="sk-gw-wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        stranger.chat.completions.create(model="echo", messages=HELLO)
    assert caught.value.code == "invalid_api_key"
