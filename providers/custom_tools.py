"""OpenAI's custom tools, whose input is free text, for vendors that know only functions.

A custom tool is a `Tool` of kind `custom`, and a call to one a `ToolCallPart` whose extras say `type: custom` and whose
`arguments` are the text itself. Elsewhere it becomes a function with one parameter, `input`; whoever renders the answer
knows from the request which calls are such ones.
"""

from collections.abc import Iterable

import msgspec

from providers.types import Tool, ToolCallPart

CUSTOM = {"type": "custom"}
_INPUT = "input"
_PARAMETERS = {
    "type": "object",
    "properties": {_INPUT: {"type": "string", "description": "The whole input of the tool, as free text."}},
    "required": [_INPUT],
    "additionalProperties": False,
}


def names_of(tools: Iterable[Tool]) -> frozenset[str]:
    """Return the names of the custom tools among `tools`."""
    return frozenset(tool.name for tool in tools if tool.kind == "custom")


def as_function(tool: Tool) -> Tool:
    """Return a function that stands for a custom tool; any other tool as it is."""
    if tool.kind != "custom":
        return tool
    return Tool(name=tool.name, description=_description(tool), parameters=_PARAMETERS)


def _description(tool: Tool) -> str | None:
    """Return what the tool is for and, since a function has no grammar, what its input must look like."""
    form = tool.extras.get("format")
    if not isinstance(form, dict) or not isinstance(definition := form.get("definition"), str):
        return tool.description
    grammar = f"The input must match this {form.get('syntax', '')} grammar:\n{definition}"
    return f"{tool.description}\n\n{grammar}" if tool.description else grammar


def wrap(call: ToolCallPart) -> ToolCallPart:
    """Return a call to a function that stands for a custom tool; any other call as it is."""
    if call.extras.get("type") != "custom":
        return call
    arguments = msgspec.json.encode({_INPUT: call.arguments}).decode()
    extras = {name: value for name, value in call.extras.items() if name != "type"}
    return msgspec.structs.replace(call, arguments=arguments, extras=extras)


def unwrap(arguments: str) -> str:
    """Return the text inside the arguments of such a call; arguments of any other form are the text themselves."""
    try:
        decoded = msgspec.json.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments
    text = decoded.get(_INPUT) if isinstance(decoded, dict) else None
    return text if isinstance(text, str) else arguments


__all__ = ["CUSTOM", "as_function", "names_of", "unwrap", "wrap"]
