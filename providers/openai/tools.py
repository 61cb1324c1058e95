"""Declared tools and the choice among them: OpenAI's chat wire to canonical and back.

A custom tool's `format` is canonical in the flat shape of the Responses API; chat completions nest the grammar.
Source: https://platform.openai.com/docs/api-reference/chat/create, read 2026-11.
"""

from collections.abc import Collection, Mapping
from typing import Any

from providers.answers import fields, objects
from providers.schemas import of_object
from providers.types import Tool, ToolChoice

_FORMAT = "format"
_FUNCTION_FIELDS = frozenset({"name", "description", "parameters", "strict"})
_CUSTOM_FIELDS = frozenset({"name", "description", _FORMAT})


def parse_tool(tool: dict[str, Any]) -> Tool:
    """Return the canonical form of a declared tool; one that is no function keeps its whole declaration."""
    kind, function, custom = tool.get("type", "function"), tool.get("function"), tool.get("custom")
    if kind == "custom" and isinstance(custom, dict) and isinstance(custom.get("name"), str):
        return _parse_custom(tool, custom)
    if kind != "function" or not isinstance(function, dict):
        return Tool(name=str(kind), kind=str(kind), extras=tool)
    extras = {name: value for name, value in tool.items() if name not in {"type", "function"}}
    if unknown := {name: value for name, value in function.items() if name not in _FUNCTION_FIELDS}:
        extras["function"] = unknown
    return Tool(
        name=function["name"],
        description=function.get("description"),
        parameters=function.get("parameters") or {"type": "object", "properties": {}},
        strict=function.get("strict"),
        extras=extras,
    )


def _parse_custom(tool: dict[str, Any], custom: dict[str, Any]) -> Tool:
    extras = {name: value for name, value in tool.items() if name not in {"type", "custom"}}
    if unknown := {name: value for name, value in custom.items() if name not in _CUSTOM_FIELDS}:
        extras["custom"] = unknown
    if (form := custom.get(_FORMAT)) is not None:
        grammar = form.get("grammar") if isinstance(form, dict) else None
        extras[_FORMAT] = {"type": "grammar", **grammar} if isinstance(grammar, dict) else form
    return Tool(name=custom["name"], description=custom.get("description"), kind="custom", extras=extras)


def custom_names_in(document: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the custom tools that the body of a chat request declares."""
    customs = [fields(tool.get("custom")) for tool in objects(document.get("tools"))]
    return frozenset(custom["name"] for custom in customs if isinstance(custom.get("name"), str))


def parse_tool_choice(choice: Any) -> ToolChoice | None:
    """Return the canonical form of `tool_choice`: a word, or an object that names a tool; `None` for any other."""
    match choice:
        case "auto" | "none" | "required":
            return ToolChoice(mode=choice)
        case {"type": "function", "function": {"name": str(name)}} | {"type": "custom", "custom": {"name": str(name)}}:
            return ToolChoice(mode="named", name=name)
        case _:
            return None


def write_tool(tool: Tool, *, same_dialect: bool = True) -> dict[str, Any]:
    """Return the wire's form of a declared tool: a function, a custom tool, or another that this wire declared."""
    if tool.kind == "custom":
        return _write_custom(tool, same_dialect=same_dialect)
    if tool.kind != "function":
        return tool.extras
    parameters = tool.parameters if same_dialect or tool.parameters is None else of_object(tool.parameters)
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": parameters,
        "strict": tool.strict,
    }
    said = {name: value for name, value in function.items() if value is not None}
    if not same_dialect:
        return {"type": "function", "function": said}
    rest = {name: value for name, value in tool.extras.items() if name != "function"}
    return {"type": "function", "function": said | tool.extras.get("function", {})} | rest


def _write_custom(tool: Tool, *, same_dialect: bool) -> dict[str, Any]:
    form = tool.extras.get(_FORMAT)
    if isinstance(form, dict) and form.get("type") == "grammar" and "grammar" not in form:
        form = {"type": "grammar", "grammar": {name: value for name, value in form.items() if name != "type"}}
    fields = {"name": tool.name, "description": tool.description, _FORMAT: form}
    custom = {name: value for name, value in fields.items() if value is not None}
    if not same_dialect:
        return {"type": "custom", "custom": custom}
    rest = {name: value for name, value in tool.extras.items() if name not in {_FORMAT, "custom"}}
    return {"type": "custom", "custom": custom | tool.extras.get("custom", {})} | rest


def write_tool_choice(choice: ToolChoice | None, *, custom: Collection[str] = ()) -> str | dict[str, Any] | None:
    """Return the wire's form of a tool choice; `custom` are the names of the tools that are custom ones."""
    if choice is None or choice.mode != "named":
        return choice.mode if choice else None
    kind = "custom" if choice.name in custom else "function"
    return {"type": kind, kind: {"name": choice.name}}
