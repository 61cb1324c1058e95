"""Anthropic's SDK for Python: `base_url` is the gateway without a path, `api_key` is the gateway's."""

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic import Anthropic, AsyncAnthropic, beta_tool
from servers.gateway import GatewayProcess

from clients import chain
from clients.chain import ROUTES
from clients.conversation import (
    ARGUMENTS,
    FORECAST,
    PARAMETERS,
    PNG,
    QUESTION,
    REASONING,
    RESULT,
    RULE,
    SIGNATURE,
    TOOL,
    TOOL_SAYS,
    Forecast,
)
from providers.testing import FakeProvider

ASKED = [{"role": "user", "content": QUESTION}]
TOOLS = [{"name": TOOL, "description": TOOL_SAYS, "input_schema": PARAMETERS}]
THINKING = {"type": "enabled", "budget_tokens": 1024}
MAX_TOKENS = 2048
every_route = pytest.mark.parametrize("route", ROUTES)


def model(kind: str, route: str) -> str:
    return chain.model(kind, route, like=chain.CLAUDE)


@pytest.fixture(scope="module")
def client(front: GatewayProcess) -> Iterator[Anthropic]:
    with Anthropic(base_url=front.base_url, api_key=front.key, max_retries=0, timeout=30) as sdk:
        yield sdk


def asking(kind: str, route: str, **fields: Any) -> dict[str, Any]:
    return {"model": model(kind, route), "max_tokens": MAX_TOKENS, "messages": ASKED, **fields}


@every_route
def test_answers_and_streams_a_message(client: Anthropic, fake_provider: FakeProvider, route: str):
    asked = asking("plain", route, system=[{"type": "text", "text": RULE, "cache_control": {"type": "ephemeral"}}])
    whole = client.messages.create(**asked)
    assert ([block.text for block in whole.content], whole.stop_reason) == ([QUESTION], "end_turn")
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (18, 7)
    first = fake_provider.journal.last.json["messages"][0]
    assert first["role"] in {"system", "developer"}
    assert RULE in str(first["content"])
    events = [event.type for event in client.messages.create(**asked, stream=True)]
    assert (events[0], events[-1]) == ("message_start", "message_stop")
    with client.messages.stream(**asked) as stream:
        assert "".join(stream.text_stream) == QUESTION
        final = stream.get_final_message()
    assert (final.content[0].text, final.stop_reason, final.model) == (QUESTION, "end_turn", whole.model)
    assert (final.usage.input_tokens, final.usage.output_tokens) == (18, 7)


@every_route
def test_a_stop_at_the_cap_is_told(client: Anthropic, route: str):
    message = client.messages.create(**asking("plain", route, max_tokens=3))
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 3)


@every_route
def test_a_message_goes_on_after_parallel_tool_calls(client: Anthropic, fake_provider: FakeProvider, route: str):
    with client.messages.stream(**asking("two-calls", route, tools=TOOLS)) as stream:
        deltas = [event for event in stream if event.type == "input_json"]
        first = stream.get_final_message()
    calls = [block for block in first.content if block.type == "tool_use"]
    assert first.stop_reason == "tool_use"
    assert deltas
    assert [(call.name, call.input) for call in calls] == [(TOOL, ARGUMENTS)] * 2
    results = [
        {"type": "tool_result", "tool_use_id": call.id, "content": f"{RESULT} {at}"} for at, call in enumerate(calls)
    ]
    turns = [*ASKED, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = client.messages.create(**asking("plain", route, messages=turns, tools=TOOLS))
    assert second.content[0].text == QUESTION
    sent = fake_provider.journal.last.json["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == [turn["tool_call_id"] for turn in sent[2:]]
    assert [turn["content"] for turn in sent[2:]] == [f"{RESULT} 0", f"{RESULT} 1"]


@every_route
def test_the_tool_runner_runs_its_loop(client: Anthropic, route: str):
    asked_for = []

    @beta_tool
    def get_weather(city: str) -> str:
        """Look up the weather of a city."""
        asked_for.append(city)
        return RESULT

    runner = client.beta.messages.tool_runner(**asking("plain", route, tools=[get_weather]))
    assert runner.until_done().content[0].text == QUESTION
    assert asked_for == ["text"]


@every_route
def test_signed_thinking_goes_back_before_its_call(client: Anthropic, fake_provider: FakeProvider, route: str):
    with client.messages.stream(**asking("signed", route, tools=TOOLS, thinking=THINKING)) as stream:
        kinds = {event.type for event in stream}
        first = stream.get_final_message()
    assert {"thinking", "input_json"} <= kinds
    thoughts = [block for block in first.content if block.type == "thinking"]
    assert "".join(block.thinking for block in thoughts) == REASONING
    call = next(block for block in first.content if block.type == "tool_use")
    result = {"type": "tool_result", "tool_use_id": call.id, "content": RESULT}
    turns = [*ASKED, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    client.messages.create(**asking("plain", route, messages=turns, tools=TOOLS, thinking=THINKING))
    sent = fake_provider.journal.last.json["messages"][1]["tool_calls"][0]
    # A plain server of OpenAI's wire is not sent what Google signs, nor is Anthropic what a gateway has sealed.
    signed = None if route in {"openai", "anthropic"} else {"google": {"thought_signature": SIGNATURE}}
    assert sent.get("extra_content") == signed


@every_route
def test_parses_structured_output(client: Anthropic, route: str):
    asked = asking("plain", route, output_format=Forecast)
    assert client.messages.parse(**asked).parsed_output == FORECAST
    with client.messages.stream(**asked) as stream:
        assert stream.get_final_message().parsed_output == FORECAST


@every_route
def test_shows_images(client: Anthropic, fake_provider: FakeProvider, route: str):
    source = {"type": "base64", "media_type": "image/png", "data": PNG}
    content = [{"type": "image", "source": source}, {"type": "text", "text": QUESTION}]
    client.messages.create(**asking("plain", route, messages=[{"role": "user", "content": content}]))
    parts = fake_provider.journal.last.json["messages"][0]["content"]
    shown = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert shown == [f"data:image/png;base64,{PNG}"]


@every_route
def test_counts_tokens(client: Anthropic, route: str):
    asked = asking("plain", route, tools=TOOLS)
    del asked["max_tokens"]
    assert client.messages.count_tokens(**asked).input_tokens > 10


@every_route
def test_errors_are_its_own_classes(client: Anthropic, route: str):
    with pytest.raises(anthropic.RateLimitError) as caught:
        client.messages.create(**asking("busy", route))
    assert caught.value.response.headers["retry-after"] == "1"
    assert caught.value.request_id == caught.value.response.headers["request-id"]
    with pytest.raises(anthropic.APIStatusError), client.messages.stream(**asking("broken", route)) as stream:
        stream.get_final_message()


async def test_the_asynchronous_client_streams(front: GatewayProcess):
    sdk = AsyncAnthropic(base_url=front.base_url, api_key=front.key, timeout=30)
    async with sdk, sdk.messages.stream(model="echo", max_tokens=MAX_TOKENS, messages=ASKED) as stream:
        assert "".join([text async for text in stream.text_stream]) == QUESTION


def test_a_token_of_its_own_kind_is_a_key_too(front: GatewayProcess):
    with Anthropic(base_url=front.base_url, auth_token=front.key, timeout=30) as sdk:
        assert sdk.messages.create(model="echo", max_tokens=MAX_TOKENS, messages=ASKED).content[0].text == QUESTION


def test_lists_models(client: Anthropic):
    pages = client.models.list(limit=7)
    assert {"echo", *(model("plain", route) for route in ROUTES)} <= {found.id for found in pages}
    assert client.models.retrieve("echo").display_name == "echo"
    with pytest.raises(anthropic.NotFoundError):
        client.models.retrieve("nothing")
