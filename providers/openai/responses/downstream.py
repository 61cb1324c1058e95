"""A client's request in the Responses dialect, read into the canonical one.

The shape has been checked before (`app.api.openai`), and what refers to stored state is there in full. What is unknown
goes into `extras` as it came.
"""

from collections.abc import Mapping
from typing import Any

from providers.answers import fields, objects
from providers.openai.responses.items import parse_items
from providers.openai.responses.tools import parse_choice, parse_tools
from providers.openai.responses.wire import DIALECT, ENCRYPTED, LOGPROBS
from providers.types import ChatRequest, Message, ReasoningOptions, ResponseFormat, Sampling, TextPart

INSTRUCTIONS = "instructions"
_READ = frozenset(
    {
        "model",
        "input",
        INSTRUCTIONS,
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "text",
        "reasoning",
        "include",
        "temperature",
        "top_p",
        "top_logprobs",
        "max_output_tokens",
        "stream",
        "store",
        "background",
        "user",
        "metadata",
    }
)
_SCHEMA = frozenset({"type", "name", "schema", "strict", "description"})


def parse_response_request(document: Mapping[str, Any]) -> ChatRequest:
    """Return the canonical form of the body of `POST /responses`.

    Whether the answer is stored, or comes in the background, is not for the provider that is asked.
    """
    tools = parse_tools(objects(document.get("tools")))
    choice, tools = parse_choice(document.get("tool_choice"), tools)
    form, text = _parse_text(document.get("text"))
    reasoning, thinking = _parse_reasoning(document.get("reasoning"))
    extras = {name: value for name, value in document.items() if name not in _READ}
    extras |= {name: value for name, value in {"text": text, "reasoning": thinking}.items() if value}
    if choice is None and document.get("tool_choice") is not None:
        extras["tool_choice"] = document["tool_choice"]
    include = document.get("include") or []
    if rest := [name for name in include if name not in {ENCRYPTED, LOGPROBS}]:
        extras["include"] = rest
    return ChatRequest(
        model=document["model"],
        messages=[*_parse_instructions(document.get(INSTRUCTIONS)), *parse_items(input_items(document))],
        dialect=DIALECT,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=document.get("parallel_tool_calls"),
        response_format=form,
        sampling=_parse_sampling(document, has_logprobs=LOGPROBS in include),
        reasoning=reasoning,
        max_output_tokens=document.get("max_output_tokens"),
        stream=bool(document.get("stream")),
        user=document.get("user"),
        metadata=document.get("metadata") or {},
        extras=extras,
    )


def input_items(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the input of a request as items: a string is what the user says."""
    given = document.get("input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return objects(given)


def _parse_instructions(instructions: Any) -> list[Message]:
    if not isinstance(instructions, str):
        return []
    return [Message(role="system", content=[TextPart(text=instructions)], extras={INSTRUCTIONS: True})]


def _parse_sampling(document: Mapping[str, Any], *, has_logprobs: bool) -> Sampling:
    named = ("temperature", "top_p", "top_logprobs")
    given = {name: document[name] for name in named if document.get(name) is not None}
    if not has_logprobs:
        given.pop("top_logprobs", None)
    return Sampling(**given, logprobs=True if has_logprobs else None)


def _parse_text(text: Any) -> tuple[ResponseFormat | None, dict[str, Any]]:
    """Return the form that the answer must have, and what else is said of its text."""
    said = fields(text)
    form = parse_format(said.get("format"))
    rest = {name: value for name, value in said.items() if value is not None and not (form and name == "format")}
    return form, rest


def parse_format(value: Any) -> ResponseFormat | None:
    """Return the canonical form of `text.format`; `None` for one that only this wire knows."""
    match value:
        case {"type": "text" | "json_object" as kind, **rest} if not rest:
            return ResponseFormat(kind=kind)
        case {"type": "json_schema"} if value.keys() <= _SCHEMA:
            return ResponseFormat(
                kind="json_schema",
                name=value.get("name"),
                schema=value.get("schema"),
                strict=value.get("strict"),
                description=value.get("description"),
            )
        case _:
            return None


def _parse_reasoning(reasoning: Any) -> tuple[ReasoningOptions | None, dict[str, Any]]:
    """Return how hard to think and whether to show it, and what else is said of it."""
    said = {name: value for name, value in fields(reasoning).items() if value is not None}
    if not said:
        return None, {}
    shows = bool(said.get("summary") or said.get("generate_summary"))
    rest = {name: value for name, value in said.items() if name != "effort"}
    return ReasoningOptions(effort=said.get("effort"), include=True if shows else None), rest
