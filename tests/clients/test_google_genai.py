"""Google's SDK for Python: `http_options={"base_url": …}` is the gateway without a path, `api_key` is the gateway's."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from google import genai
from google.genai import errors, types
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

DECLARED = types.FunctionDeclaration(name=TOOL, description=TOOL_SAYS, parameters_json_schema=PARAMETERS)
TOOLS = [types.Tool(function_declarations=[DECLARED])]
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)
every_route = pytest.mark.parametrize("route", ROUTES)


def model(kind: str, route: str) -> str:
    return chain.model(kind, route, like=chain.GEMINI)


@pytest.fixture(scope="module")
def client(front: GatewayProcess) -> Iterator[genai.Client]:
    with genai.Client(api_key=front.key, http_options={"base_url": front.base_url, "timeout": 30_000}) as sdk:
        yield sdk


def config(**fields: Any) -> types.GenerateContentConfig:
    return types.GenerateContentConfig(**fields)


@every_route
def test_generates_and_streams_content(client: genai.Client, fake_provider: FakeProvider, route: str):
    asked = {"model": model("plain", route), "contents": QUESTION, "config": config(system_instruction=RULE)}
    whole = client.models.generate_content(**asked)
    assert (whole.text, whole.candidates[0].finish_reason) == (QUESTION, types.FinishReason.STOP)
    usage = whole.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.total_token_count) == (18, 7, 25)
    assert RULE in str(fake_provider.journal.last.json["messages"][0]["content"])
    chunks = list(client.models.generate_content_stream(**asked))
    assert "".join(chunk.text or "" for chunk in chunks) == QUESTION
    assert len(chunks) > 2
    assert chunks[-1].candidates[0].finish_reason == types.FinishReason.STOP
    assert chunks[-1].usage_metadata.total_token_count == 25


@every_route
def test_a_stop_at_the_cap_is_told(client: genai.Client, route: str):
    answer = client.models.generate_content(
        model=model("plain", route), contents=QUESTION, config=config(max_output_tokens=3, temperature=0.5, seed=7)
    )
    assert answer.candidates[0].finish_reason == types.FinishReason.MAX_TOKENS


@every_route
def test_it_calls_functions_by_itself(client: genai.Client, route: str):
    asked_for = []

    def get_weather(city: str) -> str:
        """Looks up the weather of a city."""
        asked_for.append(city)
        return RESULT

    answer = client.models.generate_content(
        model=model("plain", route), contents=QUESTION, config=config(tools=[get_weather])
    )
    assert (answer.text, asked_for) == (QUESTION, ["text"])


@every_route
def test_content_goes_on_after_parallel_calls(client: genai.Client, fake_provider: FakeProvider, route: str):
    by_hand = config(tools=TOOLS, automatic_function_calling=BY_HAND)
    first = client.models.generate_content(model=model("two-calls", route), contents=QUESTION, config=by_hand)
    calls = first.function_calls
    assert [(call.name, call.args) for call in calls] == [(TOOL, ARGUMENTS)] * 2
    answers = [
        types.Part(
            function_response=types.FunctionResponse(id=call.id, name=call.name, response={"result": f"{RESULT} {at}"})
        )
        for at, call in enumerate(calls)
    ]
    turns = [types.UserContent(QUESTION), first.candidates[0].content, types.UserContent(answers)]
    second = client.models.generate_content(model=model("plain", route), contents=turns, config=by_hand)
    assert second.text == QUESTION
    sent = fake_provider.journal.last.json["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == [turn["tool_call_id"] for turn in sent[2:]]
    assert [f"{RESULT} {at}" in turn["content"] for at, turn in enumerate(sent[2:])] == [True, True]


@every_route
def test_streams_calls(client: genai.Client, route: str):
    by_hand = config(tools=TOOLS, automatic_function_calling=BY_HAND)
    stream = client.models.generate_content_stream(model=model("two-calls", route), contents=QUESTION, config=by_hand)
    calls = [call for chunk in stream for call in chunk.function_calls or []]
    assert [(call.name, call.args) for call in calls] == [(TOOL, ARGUMENTS)] * 2


@every_route
@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_are_shown_and_signed(client: genai.Client, fake_provider: FakeProvider, route: str, stream: bool):
    """The signature comes with the call that it signs, and goes back with it to whoever made it."""
    thinking = types.ThinkingConfig(include_thoughts=True, thinking_budget=1024)
    by_hand = config(tools=TOOLS, automatic_function_calling=BY_HAND, thinking_config=thinking)
    asked = {"model": model("signed", route), "contents": QUESTION, "config": by_hand}
    if stream:
        parts = [
            part
            for chunk in client.models.generate_content_stream(**asked)
            for part in chunk.candidates[0].content.parts or []
        ]
    else:
        parts = client.models.generate_content(**asked).candidates[0].content.parts
    assert "".join(part.text for part in parts if part.thought) == REASONING
    call = next(part for part in parts if part.function_call)
    answer = types.FunctionResponse(id=call.function_call.id, name=TOOL, response={"result": RESULT})
    turns = [
        types.UserContent(QUESTION),
        types.ModelContent(parts),
        types.UserContent(types.Part(function_response=answer)),
    ]
    client.models.generate_content(model=model("plain", route), contents=turns, config=by_hand)
    sent = fake_provider.journal.last.json["messages"][1]["tool_calls"][0]
    # A plain server of OpenAI's wire is not sent what Google signs.
    signed = None if route == "openai" else {"google": {"thought_signature": SIGNATURE}}
    assert sent.get("extra_content") == signed


@every_route
def test_answers_in_a_schema(client: genai.Client, route: str):
    asked = config(response_mime_type="application/json", response_schema=Forecast)
    answer = client.models.generate_content(model=model("plain", route), contents=QUESTION, config=asked)
    assert answer.parsed == FORECAST
    asked = config(response_mime_type="application/json", response_json_schema=Forecast.model_json_schema())
    answer = client.models.generate_content(model=model("plain", route), contents=QUESTION, config=asked)
    assert Forecast.model_validate(answer.parsed) == FORECAST


@every_route
def test_shows_images(client: genai.Client, fake_provider: FakeProvider, route: str):
    image = types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png")
    client.models.generate_content(model=model("plain", route), contents=[QUESTION, image])
    parts = fake_provider.journal.last.json["messages"][0]["content"]
    shown = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert shown == [f"data:image/png;base64,{PNG}"]


@every_route
def test_a_chat_remembers(client: genai.Client, fake_provider: FakeProvider, route: str):
    chat = client.chats.create(model=model("plain", route), config=config(system_instruction=RULE))
    assert chat.send_message(QUESTION).text == QUESTION
    assert "".join(chunk.text or "" for chunk in chat.send_message_stream("And tomorrow?")) == "And tomorrow?"
    sent = [turn for turn in fake_provider.journal.last.json["messages"] if turn["role"] != "system"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]


@every_route
def test_errors_are_its_own_classes(client: genai.Client, route: str):
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=model("busy", route), contents=QUESTION)
    assert (caught.value.code, caught.value.status) == (429, "RESOURCE_EXHAUSTED")


def test_a_stranger_is_refused(client: genai.Client, front: GatewayProcess):
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model="nothing", contents=QUESTION)
    assert caught.value.code == 404
    stranger = genai.Client(api_key="wrong", http_options={"base_url": front.base_url})
    with stranger, pytest.raises(errors.ClientError) as caught:
        stranger.models.generate_content(model="echo", contents=QUESTION)
    assert caught.value.code == 401


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")
async def test_the_asynchronous_client_streams(front: GatewayProcess):
    client = genai.Client(api_key=front.key, http_options={"base_url": front.base_url})
    async with client.aio as sdk:
        stream = await sdk.models.generate_content_stream(model="echo", contents=QUESTION)
        assert "".join([chunk.text or "" async for chunk in stream]) == QUESTION
