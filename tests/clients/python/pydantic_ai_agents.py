"""pydantic-ai's agents on its models of OpenAI (chat and Responses), Anthropic and Google."""

from typing import Any

from harness import TALK, Models, check, main, sent
from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput, ToolOutput
from pydantic_ai.messages import ModelMessage, ThinkingPart
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.google import GoogleModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.google import GoogleProvider
from pydantic_ai.providers.openai import OpenAIProvider

OPENAI = OpenAIProvider(base_url=f"{TALK.url}/v1", api_key=TALK.key)
DIALECTS: dict[str, tuple[str, Any, Any]] = {
    "chat": ("gpt", OpenAIChatModel, OPENAI),
    "responses": ("gpt", OpenAIResponsesModel, OPENAI),
    "anthropic": ("claude", AnthropicModel, AnthropicProvider(base_url=TALK.url, api_key=TALK.key)),
    "google": ("gemini", GoogleModel, GoogleProvider(base_url=TALK.url, api_key=TALK.key)),
}
TOMORROW = "And tomorrow?"


class Forecast(BaseModel):
    """The form that structured answers are asked for in."""

    place: str
    degrees: float
    is_dry: bool
    hours: list[int]


def agent_of(dialect: str, models: Models, kind: str = "plain", **fields: Any) -> Agent:
    """Return an agent on a model of a kind."""
    like, kind_of_model, provider = DIALECTS[dialect]
    return Agent(kind_of_model(getattr(models, like)[kind], provider=provider), **fields)


def with_tool(agent: Agent) -> list[str]:
    """Give an agent the tool; return the list of the cities that it will ask for."""
    asked_for: list[str] = []

    @agent.tool_plain
    def get_weather(city: str) -> str:
        """Look up the weather of a city."""
        asked_for.append(city)
        return str(TALK.result)

    return asked_for


def thoughts(messages: list[ModelMessage]) -> str:
    """Return the reasoning in a conversation."""
    return "".join(part.content for turn in messages for part in turn.parts if isinstance(part, ThinkingPart))


@check(*DIALECTS)
async def answers(models: Models, dialect: str) -> None:
    """It answers, and tells what that took."""
    answer = await agent_of(dialect, models, instructions=TALK.rule).run(TALK.question)
    assert answer.output == TALK.question
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (18, 7), answer.usage


@check(*DIALECTS)
async def streams(models: Models, dialect: str) -> None:
    """It streams, and tells what that took."""
    async with agent_of(dialect, models, instructions=TALK.rule).run_stream(TALK.question) as stream:
        texts = [text async for text in stream.stream_text(debounce_by=None)]
    assert texts[-1] == TALK.question, texts
    assert len(texts) > 1
    assert stream.usage.total_tokens == 25, stream.usage


@check(*DIALECTS)
async def runs_its_tools(models: Models, dialect: str) -> None:
    """It calls its tool and goes on with the result."""
    agent = agent_of(dialect, models, instructions=TALK.rule)
    asked_for = with_tool(agent)
    assert (await agent.run(TALK.question)).output == TALK.question
    assert asked_for == [TALK.arguments["city"]]
    user, call, result = sent()[-3:]
    assert [user["role"], call["role"], result["role"]] == ["user", "assistant", "tool"]
    assert TALK.result in result["content"]
    assert result["tool_call_id"] == call["tool_calls"][0]["id"]


@check(*DIALECTS)
async def streams_its_tools(models: Models, dialect: str) -> None:
    """It calls its tool while it streams."""
    agent = agent_of(dialect, models)
    asked_for = with_tool(agent)
    async with agent.run_stream(TALK.question) as stream:
        assert await stream.get_output() == TALK.question
    assert asked_for == [TALK.arguments["city"]]


@check("responses", "anthropic", "google")
async def gives_signatures_back(models: Models, dialect: str) -> None:
    """What a vendor signed goes back to it; pydantic-ai keeps no signature of chat completions."""
    agent = agent_of(dialect, models, "signed")
    asked_for = with_tool(agent)
    assert (await agent.run(TALK.question)).output == TALK.question
    assert asked_for == [TALK.arguments["city"]]
    # A plain server of OpenAI's wire is not sent what Google signs, nor is Anthropic what a gateway has sealed.
    if models.route in {"gemini", "native"}:
        signed = {"google": {"thought_signature": TALK.signature}}
        assert sent()[-2]["tool_calls"][0].get("extra_content") == signed, sent()


@check(*DIALECTS)
async def answers_by_a_schema(models: Models, dialect: str) -> None:
    """It answers in a form by the vendor's structured output."""
    answer = await agent_of(dialect, models, output_type=NativeOutput(Forecast)).run(TALK.question)
    assert answer.output == Forecast(**TALK.forecast)


@check(*DIALECTS)
async def answers_by_a_tool(models: Models, dialect: str) -> None:
    """It answers in a form by calling a tool that it must call."""
    answer = await agent_of(dialect, models, output_type=ToolOutput(Forecast)).run(TALK.question)
    assert answer.output == Forecast(**TALK.forecast)


@check(*DIALECTS)
async def thinks_over_several_turns(models: Models, dialect: str) -> None:
    """It shows its reasoning, which may go back in the next turn."""
    agent = agent_of(dialect, models, "thinking", model_settings={"thinking": "low"})
    first = await agent.run(TALK.question)
    assert (first.output, thoughts(first.all_messages())) == (TALK.question, TALK.reasoning)
    assert (await agent.run(TOMORROW, message_history=first.all_messages())).output == TOMORROW


if __name__ == "__main__":
    main()
