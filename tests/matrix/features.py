"""What a request may ask, each as one canonical request with marks that must turn up in what the provider is sent.

Law: a mark that is missing although nothing says it was dropped is a loss in silence, and fails the test.
"""

import re
from typing import Any, NamedTuple

import msgspec

from providers.types import (
    AudioPart,
    ChatRequest,
    FilePart,
    ImagePart,
    Message,
    ReasoningOptions,
    ResponseFormat,
    Sampling,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
    ToolResultPart,
)

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
PDF = "JVBERi0xLjQKJcOkw7zDtsOfCjEgMCBvYmoKPDwvTWFyaz4+CmVuZG9iagp0cmFpbGVyCjw8Pj4="
WAV = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAEAfAAABAAgAZGF0YQAAAAA="
URL = "https://example.com/mark-of-the-image.png"
SIGNATURE = "c2lnbmF0dXJlLW1hcms="


class Feature(NamedTuple):
    """One thing to ask: `fields` of the request beside its messages, or the messages themselves.

    `marks` are patterns, all of which what is sent must hold; where there are none, it must differ from what is sent
    without the feature. `says` are the names under which it may be dropped.
    """

    name: str
    fields: dict[str, Any] = {}  # noqa: RUF012 - never changed
    messages: tuple[Message, ...] = ()
    marks: tuple[str, ...] = ()
    says: tuple[str, ...] = ()


def user(*parts: Any) -> Message:
    return Message(role="user", content=[TextPart(text=part) if isinstance(part, str) else part for part in parts])


def assistant(*parts: Any) -> Message:
    return Message(role="assistant", content=[TextPart(text=part) if isinstance(part, str) else part for part in parts])


def system(text: str) -> Message:
    return Message(role="system", content=[TextPart(text=text)])


def results(*parts: ToolResultPart) -> Message:
    return Message(role="tool", content=list(parts))


def call(number: int, **fields: Any) -> ToolCallPart:
    arguments = f'{{"city":"Town{number}"}}'
    return ToolCallPart(id=f"call_{number}", name="get_weather", arguments=arguments, **fields)


def result(number: int, text: str, **fields: Any) -> ToolResultPart:
    return ToolResultPart(id=f"call_{number}", content=[TextPart(text=text)], name="get_weather", **fields)


QUESTION = user("How is the weather?")
WEATHER = Tool(
    name="get_weather",
    description="Looks up the weather",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
SCHEMA = {
    "type": "object",
    "properties": {"degrees_mark": {"type": "number"}},
    "required": ["degrees_mark"],
    "additionalProperties": False,
}
TOOLS: dict[str, Any] = {"tools": [WEATHER]}


def choosing(mode: Any, name: str | None = None) -> dict[str, Any]:
    return {**TOOLS, "tool_choice": ToolChoice(mode=mode, name=name)}


def sampling(**fields: Any) -> dict[str, Any]:
    return {"sampling": Sampling(**fields)}


_CALLED = (QUESTION, assistant("Let me see", call(1), call(2)))
FEATURES = (
    Feature("text", marks=("How is the weather",)),
    Feature("system prompt first", messages=(system("FIRST-RULE"), QUESTION), marks=("FIRST-RULE",)),
    Feature(
        "system prompt later",
        messages=(QUESTION, assistant("Fine"), system("LATER-RULE"), user("And tomorrow?")),
        marks=("LATER-RULE", "And tomorrow"),
    ),
    Feature(
        "several turns",
        messages=(QUESTION, assistant("Fine-so-far"), user("And tomorrow?")),
        marks=("How is", "Fine-so-far", "And tomorrow"),
    ),
    Feature("tools", fields=TOOLS, marks=("get_weather", "city", "Looks up the weather")),
    Feature("tool choice: required", fields=choosing("required"), marks=("get_weather",)),
    Feature("tool choice: named", fields=choosing("named", "get_weather"), marks=("get_weather",)),
    Feature("tool choice: none", fields=choosing("none")),
    Feature(
        "parallel calls and results",
        fields=TOOLS,
        messages=(*_CALLED, results(result(1, "sunny-one"), result(2, "rainy-two"))),
        marks=("Town1", "Town2", "sunny-one", "rainy-two"),
    ),
    Feature(
        "failed tool",
        fields=TOOLS,
        messages=(QUESTION, assistant(call(1)), results(result(1, "no-such-town", is_error=True))),
        marks=("no-such-town",),
    ),
    Feature(
        "no parallel calls",
        fields={**TOOLS, "parallel_tool_calls": False},
        says=("parallel_tool_calls",),
    ),
    Feature(
        "image (data)", messages=(user("Look", ImagePart(data=PNG, media_type="image/png")),), marks=(re.escape(PNG),)
    ),
    Feature("image (URL)", messages=(user("Look", ImagePart(url=URL)),), marks=(re.escape(URL),)),
    Feature(
        "document (PDF)",
        messages=(user("Read", FilePart(data=PDF, media_type="application/pdf", filename="a.pdf")),),
        marks=(re.escape(PDF),),
    ),
    Feature("sound", messages=(user("Listen", AudioPart(data=WAV, format="wav")),), marks=(re.escape(WAV),)),
    Feature(
        "reasoning effort",
        fields={"reasoning": ReasoningOptions(effort="high")},
        says=("reasoning_effort",),
    ),
    Feature(
        "JSON schema",
        fields={"response_format": ResponseFormat(kind="json_schema", name="weather", schema=SCHEMA, strict=True)},
        marks=("degrees_mark",),
    ),
    Feature("JSON object", fields={"response_format": ResponseFormat(kind="json_object")}),
    Feature("stop sequences", fields=sampling(stop=["STOP-MARK"]), marks=("STOP-MARK",)),
    Feature("max output", fields={"max_output_tokens": 1_234}, marks=("1234",)),
    Feature("temperature", fields=sampling(temperature=0.625), marks=(r"0\.625",), says=("temperature",)),
    Feature("top_p", fields=sampling(top_p=0.875), marks=(r"0\.875",), says=("top_p",)),
    Feature("top_k", fields=sampling(top_k=137), marks=("137",), says=("top_k",)),
    Feature("seed", fields=sampling(seed=424_242), marks=("424242",), says=("seed",)),
    Feature(
        "penalties",
        fields=sampling(frequency_penalty=0.375, presence_penalty=0.4375),
        marks=(r"0\.375", r"0\.4375"),
        says=("frequency_penalty", "presence_penalty"),
    ),
    Feature("log probabilities", fields=sampling(logprobs=True, top_logprobs=4)),
    Feature("several answers", fields={"n": 3}),
    Feature("user", fields={"user": "user-mark"}, marks=("user-mark",), says=("user",)),
    Feature("metadata", fields={"metadata": {"topic": "meta-mark"}}, marks=("meta-mark",), says=("metadata",)),
)
"""The rows of the matrix, in order."""


def request_of(feature: Feature, *, dialect: str, stream: bool = False) -> ChatRequest:
    """Return the canonical request of a feature, as a client of `dialect` asks it."""
    return ChatRequest(
        model="public",
        messages=list(feature.messages or (QUESTION,)),
        dialect=dialect,
        stream=stream,
        **feature.fields,
    )


def without(request: ChatRequest, feature: Feature) -> ChatRequest:
    """Return the request as it is without what the feature is about; what it stands on stays."""
    kept = {name for name in feature.fields if name == "tools" and len(feature.fields) > 1}
    plain = {name: getattr(_PLAIN, name) for name in feature.fields if name not in kept}
    return msgspec.structs.replace(request, **plain)


_PLAIN = ChatRequest(model="public", messages=[QUESTION], dialect="openai")
