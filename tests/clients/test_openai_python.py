"""OpenAI's SDK for Python: `base_url` ends in `/v1`, `api_key` is the gateway's."""

import json
from collections.abc import Iterator

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from servers.gateway import GatewayProcess

from clients import chain
from clients.chain import EMBEDDING_ROUTES, ROUTES
from clients.conversation import (
    ARGUMENTS,
    FORECAST,
    PARAMETERS,
    PNG,
    QUESTION,
    REASONING,
    REFUSAL,
    RESULT,
    RULE,
    SIGNATURE,
    TOOL,
    TOOL_SAYS,
    Forecast,
)
from providers.testing import FakeProvider, vector_of

ASKED = [{"role": "user", "content": QUESTION}]
CHAT_TOOL = {"type": "function", "function": {"name": TOOL, "description": TOOL_SAYS, "parameters": PARAMETERS}}
TOOL_OF_RESPONSES = {"type": "function", "name": TOOL, "description": TOOL_SAYS, "parameters": PARAMETERS}
every_route = pytest.mark.parametrize("route", ROUTES)


def model(kind: str, route: str) -> str:
    return chain.model(kind, route, like=chain.GPT)


@pytest.fixture(scope="module")
def client(front: GatewayProcess) -> Iterator[OpenAI]:
    with OpenAI(base_url=front.openai_url, api_key=front.key, max_retries=0, timeout=30) as sdk:
        yield sdk


# --- Chat completions


@every_route
def test_answers_and_streams_a_chat(client: OpenAI, route: str):
    asked = {"model": model("plain", route), "messages": [{"role": "developer", "content": RULE}, *ASKED]}
    whole = client.chat.completions.create(**asked)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (QUESTION, "stop")
    assert whole.usage is not None
    assert (whole.usage.prompt_tokens, whole.usage.completion_tokens) == (18, 7)
    chunks = list(client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == QUESTION
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.model_dump().items() >= {"prompt_tokens": 18, "completion_tokens": 7}.items()
    assert len({chunk.id for chunk in chunks}) == 1


@every_route
def test_the_stream_helper_gathers_tool_calls(client: OpenAI, route: str):
    kinds = []
    with client.chat.completions.stream(
        model=model("two-calls", route), messages=ASKED, tools=[{**CHAT_TOOL, "function": _strict()}]
    ) as stream:
        kinds += [event.type for event in stream]
        final = stream.get_final_completion().choices[0]
    assert {"chunk", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= set(kinds)
    assert final.finish_reason == "tool_calls"
    calls = final.message.tool_calls or []
    assert [call.function.parsed_arguments for call in calls] == [ARGUMENTS] * 2
    assert len({call.id for call in calls}) == 2


def _strict() -> dict[str, object]:
    return {**CHAT_TOOL["function"], "strict": True}


@every_route
def test_a_chat_goes_on_after_parallel_tool_calls(client: OpenAI, fake_provider: FakeProvider, route: str):
    first = client.chat.completions.create(model=model("two-calls", route), messages=ASKED, tools=[CHAT_TOOL])
    message = first.choices[0].message
    calls = message.tool_calls or []
    assert [json.loads(call.function.arguments) for call in calls] == [ARGUMENTS] * 2
    results = [{"role": "tool", "tool_call_id": call.id, "content": f"{RESULT} {at}"} for at, call in enumerate(calls)]
    second = client.chat.completions.create(
        model=model("plain", route), messages=[*ASKED, message, *results], tools=[CHAT_TOOL]
    )
    assert second.choices[0].message.content == QUESTION
    sent = fake_provider.journal.last.json["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[1]["tool_calls"]] == [turn["tool_call_id"] for turn in sent[2:]]
    assert [turn["content"] for turn in sent[2:]] == [f"{RESULT} 0", f"{RESULT} 1"]


@every_route
def test_parses_structured_output(client: OpenAI, route: str):
    asked = {"model": model("plain", route), "messages": ASKED, "response_format": Forecast}
    assert client.chat.completions.parse(**asked).choices[0].message.parsed == FORECAST
    with client.chat.completions.stream(**asked) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == FORECAST


@every_route
def test_shows_reasoning(client: OpenAI, route: str):
    asked = {"model": model("thinking", route), "messages": ASKED, "reasoning_effort": "low"}
    message = client.chat.completions.create(**asked).choices[0].message
    assert (message.reasoning_content, message.content) == (REASONING, QUESTION)
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(**asked, stream=True)]
    assert "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas) == REASONING


@every_route
def test_a_signed_call_goes_back_to_whoever_signed_it(client: OpenAI, fake_provider: FakeProvider, route: str):
    first = client.chat.completions.create(model=model("signed", route), messages=ASKED, tools=[CHAT_TOOL])
    message = first.choices[0].message
    result = {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": RESULT}
    client.chat.completions.create(model=model("plain", route), messages=[*ASKED, message, result], tools=[CHAT_TOOL])
    call = fake_provider.journal.last.json["messages"][1]["tool_calls"][0]
    assert call["extra_content"] == {"google": {"thought_signature": SIGNATURE}}


@every_route
def test_shows_images(client: OpenAI, fake_provider: FakeProvider, route: str):
    url = f"data:image/png;base64,{PNG}"
    content = [{"type": "text", "text": QUESTION}, {"type": "image_url", "image_url": {"url": url}}]
    client.chat.completions.create(model=model("plain", route), messages=[{"role": "user", "content": content}])
    parts = fake_provider.journal.last.json["messages"][0]["content"]
    assert [part["image_url"]["url"] for part in parts if part["type"] == "image_url"] == [url]


@every_route
def test_errors_are_its_own_classes(client: OpenAI, route: str):
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=model("busy", route), messages=ASKED)
    assert caught.value.response.headers["retry-after"] == "1"
    with (
        pytest.raises(openai.APIError),
        client.chat.completions.stream(model=model("broken", route), messages=ASKED) as stream,
    ):
        list(stream)


async def test_the_asynchronous_client_streams(front: GatewayProcess):
    async with AsyncOpenAI(base_url=front.openai_url, api_key=front.key, timeout=30) as sdk:
        stream = await sdk.chat.completions.create(model="echo", messages=ASKED, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == QUESTION
        response = await sdk.responses.create(model="echo", input=QUESTION)
        assert response.output_text == QUESTION


# --- Responses


@every_route
def test_answers_and_streams_a_response(client: OpenAI, route: str):
    asked = {"model": model("plain", route), "instructions": RULE, "input": QUESTION}
    whole = client.responses.create(**asked)
    assert (whole.output_text, whole.status) == (QUESTION, "completed")
    assert whole.usage is not None
    assert (whole.usage.input_tokens, whole.usage.output_tokens) == (18, 7)
    events = list(client.responses.create(**asked, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == events[-1].response.output_text == QUESTION


@every_route
def test_a_response_goes_on_from_a_stored_one(client: OpenAI, fake_provider: FakeProvider, route: str):
    name = model("plain", route)
    first = client.responses.create(model=name, input=QUESTION, tools=[TOOL_OF_RESPONSES])
    call = next(item for item in first.output if item.type == "function_call")
    assert json.loads(call.arguments) == ARGUMENTS
    result = {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}
    second = client.responses.create(
        model=name, input=[result], previous_response_id=first.id, tools=[TOOL_OF_RESPONSES]
    )
    assert second.output_text == QUESTION
    sent = fake_provider.journal.last.json["messages"]
    assert [turn["role"] for turn in sent] == ["user", "assistant", "tool"]
    assert (sent[2]["content"], sent[2]["tool_call_id"]) == (RESULT, sent[1]["tool_calls"][0]["id"])
    assert client.responses.retrieve(second.id).output_text == QUESTION
    client.responses.delete(second.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(second.id)


@every_route
def test_the_output_of_a_response_is_input_again(client: OpenAI, fake_provider: FakeProvider, route: str):
    """As clients do that have nothing stored: reasoning goes back encrypted, before the call that it led to."""
    asked = {"store": False, "include": ["reasoning.encrypted_content"], "tools": [TOOL_OF_RESPONSES]}
    first = client.responses.create(model=model("signed", route), input=ASKED, reasoning={"effort": "low"}, **asked)
    call = next(item for item in first.output if item.type == "function_call")
    reasoning = [item for item in first.output if item.type == "reasoning"]
    assert "".join(part.text for item in reasoning for part in item.summary) == REASONING
    result = {"type": "function_call_output", "call_id": call.call_id, "output": RESULT}
    turns = [*ASKED, *first.output, result]
    second = client.responses.create(model=model("plain", route), input=turns, **asked)
    assert second.output_text == QUESTION
    call = fake_provider.journal.last.json["messages"][-2]["tool_calls"][0]
    if route in {"openai", "responses"}:
        # OpenAI's own wires have no place for what Google signs: the front gateway sends none to such a provider.
        assert "extra_content" not in call
    else:
        assert call["extra_content"] == {"google": {"thought_signature": SIGNATURE}}


@every_route
def test_parses_a_structured_response(client: OpenAI, route: str):
    asked = {"model": model("plain", route), "input": QUESTION, "text_format": Forecast}
    assert client.responses.parse(**asked).output_parsed == FORECAST
    with client.responses.stream(**asked) as stream:
        kinds = {event.type for event in stream}
        assert stream.get_final_response().output_parsed == FORECAST
    assert {"response.output_text.delta", "response.output_text.done", "response.completed"} <= kinds


@every_route
def test_the_stream_helper_gathers_the_calls_of_a_response(client: OpenAI, route: str):
    tools = [{**TOOL_OF_RESPONSES, "strict": True}]
    with client.responses.stream(model=model("two-calls", route), input=QUESTION, tools=tools) as stream:
        final = list(stream)[-1].response
    calls = [item for item in final.output if item.type == "function_call"]
    assert [call.parsed_arguments for call in calls] == [ARGUMENTS] * 2
    assert len({call.call_id for call in calls}) == 2


@every_route
def test_a_refusal_is_told_apart(client: OpenAI, route: str):
    name = model("refusing", route)
    response = client.responses.create(model=name, input=QUESTION)
    said = [part.type for item in response.output for part in item.content]
    completion = client.chat.completions.create(model=name, messages=ASKED)
    message = completion.choices[0].message
    if route in {"openai", "responses", "native"}:
        assert (message.refusal, said) == (REFUSAL, ["refusal"])
    else:
        # These wires have no words for a refusal but the text itself and the reason for the end.
        assert REFUSAL in (message.refusal or message.content)


# --- The rest


@every_route
def test_completes_a_text(client: OpenAI, route: str):
    asked = {"model": model("plain", route), "prompt": QUESTION, "max_tokens": 100}
    assert client.completions.create(**asked).choices[0].text == QUESTION
    chunks = client.completions.create(**asked, stream=True)
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == QUESTION


@pytest.mark.parametrize("route", EMBEDDING_ROUTES)
def test_embeds(client: OpenAI, route: str):
    answer = client.embeddings.create(model=chain.model("embedding", route, like="text"), input=["first", "second"])
    assert [item.embedding for item in answer.data] == [
        pytest.approx(vector_of(text, dimensions=len(answer.data[0].embedding))) for text in ("first", "second")
    ]


def test_lists_models(client: OpenAI):
    assert {"echo", *(model("plain", route) for route in ROUTES)} <= {found.id for found in client.models.list()}
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")
