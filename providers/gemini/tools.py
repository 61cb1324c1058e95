"""Tools and the choice among them.

A tool that Google runs itself is a `Tool` of the kind of its name on the wire (`googleSearch`, `codeExecution`, …).
Source: https://ai.google.dev/api/caching#Tool, read 2026-11; google-genai 3.6: types.ToolConfig.
"""

from collections.abc import Iterable
from typing import Any

from providers import custom_tools
from providers.carry import functions_only
from providers.gemini.schema import from_openapi, is_empty, to_wire
from providers.gemini.wire import DIALECT, named
from providers.types import ChatRequest, Tool, ToolChoice

CONFIG = "toolConfig"
_CALLING = "functionCallingConfig"
_DECLARATIONS = "functionDeclarations"
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
_VALIDATED = "VALIDATED"


def read_tools(tools: Iterable[Any], *, strict: bool) -> list[Tool]:
    """Return the functions and hosted tools of a request; `strict` is whether calls must keep to their schemas."""
    found: list[Tool] = []
    for tool in tools:
        for name, value in named(tool).items():
            if name == _DECLARATIONS:
                found += [_read_function(function, strict=strict) for function in value or []]
            elif value is not None:
                found.append(Tool(name=name, kind=name, extras={name: value}))
    return found


def _read_function(declaration: Any, *, strict: bool) -> Tool:
    fields = named(declaration)
    name, description = fields.pop("name", ""), fields.pop("description", None)
    schema, openapi = fields.pop("parametersJsonSchema", None), fields.pop("parameters", None)
    if isinstance(schema, bool):
        schema = {} if schema else {"not": {}}
    parameters = from_openapi(openapi) if schema is None else schema
    return Tool(
        name=name,
        description=description,
        parameters=_NO_PARAMETERS if parameters is None else parameters,
        strict=True if strict else None,
        extras=fields,
    )


class Choice:
    """What a tool config says, canonically.

    `strict` is whether calls must keep to their schemas; `extras` is what has no canonical equal.
    """

    def __init__(self, config: Any) -> None:
        fields = named(config)
        calling = named(fields.pop(_CALLING, None))
        mode, allowed = calling.pop("mode", None), calling.pop("allowedFunctionNames", None)
        self.strict = False
        self.choice: ToolChoice | None = None
        self.extras: dict[str, Any] = {CONFIG: config} if fields or calling else {}
        match str(mode or "").upper(), allowed or []:
            case "AUTO", []:
                self.choice = ToolChoice(mode="auto")
            case "NONE", _:
                self.choice = ToolChoice(mode="none")
            case "ANY", []:
                self.choice = ToolChoice(mode="required")
            case "ANY", [str(name)]:
                self.choice = ToolChoice(mode="named", name=name)
            case "VALIDATED", []:
                self.choice, self.strict = ToolChoice(mode="auto"), True
            case (("" | "MODE_UNSPECIFIED"), []):
                pass
            case _:
                self.extras = {CONFIG: config}


def write_tools(request: ChatRequest) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the tools, and the names of those that are left out. Raises `RequestRefused` (`providers.carry`)."""
    kept, dropped = (request.tools, ()) if request.dialect == DIALECT else functions_only(request)
    functions = [_write_function(tool, request.dialect) for tool in kept if not _is_hosted(tool)]
    hosted = [tool.extras for tool in kept if _is_hosted(tool)]
    return [*([{_DECLARATIONS: functions}] if functions else []), *hosted], dropped


def _is_hosted(tool: Tool) -> bool:
    return tool.kind not in {"function", "custom"}


def _write_function(tool: Tool, dialect: str) -> dict[str, Any]:
    tool = custom_tools.as_function(tool)
    fields: dict[str, Any] = {"name": tool.name}
    if tool.description:
        fields["description"] = tool.description
    if tool.parameters is not None and not is_empty(tool.parameters):
        fields["parametersJsonSchema"] = tool.parameters if dialect == DIALECT else to_wire(tool.parameters)
    return fields | (tool.extras if dialect == DIALECT else {})


def write_choice(request: ChatRequest) -> dict[str, Any] | None:
    """Return the tool config; `VALIDATED` where calls must keep to their schemas, as far as the model may choose."""
    if CONFIG in request.extras:
        config: dict[str, Any] = request.extras[CONFIG]
        return config
    if request.dialect != DIALECT and all(_is_hosted(tool) for tool in request.tools):
        return None  # a choice among no functions is refused
    choice = request.tool_choice
    is_strict = any(tool.strict and tool.kind == "function" for tool in request.tools)
    if is_strict and (choice is None or choice.mode == "auto"):
        return {_CALLING: {"mode": _VALIDATED}}
    if choice is None:
        return None
    only = {"allowedFunctionNames": [choice.name]} if choice.mode == "named" else {}
    return {_CALLING: {"mode": _MODES[choice.mode], **only}}
