"""The shape of the body of `POST /v1/responses`. Law: as in `app.api.openai.shapes`.

An item of a type that is not known here passes: its own vendor knows it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from app.api.addresses import check_media_url
from app.api.openai.shapes import FLAG, NUMBER, OBJECT, TEXT, WHOLE, Rule, check_fields, check_texts, wrong
from app.kernel.errors import InvalidRequest

_ROLES = frozenset({"system", "developer", "user", "assistant"})
_MAX_ITEMS = 10_000
_STANDS_FOR_INPUT = ("previous_response_id", "prompt", "conversation")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


_RULES: dict[str, Rule] = {
    **dict.fromkeys(("temperature", "top_p"), NUMBER),
    **dict.fromkeys(("max_output_tokens", "max_tool_calls", "top_logprobs"), WHOLE),
    **dict.fromkeys(("background", "parallel_tool_calls", "store", "stream"), FLAG),
    **dict.fromkeys(("reasoning", "stream_options", "text"), OBJECT),
    **dict.fromkeys(("instructions", "previous_response_id", "prompt_cache_key", "truncation"), TEXT),
    "include": Rule(_are_texts, "a list of texts"),
}


def check_response(document: Mapping[str, Any]) -> None:
    """Check a body. What would be answered later, in the background, cannot be charged, and is not served."""
    check_fields(document, _RULES)
    if document.get("background"):
        raise InvalidRequest("background responses are not served here", param="background")
    _check_input(document)
    _check_tools(document.get("tools"), "tools")
    choice = document.get("tool_choice")
    if choice is not None and choice not in ("auto", "none", "required") and not _has_type(choice):
        raise wrong("tool_choice", "auto, none, required or an object with a type")
    _check_format((document.get("text") or {}).get("format"))
    effort = (document.get("reasoning") or {}).get("effort")
    if effort is not None and not isinstance(effort, str):
        raise wrong("reasoning.effort", "a word")


def _has_type(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str)


def _check_input(document: Mapping[str, Any]) -> None:
    given = document.get("input")
    if isinstance(given, str) or (given is None and any(document.get(name) for name in _STANDS_FOR_INPUT)):
        return
    if not isinstance(given, list):
        raise wrong("input", "text or a list of items")
    if len(given) > _MAX_ITEMS:
        raise wrong("input", f"at most {_MAX_ITEMS} items")
    for position, item in enumerate(given):
        _check_item(item, f"input[{position}]")


def _check_item(item: Any, path: str) -> None:
    if not isinstance(item, dict):
        raise wrong(path, "an object")
    kind = item.get("type", "message")
    if not isinstance(kind, str) or not kind:
        raise wrong(f"{path}.type", "the name of a kind of item")
    check = _CHECKS.get(kind)
    if check is not None:
        check(item, path)


def _check_message(item: dict[str, Any], path: str) -> None:
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise wrong(f"{path}.role", "one of " + ", ".join(sorted(_ROLES)))
    _check_content(item.get("content"), f"{path}.content")


def _check_content(content: Any, path: str) -> None:
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise wrong(path, "text or a list of parts")
    for position, part in enumerate(content):
        _check_part(part, f"{path}[{position}]")


def _check_part(part: Any, path: str) -> None:
    if not _has_type(part):
        raise wrong(path, "an object with a type")
    match part["type"]:
        case "input_text" | "output_text":
            _require_text(part, path, "text")
        case "refusal":
            _require_text(part, path, "refusal")
        case "input_image":
            check_texts(part, path, "detail")
            if part.get("file_id") is None:
                _require_text(part, path, "image_url")
                check_media_url(part["image_url"], f"{path}.image_url")
        case "input_file":
            check_texts(part, path, "file_id", "filename", "file_data", "file_url")
            if part.get("file_url") is not None:
                check_media_url(part["file_url"], f"{path}.file_url")
        case _:
            pass


def _require_text(value: Mapping[str, Any], path: str, *names: str) -> None:
    for name in names:
        if not isinstance(value.get(name), str):
            raise wrong(f"{path}.{name}", "text")


def _check_output(item: dict[str, Any], path: str) -> None:
    _require_text(item, path, "call_id")
    check_texts(item, path, "name")
    _check_content(item.get("output"), f"{path}.output")


def _check_reasoning(item: dict[str, Any], path: str) -> None:
    for name in ("summary", "content"):
        parts = item.get(name)
        if parts is not None and not (isinstance(parts, list) and all(_has_type(part) for part in parts)):
            raise wrong(f"{path}.{name}", "a list of objects with a type")
    if not isinstance(item.get("encrypted_content"), str | None):
        raise wrong(f"{path}.encrypted_content", "text")


_CHECKS: dict[str, Callable[[dict[str, Any], str], None]] = {
    "message": _check_message,
    "function_call": lambda item, path: _require_text(item, path, "call_id", "name", "arguments"),
    "custom_tool_call": lambda item, path: _require_text(item, path, "call_id", "name", "input"),
    "function_call_output": _check_output,
    "custom_tool_call_output": _check_output,
    "reasoning": _check_reasoning,
    "item_reference": lambda item, path: _require_text(item, path, "id"),
}


def _check_tools(tools: Any, path: str) -> None:
    if tools is None:
        return
    if not isinstance(tools, list):
        raise wrong(path, "a list")
    for position, tool in enumerate(tools):
        place = f"{path}[{position}]"
        if not _has_type(tool):
            raise wrong(place, "an object with a type")
        if tool["type"] in {"function", "custom", "namespace"}:
            _require_text(tool, place, "name")
        if not isinstance(tool.get("parameters", {}), dict | None):
            raise wrong(f"{place}.parameters", "a JSON Schema object")
        if tool["type"] == "namespace":
            _check_tools(tool.get("tools"), f"{place}.tools")


def _check_format(form: Any) -> None:
    if form is None:
        return
    if not _has_type(form):
        raise wrong("text.format", "an object with a type")
    if form["type"] == "json_schema" and not isinstance(form.get("schema"), dict):
        raise wrong("text.format.schema", "a JSON Schema object")
