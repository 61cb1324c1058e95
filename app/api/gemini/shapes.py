"""The shapes of request bodies on Google's paths. Law: shapes are ours to refuse, value ranges the vendor's.

What is unknown passes. Names are read in camel case and in snake case; a refusal names the path of the field as it was
sent.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from app.api.addresses import check_media_url
from app.api.openai.shapes import FLAG, NUMBER, OBJECT, TEXT, WHOLE, Rule, check_common, wrong
from app.kernel.errors import InvalidRequest
from providers.gemini.wire import camel

_ROLES = frozenset({"user", "model", "function"})
_MAX_CONTENTS = 10_000
_STORED = ("gs://", "files/")


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


LIST = Rule(lambda value: isinstance(value, list), "a list")
_BODY: dict[str, Rule] = {
    **dict.fromkeys(("generationConfig", "toolConfig", "labels"), OBJECT),
    **dict.fromkeys(("tools", "safetySettings"), LIST),
    "cachedContent": TEXT,
    "store": FLAG,
}
_CONFIG: dict[str, Rule] = {
    **dict.fromkeys(("temperature", "topP", "topK", "presencePenalty", "frequencyPenalty"), NUMBER),
    **dict.fromkeys(("maxOutputTokens", "candidateCount", "seed", "logprobs"), WHOLE),
    **dict.fromkeys(("thinkingConfig", "responseSchema"), OBJECT),
    "responseLogprobs": FLAG,
    "responseMimeType": TEXT,
    "stopSequences": Rule(_are_texts, "a list of texts"),
}
_THINKING: dict[str, Rule] = {"thinkingLevel": TEXT, "thinkingBudget": WHOLE, "includeThoughts": FLAG}
_CALLING: dict[str, Rule] = {"mode": TEXT, "allowedFunctionNames": Rule(_are_texts, "a list of texts")}
_FUNCTION: dict[str, Rule] = {
    "description": TEXT,
    "parameters": OBJECT,
    "parametersJsonSchema": Rule(lambda value: isinstance(value, dict | bool), "a JSON Schema"),
}


class _Field(NamedTuple):
    """A field's value, and its path as it was sent."""

    value: Any
    path: str


def _fields(message: Mapping[str, Any], path: str, rules: Mapping[str, Rule] | None = None) -> dict[str, _Field]:
    """Return the fields of a message that are set, by their names in camel case.

    Refuses one that does not keep to its rule, and one that is said twice: its readers could disagree.
    """
    found: dict[str, _Field] = {}
    for name, value in message.items():
        if value is None:
            continue
        known, place = camel(name), f"{path}.{name}" if path else name
        if known in found:
            raise InvalidRequest(f"{place} is said twice, in both cases of its name", param=place)
        rule = (rules or {}).get(known)
        if rule is not None and not rule.holds(value):
            raise wrong(place, rule.want)
        found[known] = _Field(value, place)
    return found


def check_generate(document: Mapping[str, Any], *, model: str) -> None:
    """Check the body of `:generateContent` for a model that the path names."""
    check_common({**document, "model": model})
    fields = _fields(document, "", _BODY)
    contents = fields.get("contents")
    if contents is None or not isinstance(contents.value, list) or not contents.value:
        raise wrong("contents", "a list of at least one content")
    if len(contents.value) > _MAX_CONTENTS:
        raise wrong("contents", f"at most {_MAX_CONTENTS} contents")
    for position, content in enumerate(contents.value):
        _check_content(content, f"contents[{position}]")
    if (instruction := fields.get("systemInstruction")) is not None:
        _check_content(*instruction)
    _check_inner(fields, "generationConfig", _check_config)
    _check_inner(fields, "toolConfig", _check_tool_config)
    if (tools := fields.get("tools")) is not None:
        for position, tool in enumerate(tools.value):
            _check_tool(tool, f"{tools.path}[{position}]")


def _check_inner(fields: Mapping[str, _Field], name: str, check: Callable[[Mapping[str, Any], str], None]) -> None:
    if (field := fields.get(name)) is not None:
        check(*field)


def _check_config(config: Mapping[str, Any], path: str) -> None:
    _check_inner(_fields(config, path, _CONFIG), "thinkingConfig", _check_thinking)


def _check_thinking(thinking: Mapping[str, Any], path: str) -> None:
    _fields(thinking, path, _THINKING)


def _check_tool_config(config: Mapping[str, Any], path: str) -> None:
    _check_inner(_fields(config, path, {"functionCallingConfig": OBJECT}), "functionCallingConfig", _check_calling)


def _check_calling(calling: Mapping[str, Any], path: str) -> None:
    _fields(calling, path, _CALLING)


def _check_tool(tool: Any, path: str) -> None:
    if not isinstance(tool, dict):
        raise wrong(path, "an object")
    declarations = _fields(tool, path, {"functionDeclarations": LIST}).get("functionDeclarations")
    for position, function in enumerate(declarations.value if declarations else ()):
        place = f"{declarations.path if declarations else path}[{position}]"
        if not isinstance(function, dict):
            raise wrong(place, "an object")
        if not isinstance(function.get("name"), str):
            raise wrong(f"{place}.name", "text")
        _fields(function, place, _FUNCTION)


def _check_content(content: Any, path: str) -> None:
    if not isinstance(content, dict):
        raise wrong(path, "an object")
    fields = _fields(content, path)
    role, parts = fields.get("role"), fields.get("parts")
    if role is not None and (not isinstance(role.value, str) or role.value not in _ROLES):
        raise wrong(role.path, "one of " + ", ".join(sorted(_ROLES)))
    if parts is None:
        return
    if not isinstance(parts.value, list):
        raise wrong(parts.path, "a list of parts")
    for position, part in enumerate(parts.value):
        if not _is_plain(part):
            _check_part(part, f"{parts.path}[{position}]")


def _is_plain(part: Any) -> bool:
    """Whether a part is of the commonest shape, so that there is nothing to look into."""
    return type(part) is dict and len(part) == 1 and type(part.get("text")) is str


def _check_part(part: Any, path: str) -> None:
    if not isinstance(part, dict):
        raise wrong(path, "an object")
    fields = _fields(part, path, {"text": TEXT, "thoughtSignature": TEXT, **dict.fromkeys(_CHECKED, OBJECT)})
    for name, check in _CHECKED.items():
        _check_inner(fields, name, check)


def _check_blob(blob: Mapping[str, Any], path: str) -> None:
    fields = _fields(blob, path, {"mimeType": TEXT, "data": TEXT})
    if "data" not in fields:
        raise wrong(f"{path}.data", "Base64 text")


def _check_file(file: Mapping[str, Any], path: str) -> None:
    """Check a file by its address: one in the web must be public, one in Google's storage is Google's to guard."""
    fields = _fields(file, path, {"mimeType": TEXT, "fileUri": TEXT})
    uri = fields.get("fileUri")
    if uri is None:
        raise wrong(f"{path}.fileUri", "a URI")
    if not uri.value.startswith(_STORED):
        check_media_url(uri.value, uri.path)


def _check_call(call: Mapping[str, Any], path: str) -> None:
    fields = _fields(call, path, {"id": TEXT, "name": TEXT, "args": OBJECT})
    if "name" not in fields:
        raise wrong(f"{path}.name", "text")


def _check_response(response: Mapping[str, Any], path: str) -> None:
    fields = _fields(response, path, {"id": TEXT, "name": TEXT, "response": OBJECT, "parts": LIST})
    if "name" not in fields:
        raise wrong(f"{path}.name", "text")
    if (parts := fields.get("parts")) is not None:
        for position, part in enumerate(parts.value):
            _check_part(part, f"{parts.path}[{position}]")


_CHECKED: dict[str, Callable[[Mapping[str, Any], str], None]] = {
    "inlineData": _check_blob,
    "fileData": _check_file,
    "functionCall": _check_call,
    "functionResponse": _check_response,
}

__all__ = ["check_generate"]
