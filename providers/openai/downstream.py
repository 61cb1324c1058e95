"""A client's request in OpenAI's dialect, read into the canonical one.

The shape has been checked before (`app.api.openai`); what is unknown goes into `extras`.
"""

from collections.abc import Mapping
from typing import Any

from providers.openai.parts import parse_message
from providers.openai.wire import DIALECT
from providers.types import (
    ChatRequest,
    EmbeddingRequest,
    ReasoningOptions,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)

_SAMPLING = (
    "temperature",
    "top_p",
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "seed",
)
_READ = frozenset(
    {
        *_SAMPLING,
        "model",
        "messages",
        "stop",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "stream",
        "stream_options",
        "user",
        "metadata",
    }
)
_READ_EMBEDDING = frozenset({"model", "input", "dimensions", "encoding_format", "user"})


def parse_chat(body: Mapping[str, Any]) -> ChatRequest:
    """Return the canonical form of the body of `POST /chat/completions`."""
    effort = body.get("reasoning_effort")
    return ChatRequest(
        model=body["model"],
        messages=[parse_message(message) for message in body["messages"]],
        dialect=DIALECT,
        tools=[parse_tool(tool) for tool in body.get("tools") or []],
        tool_choice=parse_tool_choice(body.get("tool_choice")),
        parallel_tool_calls=body.get("parallel_tool_calls"),
        response_format=parse_response_format(body.get("response_format")),
        sampling=_parse_sampling(body),
        reasoning=None if effort is None else ReasoningOptions(effort=effort),
        max_output_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
        n=body.get("n") or 1,
        stream=bool(body.get("stream")),
        user=body.get("user"),
        metadata=body.get("metadata") or {},
        extras={name: value for name, value in body.items() if name not in _READ},
    )


def _parse_sampling(body: Mapping[str, Any]) -> Sampling:
    stop = body.get("stop")
    fields = {name: body[name] for name in _SAMPLING if body.get(name) is not None}
    return Sampling(**fields, stop=[stop] if isinstance(stop, str) else stop or [])


def parse_tool(tool: dict[str, Any]) -> Tool:
    """Return the canonical form of a declared tool; one that is no function keeps its whole declaration."""
    function = tool.get("function")
    if tool.get("type", "function") != "function" or not isinstance(function, dict):
        return Tool(name=str(tool.get("type")), kind=str(tool.get("type")), extras=tool)
    return Tool(
        name=function["name"],
        description=function.get("description"),
        parameters=function.get("parameters") or {"type": "object", "properties": {}},
        strict=function.get("strict"),
    )


def parse_tool_choice(choice: Any) -> ToolChoice | None:
    """Return the canonical form of `tool_choice`: a word, or an object that names a function."""
    if choice in {"auto", "none", "required"}:
        return ToolChoice(mode=choice)
    if isinstance(choice, dict):
        return ToolChoice(mode="named", name=(choice.get("function") or {}).get("name"))
    return None


def parse_response_format(value: Any) -> ResponseFormat | None:
    """Return the canonical form of `response_format`."""
    if not isinstance(value, dict):
        return None
    schema = value.get("json_schema") or {}
    return ResponseFormat(
        kind=value["type"],
        name=schema.get("name"),
        schema=schema.get("schema"),
        strict=schema.get("strict"),
        description=schema.get("description"),
    )


def parse_embeddings(body: Mapping[str, Any]) -> EmbeddingRequest:
    """Return the canonical form of the body of `POST /embeddings`."""
    given = body["input"]
    if isinstance(given, str) or (given and isinstance(given[0], int)):
        given = [given]
    return EmbeddingRequest(
        model=body["model"],
        input=given,
        dialect=DIALECT,
        dimensions=body.get("dimensions"),
        encoding=body.get("encoding_format") or "float",
        user=body.get("user"),
        extras={name: value for name, value in body.items() if name not in _READ_EMBEDDING},
    )
