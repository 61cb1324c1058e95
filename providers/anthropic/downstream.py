"""A client's request in Anthropic's dialect, read into the canonical one.

The shape has been checked before (`app.api.anthropic`); what is unknown, or said in a form that has no canonical equal,
goes into `extras` as it came.

Source: https://platform.claude.com/docs/en/api/messages/create, read 2026-11; anthropic 2.14: MessageCreateParams.
"""

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, cast

from providers.anthropic.blocks import parse_content
from providers.anthropic.wire import DIALECT
from providers.types import (
    ChatRequest,
    Message,
    Part,
    ReasoningOptions,
    ResponseFormat,
    Role,
    Sampling,
    Tool,
    ToolChoice,
    ToolResultPart,
)

_SAMPLING = ("temperature", "top_p", "top_k")
_READ = frozenset(
    {
        *_SAMPLING,
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "output_format",
        "stop_sequences",
        "stream",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)
_MESSAGE_FIELDS = frozenset({"role", "content"})
_TOOL_FIELDS = frozenset({"name", "description", "input_schema", "strict"})
_INCLUDES = {"summarized": True, "omitted": False, None: None}
_MODES = {"auto": "auto", "any": "required", "none": "none"}


def parse_messages(body: Mapping[str, Any]) -> ChatRequest:
    """Return the canonical form of the body of `POST /v1/messages`, or of `/v1/messages/count_tokens`."""
    config = dict(body.get("output_config") or {})
    thinking = body.get("thinking")
    reasoning = _parse_reasoning(thinking, config)
    form = _parse_format(config, body.get("output_format"))
    choice, parallel = _parse_tool_choice(body.get("tool_choice"))
    user, metadata, metadata_left = _parse_metadata(body.get("metadata"))
    left = {
        "output_config": config or None,
        "output_format": None if form else body.get("output_format"),
        "thinking": thinking if reasoning is None else None,
        "tool_choice": body.get("tool_choice") if choice is None else None,
        "metadata": metadata_left,
    }
    extras = {name: value for name, value in body.items() if name not in _READ and value is not None}
    return ChatRequest(
        model=body["model"],
        messages=[*_parse_system(body.get("system")), *_parse_turns(body["messages"])],
        dialect=DIALECT,
        tools=[_parse_tool(tool) for tool in body.get("tools") or []],
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_format=form,
        sampling=Sampling(
            **{name: body[name] for name in _SAMPLING if body.get(name) is not None},
            stop=body.get("stop_sequences") or [],
        ),
        reasoning=reasoning,
        max_output_tokens=body.get("max_tokens"),
        stream=bool(body.get("stream")),
        user=user,
        metadata=metadata,
        extras=extras | {name: value for name, value in left.items() if value is not None},
    )


def _parse_system(system: Any) -> Iterator[Message]:
    content = parse_content(system) if system else []
    if content:
        yield Message(role="system", content=content)


def _parse_turns(messages: list[dict[str, Any]]) -> Iterator[Message]:
    """Yield messages; a user's turn that holds tool results becomes a tool's and a user's, in the order they stand."""
    for message in messages:
        role = cast("Role", message["role"])
        extras = {name: value for name, value in message.items() if name not in _MESSAGE_FIELDS and value is not None}
        content = parse_content(message.get("content"))
        if role != "user" or not content:
            yield Message(role=role, content=content, extras=extras)
            continue
        for is_result, parts in groupby(content, key=_is_result):
            yield Message(role="tool" if is_result else "user", content=list(parts), extras=extras)


def _is_result(part: Part) -> bool:
    return isinstance(part, ToolResultPart)


def _parse_tool(tool: dict[str, Any]) -> Tool:
    """Return the canonical form of a declared tool; one that the vendor defines keeps its whole declaration."""
    kind = tool.get("type") or "custom"
    schema = tool.get("input_schema")
    if kind != "custom" or not isinstance(schema, dict):
        return Tool(name=str(tool.get("name") or kind), kind=str(kind), extras=tool)
    extras = {name: value for name, value in tool.items() if name not in _TOOL_FIELDS and value is not None}
    return Tool(
        name=tool["name"],
        description=tool.get("description"),
        parameters=schema,
        strict=tool.get("strict"),
        extras=extras,
    )


def _parse_tool_choice(value: Any) -> tuple[ToolChoice | None, bool | None]:
    """Return which tools must be called, and whether several may be at once; a pair of `None` for an unknown form."""
    fields = dict(value) if isinstance(value, dict) else {}
    single = fields.pop("disable_parallel_tool_use", None)
    parallel = None if single is None else not single
    match fields:
        case {"type": "auto" | "any" | "none" as kind, **rest} if not rest:
            return ToolChoice(mode=cast("Any", _MODES[kind])), parallel
        case {"type": "tool", "name": str(name), **rest} if not rest:
            return ToolChoice(mode="named", name=name), parallel
        case _:
            return None, None


def _parse_reasoning(thinking: Any, config: dict[str, Any]) -> ReasoningOptions | None:
    """Return how long to think; takes the effort out of `config` where the canonical form says it all.

    `None` for a form that only this vendor knows. An effort may stand without `thinking`: models that do not think
    unasked just write less.
    """
    effort = config.get("effort")
    known = effort if isinstance(effort, str) else None
    if thinking is None:
        if known is None:
            return None
        config.pop("effort")
        return ReasoningOptions(effort=known)
    wish: dict[str, Any] = {name: value for name, value in thinking.items() if value is not None}
    kind, budget, display = wish.pop("type", None), wish.pop("budget_tokens", None), wish.pop("display", None)
    if wish or display not in _INCLUDES:
        return None
    if kind == "disabled" and budget is None and display is None:
        return ReasoningOptions(effort="none")
    if (kind, type(budget)) not in (("adaptive", type(None)), ("enabled", int)):
        return None
    config.pop("effort", None)
    include = _INCLUDES[display]
    return ReasoningOptions(effort=known, budget_tokens=budget, include=include, adaptive=kind == "adaptive")


def _parse_format(config: dict[str, Any], old: Any) -> ResponseFormat | None:
    """Return the form that the answer must have, and take it out of `config`; `old` is the field it once stood in."""
    match config.get("format") or old:
        case {"type": "json_schema", "schema": dict(schema), **rest} if not rest:
            config.pop("format", None)
            return ResponseFormat(kind="json_schema", schema=schema)
        case _:
            return None


def _parse_metadata(value: Any) -> tuple[str | None, dict[str, str], Any]:
    """Return the user, the other labels, and the whole where it is of no known form."""
    fields = {name: label for name, label in value.items() if label is not None} if isinstance(value, dict) else None
    if fields is None or not all(isinstance(label, str) for label in fields.values()):
        return None, {}, value
    user = fields.pop("user_id", None)
    return user, fields, None


__all__ = ["parse_messages"]
