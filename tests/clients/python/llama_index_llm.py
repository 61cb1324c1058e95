"""LlamaIndex on its models of OpenAI: `OpenAI` (chat completions) and `OpenAIResponses`."""

from typing import Any

from harness import TALK, Models, check, main, sent
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock
from llama_index.core.program import FunctionCallingProgram
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI, OpenAIResponses
from pydantic import BaseModel

DIALECTS = {"chat": OpenAI, "responses": OpenAIResponses}


class Forecast(BaseModel):
    """The form that structured answers are asked for in."""

    place: str
    degrees: float
    is_dry: bool
    hours: list[int]


def get_weather(city: str) -> str:
    """Look up the weather of a city."""
    return f"{TALK.result} in {city}"


ASKED = [ChatMessage(role="system", content=TALK.rule), ChatMessage(role="user", content=TALK.question)]
TOOL = FunctionTool.from_defaults(get_weather)


def llm(dialect: str, models: Models, kind: str = "plain") -> Any:
    """Return a model of a kind."""
    return DIALECTS[dialect](model=models.tuned[kind], api_base=f"{TALK.url}/v1", api_key=TALK.key, max_retries=0)


@check(*DIALECTS)
def answers(models: Models, dialect: str) -> None:
    """It answers a conversation and a prompt."""
    assert llm(dialect, models).chat(ASKED).message.content == TALK.question
    assert str(llm(dialect, models).complete(TALK.question)) == TALK.question


@check(*DIALECTS)
def streams(models: Models, dialect: str) -> None:
    """It streams."""
    parts = [answer.delta or "" for answer in llm(dialect, models).stream_chat(ASKED)]
    assert "".join(parts) == TALK.question, parts


@check(*DIALECTS)
async def streams_asynchronously(models: Models, dialect: str) -> None:
    """It streams without blocking."""
    parts = [answer.delta or "" async for answer in await llm(dialect, models).astream_chat(ASKED)]
    assert "".join(parts) == TALK.question, parts


@check(*DIALECTS)
def calls_tools_and_goes_on(models: Models, dialect: str) -> None:
    """It calls two tools at once and goes on with their results."""
    asking = llm(dialect, models, "two-calls")
    first = asking.chat_with_tools([TOOL], chat_history=ASKED, allow_parallel_tool_calls=True)
    calls = asking.get_tool_calls_from_response(first)
    assert [call.tool_kwargs for call in calls] == [TALK.arguments] * 2
    results = [
        ChatMessage(role="tool", content=TALK.result, additional_kwargs={"tool_call_id": call.tool_id})
        for call in calls
    ]
    second = llm(dialect, models).chat_with_tools([TOOL], chat_history=[*ASKED, first.message, *results])
    assert second.message.content == TALK.question
    messages = sent()
    assert [message["role"] for message in messages][1:] == ["user", "assistant", "tool", "tool"], messages
    assert [message["tool_call_id"] for message in messages[3:]] == [
        call["id"] for call in messages[2]["tool_calls"]
    ], messages


@check(*DIALECTS)
def runs_a_tool(models: Models, dialect: str) -> None:
    """It predicts a call and makes it."""
    answer = llm(dialect, models).predict_and_call([TOOL], user_msg=TALK.question)
    assert TALK.result in str(answer)


@check(*DIALECTS)
def answers_in_a_form(models: Models, dialect: str) -> None:
    """It answers in a form, by the vendor's structured output and by a tool."""
    assert llm(dialect, models).as_structured_llm(Forecast).chat(ASKED).raw == Forecast(**TALK.forecast)
    program = FunctionCallingProgram.from_defaults(
        output_cls=Forecast, prompt_template_str=TALK.question, llm=llm(dialect, models), tool_required=True
    )
    assert program() == Forecast(**TALK.forecast)


@check(*DIALECTS)
def shows_images(models: Models, dialect: str) -> None:
    """It shows an image."""
    image = ImageBlock(image=TALK.png.encode(), image_mimetype="image/png")
    asked = [ChatMessage(role="user", blocks=[TextBlock(text=TALK.question), image])]
    assert llm(dialect, models).chat(asked).message.content == TALK.question
    urls = [part["image_url"]["url"] for part in sent()[0]["content"] if part["type"] == "image_url"]
    assert urls == [f"data:image/png;base64,{TALK.png}"], urls


if __name__ == "__main__":
    main()
