"""Declared tools as Converse's `toolConfig`.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/tool-use.html, read 2026-11;
botocore 1.44.8: bedrock-runtime.ToolConfiguration.
"""

from typing import Any

from providers.bedrock.conversation import CACHE_CONTROL, cache_point
from providers.bedrock.families import Family, has_formats
from providers.bedrock.output import FORCED
from providers.bedrock.wire import ANSWER_TOOL
from providers.carry import functions_only
from providers.claude import fit_schema
from providers.custom_tools import as_function
from providers.types import ChatRequest, Tool, ToolChoice

_ANY_OBJECT: dict[str, Any] = {"type": "object", "properties": {}}
_CACHES_TOOLS = frozenset({"claude", "hidden"})

Entries = list[dict[str, Any]]


def write_tools(request: ChatRequest, family: Family, *, model: str) -> tuple[Entries, tuple[str, ...]]:
    """Return the tools that are offered, with their cache points, and the names of what is left out of them."""
    tools, dropped = functions_only(request)
    may_be_strict, caches = has_formats(family, model), family in _CACHES_TOOLS
    entries: Entries = []
    for tool in tools:
        entries.append({"toolSpec": _spec(as_function(tool), may_be_strict=may_be_strict)})
        entries += cache_point(tool.extras) if caches else []
        if not caches and CACHE_CONTROL in tool.extras:
            dropped += (f"tools.{CACHE_CONTROL}",)
        dropped += ("strict",) if tool.strict and not may_be_strict else ()
    return entries, dropped


def _spec(tool: Tool, *, may_be_strict: bool) -> dict[str, Any]:
    """Return a tool's declaration; a strict one has a schema of the subset that can be promised."""
    schema = tool.parameters or _ANY_OBJECT
    schema = schema if "type" in schema else {"type": "object", **schema}
    spec: dict[str, Any] = {"name": tool.name}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict and may_be_strict:
        return {**spec, "inputSchema": {"json": fit_schema(schema)}, "strict": True}
    return {**spec, "inputSchema": {"json": schema}}


def write_tool_config(entries: Entries, choice: ToolChoice | None, *, answer: dict[str, Any] | None) -> dict[str, Any]:
    """Return the tools and how they may be called; empty where none may be.

    Converse has no word for a choice of no tool, so that the tools are left out. It takes calls in the conversation
    only beside tools; `BlockWriter` then tells them in words, since offering tools would allow what was forbidden.
    `answer` is the tool that stands for JSON output: the one that must be called, or one of those that must.
    """
    offered = [] if choice is not None and choice.mode == "none" else entries
    if answer is not None:
        chosen = {"any": {}} if offered else {"tool": {"name": ANSWER_TOOL}}
        return {"tools": [*offered, answer], "toolChoice": chosen}
    if not offered:
        return {}
    chosen = _chosen(choice)
    return {"tools": offered, "toolChoice": chosen} if chosen else {"tools": offered}


def _chosen(choice: ToolChoice | None) -> dict[str, Any]:
    match choice:
        case ToolChoice(mode="required"):
            return {"any": {}}
        case ToolChoice(mode="named", name=str(name)):
            return {"tool": {"name": name}}
        case ToolChoice(mode="auto"):
            return {"auto": {}}
        case _:
            return {}


def forces_tool(choice: ToolChoice | None, *, answer: dict[str, Any] | None) -> bool:
    """Whether a tool must be called."""
    return answer is not None or (choice is not None and choice.mode in FORCED)


__all__ = ["forces_tool", "write_tool_config", "write_tools"]
