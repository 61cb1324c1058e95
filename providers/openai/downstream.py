"""A client's request in OpenAI's dialect, read into the canonical one.

The shape has been checked before (`app.api.openai`); what is unknown, or said in a form that has no canonical equal,
goes into `extras` as it came.
"""

from collections.abc import Mapping
from typing import Any

from providers.openai.messages import parse_message
from providers.openai.tools import parse_tool, parse_tool_choice
from providers.openai.wire import DIALECT
from providers.types import (
    ChatRequest,
    EmbeddingRequest,
    ReasoningOptions,
    ResponseFormat,
    Sampling,
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
_CAPS = ("max_completion_tokens", "max_tokens")
_READ = frozenset(
    {
        *_SAMPLING,
        *_CAPS,
        "model",
        "messages",
        "stop",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "response_format",
        "reasoning_effort",
        "n",
        "stream",
        "stream_options",
        "user",
        "metadata",
    }
)
_SCHEMA = {"name", "schema", "strict", "description"}
_READ_EMBEDDING = frozenset({"model", "input", "dimensions", "encoding_format", "user"})


def parse_chat(body: Mapping[str, Any]) -> ChatRequest:
    """Return the canonical form of the body of `POST /chat/completions`. Of two output caps the lower counts."""
    effort = body.get("reasoning_effort")
    choice = parse_tool_choice(body.get("tool_choice"))
    form = parse_response_format(body.get("response_format"))
    n = body.get("n")
    return ChatRequest(
        model=body["model"],
        messages=[parse_message(message) for message in body["messages"]],
        dialect=DIALECT,
        tools=[parse_tool(tool) for tool in body.get("tools") or []],
        tool_choice=choice,
        parallel_tool_calls=body.get("parallel_tool_calls"),
        response_format=form,
        sampling=_parse_sampling(body),
        reasoning=None if effort is None else ReasoningOptions(effort=effort),
        max_output_tokens=min((body[name] for name in _CAPS if body.get(name) is not None), default=None),
        n=1 if n is None else n,
        stream=bool(body.get("stream")),
        user=body.get("user"),
        metadata=body.get("metadata") or {},
        extras=_extras(body, said={"tool_choice": choice, "response_format": form}),
    )


def _extras(body: Mapping[str, Any], *, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields without a canonical name, and those of `said` whose form has no canonical equal."""
    extras = {name: value for name, value in body.items() if name not in _READ}
    extras |= {name: body[name] for name, value in said.items() if value is None and body.get(name) is not None}
    options = {name: value for name, value in (body.get("stream_options") or {}).items() if name != "include_usage"}
    return extras | ({"stream_options": options} if options else {})


def _parse_sampling(body: Mapping[str, Any]) -> Sampling:
    stop = body.get("stop")
    fields = {name: body[name] for name in _SAMPLING if body.get(name) is not None}
    return Sampling(**fields, stop=[stop] if isinstance(stop, str) else stop or [])


def parse_response_format(value: Any) -> ResponseFormat | None:
    """Return the canonical form of `response_format`; `None` for a form that only some vendors know."""
    match value:
        case {"type": "text" | "json_object" as kind, **rest} if not rest:
            return ResponseFormat(kind=kind)
        case {"type": "json_schema", "json_schema": dict(schema), **rest} if not rest and schema.keys() <= _SCHEMA:
            return ResponseFormat(kind="json_schema", **schema)
        case _:
            return None


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
