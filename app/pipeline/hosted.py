"""Tools that a provider runs itself, in any dialect: what they read and charge is known only when it has happened.

Sources: openai 3.57: types.responses.tool_param; anthropic 2.14: types.beta.beta_tool_union_param; google-genai 3.6:
types.Tool.
"""

from collections.abc import Mapping
from typing import Any

from app.routing.vocabulary import member

_OF_CLIENT = (*("apply_patch", "computer", "computer_use_preview", "custom", "function", "local_shell", "tool_search"),)
_OF_CLIENT_IN_VERSIONS = ("bash_", "computer_", "memory_", "text_editor_", "tool_search_tool_")
"""Anthropic's, whose types end in a date."""
_DECLARES = frozenset(
    {
        *("computerUse", "computer_use", "functionDeclarations", "function_declarations"),
        *("cache_control", "description", "input_schema", "name", "strict", "input_examples", "defer_loading"),
        *("allowed_callers", "eager_input_streaming"),
    }
)
"""What a tool without a type may have: Google's declarations of functions, and Anthropic's one."""
_BESIDE = ("mcp_servers", "web_search_options")


def find_hosted_tool(document: Mapping[str, Any]) -> str | None:
    """Return the path of the first tool that the provider would run itself, if a body asks for one."""
    beside = next((name for name in _BESIDE if document.get(name) not in (None, [])), None)
    return beside or _first_hosted(document.get("tools"), "tools")


def _first_hosted(tools: Any, path: str) -> str | None:
    for position, tool in enumerate(tools if isinstance(tools, list) else []):
        place = f"{path}[{position}]"
        if isinstance(tool, dict) and (found := _hosted(tool, place)):
            return found
    return None


def _hosted(tool: Mapping[str, Any], path: str) -> str | None:
    kind = tool.get("type")
    if kind == "namespace":
        return _first_hosted(tool.get("tools"), f"{path}.tools")
    if kind == "shell" and member(tool, "environment.type") == "local":
        return None
    if kind is None:
        return next(
            (f"{path}.{name}" for name, value in tool.items() if name not in _DECLARES and value is not None), None
        )
    is_of_client = isinstance(kind, str) and (kind in _OF_CLIENT or kind.startswith(_OF_CLIENT_IN_VERSIONS))
    return None if is_of_client else path


__all__ = ["find_hosted_tool"]
