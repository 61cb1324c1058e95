"""LangChain: `ChatOpenAI`, with and without the Responses API, `OpenAIEmbeddings` and `ChatAnthropic`."""

from collections.abc import Callable
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from servers.gateway import GatewayProcess

from clients.chain import CLAUDE, EMBEDDING_ROUTES, GPT, ROUTES, model
from clients.conversation import ARGUMENTS, FORECAST, QUESTION, REASONING, RESULT, RULE, TOOL, Forecast
from providers.testing import FakeProvider, vector_of

Making = Callable[[str, str], Any]
every_route = pytest.mark.parametrize("route", ROUTES)


@tool
def get_weather(city: str) -> str:
    """Looks up the weather of a city."""
    return f"{RESULT} in {city}"


DIALECTS = ("chat", "responses", "anthropic")


def maker(front: GatewayProcess, dialect: str) -> Making:
    """Return what makes a chat model of LangChain's for a kind of model and a route."""

    def made(kind: str, route: str, **fields: Any) -> Any:
        name = model(kind, route, like=CLAUDE if dialect == "anthropic" else GPT)
        asked = {"model": name, "api_key": front.key, "max_retries": 0, **fields}
        if dialect == "anthropic":
            return ChatAnthropic(base_url=front.base_url, max_tokens=2048, **asked)
        return ChatOpenAI(base_url=front.openai_url, use_responses_api=dialect == "responses", **asked)

    return made


@pytest.fixture(scope="module", params=DIALECTS)
def chat(request: pytest.FixtureRequest, front: GatewayProcess) -> Making:
    return maker(front, request.param)


ASKED = [SystemMessage(RULE), HumanMessage(QUESTION)]


def joined(stream: Any) -> AIMessageChunk:
    chunks = list(stream)
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


@every_route
def test_answers_and_streams(chat: Making, route: str):
    asked = chat("plain", route)
    answer = asked.invoke(ASKED)
    assert answer.text == QUESTION
    assert answer.usage_metadata["input_tokens"] == 18
    assert answer.usage_metadata["output_tokens"] == 7
    whole = joined(chat("plain", route, stream_usage=True).stream(ASKED))
    assert whole.text == QUESTION
    assert whole.usage_metadata["total_tokens"] == 25


@every_route
def test_calls_tools_and_goes_on(chat: Making, fake_provider: FakeProvider, route: str):
    first = chat("two-calls", route).bind_tools([get_weather]).invoke(ASKED)
    assert [(call["name"], call["args"]) for call in first.tool_calls] == [(TOOL, ARGUMENTS)] * 2
    results = [ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"]) for call in first.tool_calls]
    second = chat("plain", route).bind_tools([get_weather]).invoke([*ASKED, first, *results])
    assert second.text == QUESTION
    sent = fake_provider.journal.last.json["messages"]
    assert [turn["role"] for turn in sent][1:] == ["user", "assistant", "tool", "tool"]
    assert [call["id"] for call in sent[2]["tool_calls"]] == [turn["tool_call_id"] for turn in sent[3:]]


@every_route
def test_streams_calls(chat: Making, route: str):
    whole = joined(chat("two-calls", route).bind_tools([get_weather]).stream(ASKED))
    assert [(call["name"], call["args"]) for call in whole.tool_calls] == [(TOOL, ARGUMENTS)] * 2
    assert len({call["id"] for call in whole.tool_calls}) == 2


@every_route
@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_answers_in_a_form(chat: Making, route: str, method: str):
    asked = chat("plain", route).with_structured_output(Forecast, method=method)
    assert asked.invoke(ASKED) == FORECAST


@every_route
def test_shows_reasoning(chat: Making, route: str):
    """The chat kind of OpenAI's models has no place for reasoning in LangChain."""
    answer = chat("thinking", route).invoke(ASKED)
    assert answer.text == QUESTION
    again = chat("plain", route).invoke([*ASKED, answer, HumanMessage("And tomorrow?")])
    assert again.text == "And tomorrow?"
    if not isinstance(answer.content, str):
        said = [block.get("reasoning") for block in answer.content_blocks if block["type"] == "reasoning"]
        assert said == [REASONING]


async def test_the_asynchronous_clients_stream(front: GatewayProcess):
    """In one loop, for LangChain's models share their connections."""
    for dialect in DIALECTS:
        parts = [chunk.text async for chunk in maker(front, dialect)("plain", "native").astream(ASKED)]
        assert "".join(parts) == QUESTION


@pytest.mark.parametrize("route", EMBEDDING_ROUTES)
def test_embeds(front: GatewayProcess, route: str):
    embeddings = OpenAIEmbeddings(
        model=model("embedding", route, like="text"),
        base_url=front.openai_url,
        api_key=front.key,
        check_embedding_ctx_length=False,
    )
    found = embeddings.embed_documents(["first", "second"])
    assert found == [pytest.approx(vector_of(text, dimensions=len(found[0]))) for text in ("first", "second")]
