"""The shapes of request bodies on Anthropic's paths. Law: shapes are ours to refuse, value ranges the vendor's.

What is unknown passes. A refusal names the path of the field.
"""

from collections.abc import Callable, Mapping
from typing import Any

from app.api.addresses import check_media_url
from app.api.openai.shapes import (
    FLAG,
    NUMBER,
    OBJECT,
    WHOLE,
    Rule,
    check_common,
    check_fields,
    check_texts,
    wrong,
)

_ROLES = frozenset({"user", "assistant", "system"})
_MAX_MESSAGES = 10_000
_MAX_DEPTH = 4
_BLOCKS = "text or a list of blocks"


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_FIELDS: dict[str, Rule] = {
    **dict.fromkeys(("temperature", "top_p"), NUMBER),
    **dict.fromkeys(("max_tokens", "top_k"), WHOLE),
    **dict.fromkeys(("thinking", "output_config", "output_format", "tool_choice", "context_management"), OBJECT),
    "stream": FLAG,
    "stop_sequences": Rule(_are_texts, "a list of texts"),
}


def check_messages(document: Mapping[str, Any]) -> str:
    """Check the body of `POST /v1/messages`, or of `/v1/messages/count_tokens`; return the name of the model."""
    model = check_common(_without_nulls(document))
    check_fields(document, _FIELDS)
    check_texts(document.get("thinking") or {}, "thinking", "type", "display")
    if document.get("system") is not None:
        _check_content(document["system"], "system")
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "a list of at least one message")
    if len(messages) > _MAX_MESSAGES:
        raise wrong("messages", f"at most {_MAX_MESSAGES} messages")
    for position, message in enumerate(messages):
        _check_message(message, f"messages[{position}]")
    _check_objects(document.get("tools"), "tools", _check_tool)
    _check_objects(document.get("mcp_servers"), "mcp_servers", _check_server)
    return model


def _without_nulls(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body without labels that are null, as this dialect's clients send them for an unknown user."""
    metadata = document.get("metadata")
    if not isinstance(metadata, dict) or None not in metadata.values():
        return document
    return {**document, "metadata": {name: value for name, value in metadata.items() if value is not None}}


def _check_message(message: Any, path: str) -> None:
    if not isinstance(message, dict):
        raise wrong(path, "an object")
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        raise wrong(f"{path}.role", "one of " + ", ".join(sorted(_ROLES)))
    if type(content) is str or (content is None and role == "system"):
        return
    _check_content(content, f"{path}.content")


def _check_content(content: Any, path: str, *, depth: int = 0) -> None:
    """Check text, or a list of blocks; results of tools and documents hold such lists themselves."""
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise wrong(path, _BLOCKS)
    if depth > _MAX_DEPTH:
        raise wrong(path, f"nested at most {_MAX_DEPTH} deep")
    for position, block in enumerate(content):
        place = f"{path}[{position}]"
        if not isinstance(block, dict) or not isinstance(block.get("type"), str):
            raise wrong(place, "an object with a type")
        _check_block(block, place, depth=depth)


def _check_block(block: Mapping[str, Any], path: str, *, depth: int) -> None:
    match block["type"]:
        case "text":
            _require_texts(block, path, "text")
        case "image" | "document":
            _check_source(block.get("source"), f"{path}.source", depth=depth)
            check_texts(block, path, "title")
        case "tool_use":
            _require_texts(block, path, "id", "name")
            if not isinstance(block.get("input"), dict):
                raise wrong(f"{path}.input", "an object")
        case "tool_result":
            _require_texts(block, path, "tool_use_id")
            if block.get("content") is not None:
                _check_content(block["content"], f"{path}.content", depth=depth + 1)
        case "thinking":
            _require_texts(block, path, "thinking")
            check_texts(block, path, "signature")
        case "redacted_thinking":
            _require_texts(block, path, "data")


def _require_texts(block: Mapping[str, Any], path: str, *names: str) -> None:
    for name in names:
        if not isinstance(block.get(name), str):
            raise wrong(f"{path}.{name}", "text")


def _check_source(source: Any, path: str, *, depth: int) -> None:
    if not isinstance(source, dict) or not isinstance(source.get("type"), str):
        raise wrong(path, "an object with a type")
    match source["type"]:
        case "url":
            _require_texts(source, path, "url")
            check_media_url(source["url"], f"{path}.url")
        case "base64" | "text":
            _require_texts(source, path, "media_type", "data")
        case "file":
            _require_texts(source, path, "file_id")
        case "content":
            _check_content(source.get("content"), f"{path}.content", depth=depth + 1)


def _check_objects(items: Any, path: str, check: Callable[[Mapping[str, Any], str], None]) -> None:
    if items is None:
        return
    if not isinstance(items, list):
        raise wrong(path, "a list")
    for position, item in enumerate(items):
        if not isinstance(item, dict):
            raise wrong(f"{path}[{position}]", "an object")
        check(item, f"{path}[{position}]")


def _check_tool(tool: Mapping[str, Any], path: str) -> None:
    """Check a tool: one that the vendor defines has a type, any other a name and the schema of its input."""
    kind = tool.get("type")
    if not isinstance(kind, str | None):
        raise wrong(f"{path}.type", "text")
    if kind in {None, "custom"}:
        _require_texts(tool, path, "name")
        if not isinstance(tool.get("input_schema"), dict):
            raise wrong(f"{path}.input_schema", "a JSON Schema object")
        if not isinstance(tool.get("description"), str | None):
            raise wrong(f"{path}.description", "text")


def _check_server(server: Mapping[str, Any], path: str) -> None:
    """Check a server of tools, which the vendor calls."""
    _require_texts(server, path, "url")
    check_media_url(server["url"], f"{path}.url")


__all__ = ["check_messages"]
