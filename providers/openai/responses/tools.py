"""Declared tools and the choice among them: the Responses wire to canonical and back.

A namespace groups tools; elsewhere each stands alone, its name joined to the namespace's.
Source: https://platform.openai.com/docs/api-reference/responses/create, read 2026-11.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from providers.answers import fields, objects
from providers.schemas import of_object
from providers.types import Tool, ToolChoice

_JOINT = "__"
_NAMESPACE = "namespace"
_SAID = frozenset({"type", "name", "description", "parameters", "strict"})
_NO_PARAMETERS = {"type": "object", "properties": {}}


def flat_name(name: str, namespace: Any) -> str:
    """Return the name by which a tool in a namespace is known elsewhere."""
    return f"{namespace}{_JOINT}{name}" if isinstance(namespace, str) and namespace else name


def names_in(document: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what the names of tools in namespaces stand for, in a request: the namespace, and the name in it."""
    return {
        flat_name(str(tool.get("name")), space.get("name")): (str(space.get("name")), str(tool.get("name")))
        for space in objects(document.get("tools"))
        if space.get("type") == _NAMESPACE
        for tool in objects(space.get("tools"))
    }


def parse_tools(tools: Iterable[dict[str, Any]]) -> list[Tool]:
    """Return the canonical form of declared tools; one that a vendor hosts keeps its whole declaration."""
    parsed: list[Tool] = []
    for tool in tools:
        if tool.get("type") == _NAMESPACE and isinstance(tool.get("name"), str):
            parsed += [_parse(inner, tool) for inner in objects(tool.get("tools"))]
        else:
            parsed.append(_parse(tool, None))
    return parsed


def _parse(tool: dict[str, Any], space: dict[str, Any] | None) -> Tool:
    kind = str(tool.get("type") or "function")
    if kind not in {"function", "custom"} or not isinstance(tool.get("name"), str):
        return Tool(name=kind, kind=kind, extras=tool)
    extras = {name: value for name, value in tool.items() if name not in _SAID}
    if space is not None:
        about = {name: value for name, value in space.items() if name not in {"type", "tools"}}
        extras[_NAMESPACE] = about
    return Tool(
        name=flat_name(tool["name"], space.get("name") if space else None),
        description=tool.get("description"),
        parameters=(tool.get("parameters") or _NO_PARAMETERS) if kind == "function" else None,
        strict=tool.get("strict"),
        kind=kind,
        extras=extras,
    )


def parse_choice(choice: Any, tools: list[Tool]) -> tuple[ToolChoice | None, list[Tool]]:
    """Return the canonical form of `tool_choice`, and the tools that it leaves to choose from.

    `None` for a choice of a hosted tool, which only this wire can say.
    """
    match choice:
        case "auto" | "none" | "required":
            return ToolChoice(mode=choice), tools
        case {"type": "function" | "custom", "name": str(name)}:
            return ToolChoice(mode="named", name=flat_name(name, choice.get(_NAMESPACE))), tools
        case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": list(allowed)}:
            return ToolChoice(mode=mode), [tool for tool in tools if _is_allowed(tool, objects(allowed))]
        case _:
            return None, tools


def _is_allowed(tool: Tool, allowed: Iterable[dict[str, Any]]) -> bool:
    if tool.kind in {"function", "custom"}:
        return any(flat_name(str(one.get("name")), one.get(_NAMESPACE)) == tool.name for one in allowed)
    return any(
        one.get("type") == tool.kind and one.get("server_label") in (None, tool.extras.get("server_label"))
        for one in allowed
    )


def write_tools(tools: Iterable[Tool], *, same_dialect: bool) -> list[dict[str, Any]]:
    """Return the wire's form of declared tools, those of a namespace in it again."""
    written: list[dict[str, Any]] = []
    spaces: dict[str, dict[str, Any]] = {}
    for tool in tools:
        about = fields(tool.extras.get(_NAMESPACE)) if same_dialect else {}
        wire = write_tool(tool, same_dialect=same_dialect)
        if not about:
            written.append(wire)
            continue
        space = str(about.get("name"))
        if space not in spaces:
            spaces[space] = {"type": _NAMESPACE, **about, "tools": []}
            written.append(spaces[space])
        spaces[space]["tools"].append({**wire, "name": tool.name.removeprefix(space + _JOINT)})
    return written


def write_tool(tool: Tool, *, same_dialect: bool) -> dict[str, Any]:
    """Return the wire's form of one tool. What is not said to be strict is not so elsewhere, but is by default here."""
    if tool.kind not in {"function", "custom"}:
        return tool.extras
    strict = tool.strict if same_dialect or tool.kind == "custom" else bool(tool.strict)
    parameters = tool.parameters if same_dialect or tool.parameters is None else of_object(tool.parameters)
    said = {"type": tool.kind, "name": tool.name, "description": tool.description, "parameters": parameters}
    wire = {name: value for name, value in {**said, "strict": strict}.items() if value is not None}
    if not same_dialect:
        form = tool.extras.get("format") if tool.kind == "custom" else None
        return wire if form is None else {**wire, "format": form}
    return wire | {name: value for name, value in tool.extras.items() if name != _NAMESPACE}


def write_choice(choice: ToolChoice | None, tools: Iterable[Tool]) -> str | dict[str, Any] | None:
    """Return the wire's form of a choice among `tools`, which are as they are sent."""
    if choice is None or choice.mode != "named":
        return choice.mode if choice else None
    tool = next((tool for tool in tools if tool.name == choice.name), None)
    space = fields(tool.extras.get(_NAMESPACE)).get("name") if tool else None
    wire = {"type": tool.kind if tool else "function", "name": choice.name}
    return wire if space is None else {**wire, _NAMESPACE: space, "name": str(choice.name).removeprefix(space + _JOINT)}
