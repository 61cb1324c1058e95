"""The shapes of request bodies on OpenAI's paths. Law: shapes are ours to refuse, value ranges the vendor's.

What is unknown passes. A refusal names the path of the field.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from app.api.addresses import check_media_url
from app.kernel.errors import InvalidRequest

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_MAX_MESSAGES = 10_000
_MAX_NAME = 512
_MAX_USER = 512
_MAX_PAIRS, _MAX_PAIR_NAME, _MAX_PAIR_VALUE = 16, 64, 512
MAX_INPUTS = 2_048
_REDIRECTS = frozenset({"api_base", "base_url", "api_key", "custom_llm_provider", "extra_headers"})
_READ_BY_US = frozenset(
    {"model", "messages", "input", "n", "stream", "stream_options", "max_tokens", "max_completion_tokens", "gateway"}
    | {"metadata", "instructions", "max_output_tokens", "previous_response_id", "conversation", "store", "background"}
    | _REDIRECTS
)
_IMPERSONATES = "user_api_key_"


class Rule(NamedTuple):
    """What a field must be, and how that is said."""

    holds: Callable[[Any], bool]
    want: str


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_stop(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(item, str) for item in value))


def _is_stream_options(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("include_usage"), bool | None)


NUMBER = Rule(_is_number, "a number")
WHOLE = Rule(_is_whole, "a whole number")
FLAG = Rule(lambda value: isinstance(value, bool), "true or false")
TEXT = Rule(lambda value: isinstance(value, str), "text")
OBJECT = Rule(lambda value: isinstance(value, dict), "an object")
STREAM_OPTIONS = Rule(_is_stream_options, "an object whose include_usage is true or false")
STOP = Rule(_is_stop, "text or a list of texts")
_SCALARS: dict[str, Rule] = {
    **dict.fromkeys(("temperature", "top_p", "frequency_penalty", "presence_penalty"), NUMBER),
    **dict.fromkeys(("n", "max_tokens", "max_completion_tokens", "seed", "top_logprobs", "top_k"), WHOLE),
    **dict.fromkeys(("stream", "logprobs", "parallel_tool_calls", "store"), FLAG),
    "logit_bias": OBJECT,
    "reasoning_effort": TEXT,
    "stream_options": STREAM_OPTIONS,
    "stop": STOP,
}


def wrong(param: str, want: str) -> InvalidRequest:
    """Return the refusal of a field that is something else than `want`."""
    return InvalidRequest(f"{param} must be {want}", param=param)


def check_common(document: Mapping[str, Any]) -> str:
    """Check what all bodies have in common; return the name of the model."""
    for name in document:
        if name in _REDIRECTS or (name not in _READ_BY_US and name.casefold() in _READ_BY_US):
            # A server that reads names in any case, as those in Go do, would take `Model` for `model`.
            raise InvalidRequest(f"{name} is not accepted here", code="unknown_parameter", param=name)
    _check_metadata(document.get("metadata"))
    _check_user(document.get("user"))
    model = document.get("model")
    if not isinstance(model, str) or not model:
        raise wrong("model", "the name of a model")
    if len(model) > _MAX_NAME or not model.isprintable():
        raise wrong("model", f"printable text of at most {_MAX_NAME} characters")
    return model


def _check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise wrong("metadata", "an object")
    for name, value in metadata.items():
        param = f"metadata.{name[:_MAX_PAIR_NAME]}"
        if name.startswith(_IMPERSONATES):
            raise InvalidRequest(f"{param} is not accepted here", code="unknown_parameter", param=param)
        if len(name) > _MAX_PAIR_NAME or not isinstance(value, str) or len(value) > _MAX_PAIR_VALUE:
            raise wrong(param, f"text of at most {_MAX_PAIR_VALUE} characters, its name of at most {_MAX_PAIR_NAME}")
    if len(metadata) > _MAX_PAIRS:
        raise wrong("metadata", f"at most {_MAX_PAIRS} pairs")


def _check_user(user: Any) -> None:
    if user is not None and (not isinstance(user, str) or len(user) > _MAX_USER or not user.isprintable()):
        raise wrong("user", f"printable text of at most {_MAX_USER} characters")


def check_chat(document: Mapping[str, Any]) -> None:
    """Check the body of `POST /chat/completions`."""
    check_fields(document, _SCALARS)
    messages = document.get("messages")
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", "a list of at least one message")
    if len(messages) > _MAX_MESSAGES:
        raise wrong("messages", f"at most {_MAX_MESSAGES} messages")
    for position, message in enumerate(messages):
        if not _is_plain(message):
            _check_message(message, f"messages[{position}]")
    if document.get("tools") is not None or document.get("tool_choice") is not None:
        _check_tools(document)
    _check_response_format(document.get("response_format"))


def check_fields(document: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Check the fields that have a rule; a null passes, and so does what has none."""
    for name, value in document.items():
        rule = rules.get(name)
        if rule is not None and value is not None and not rule.holds(value):
            raise wrong(name, rule.want)


def _is_plain(message: Any) -> bool:
    """Whether a message is of the commonest shape, so that there is nothing to look into."""
    if type(message) is not dict or len(message) > 2 or type(message.get("content")) is not str:  # noqa: PLR2004 - role, content
        return False
    role = message.get("role")
    return type(role) is str and role in _ROLES


def _check_message(message: Any, path: str) -> None:
    if not isinstance(message, dict):
        raise wrong(path, "an object")
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise wrong(f"{path}.role", "one of " + ", ".join(sorted(_ROLES)))
    check_texts(message, path, "name", "tool_call_id")
    content = message.get("content")
    if isinstance(content, list):
        for position, part in enumerate(content):
            check_part(part, f"{path}.content[{position}]")
    elif content is None:
        if role in {"user", "system", "developer"}:
            raise wrong(f"{path}.content", "text or a list of parts")
    elif not isinstance(content, str):
        raise wrong(f"{path}.content", "text or a list of parts")
    if "tool_calls" in message:
        _check_calls(message["tool_calls"], f"{path}.tool_calls")


def check_texts(value: Mapping[str, Any], path: str, *names: str) -> None:
    """Check that fields are text where they are there."""
    for name in names:
        if not isinstance(value.get(name), str | None):
            raise wrong(f"{path}.{name}", "text")


def check_part(part: Any, path: str) -> None:
    """Check a part of a message, or of what is to be moderated."""
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        raise wrong(path, "an object with a type")
    kind = part["type"]
    if kind == "text" and not isinstance(part.get("text"), str):
        raise wrong(f"{path}.text", "text")
    if kind == "image_url":
        image = part.get("image_url")
        if not isinstance(image, dict) or not isinstance(image.get("url"), str):
            raise wrong(f"{path}.image_url.url", "a URL")
        check_media_url(image["url"], f"{path}.image_url.url")
        check_texts(image, f"{path}.image_url", "detail")


def _check_calls(calls: Any, path: str) -> None:
    if calls is None:
        return
    if not isinstance(calls, list):
        raise wrong(path, "a list")
    for position, call in enumerate(calls):
        if not isinstance(call, dict) or not isinstance(call.get("function") or call.get("custom"), dict):
            raise wrong(f"{path}[{position}]", "an object with a function")
        check_texts(call, f"{path}[{position}]", "id")


def _check_tools(document: Mapping[str, Any]) -> None:
    tools = document.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise wrong("tools", "a list")
    for position, tool in enumerate(tools or []):
        _check_tool(tool, f"tools[{position}]")
    choice = document.get("tool_choice")
    if choice is not None and not isinstance(choice, str | dict):
        raise wrong("tool_choice", "a word or an object")
    if isinstance(choice, str) and choice not in {"auto", "none", "required"}:
        raise wrong("tool_choice", "auto, none, required or an object")


def _check_tool(tool: Any, path: str) -> None:
    if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
        raise wrong(path, "an object with a type")
    kind = tool["type"]
    if kind not in {"function", "custom"}:
        return
    declared = tool.get(kind)
    if not isinstance(declared, dict) or not isinstance(declared.get("name"), str):
        raise wrong(f"{path}.{kind}.name", "text")
    if kind == "function" and not isinstance(declared.get("parameters", {}), dict | None):
        raise wrong(f"{path}.function.parameters", "a JSON Schema object")


def _check_response_format(value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise wrong("response_format", "an object with a type")
    if value["type"] == "json_schema":
        schema = value.get("json_schema")
        if not isinstance(schema, dict) or not isinstance(schema.get("schema", {}), dict | None):
            raise wrong("response_format.json_schema", "an object with a schema")


def check_embeddings(document: Mapping[str, Any]) -> None:
    """Check the body of `POST /embeddings`."""
    given = document.get("input")
    want = f"text, a list of 1 to {MAX_INPUTS} texts, or lists of token ids"
    if isinstance(given, str):
        if not given:
            raise wrong("input", want)
    elif not isinstance(given, list) or not given or not are_inputs(given):
        raise wrong("input", want)
    dimensions = document.get("dimensions")
    if dimensions is not None and (isinstance(dimensions, bool) or not isinstance(dimensions, int)):
        raise wrong("dimensions", "a whole number")
    if document.get("encoding_format") not in (None, "float", "base64"):
        raise wrong("encoding_format", "float or base64")


def are_inputs(items: list[Any]) -> bool:
    """Whether a list is one of token ids, or of texts or lists of token ids, none empty and not too many."""
    if all(_is_token(item) for item in items):
        return True
    if len(items) > MAX_INPUTS:
        return False
    return all(isinstance(item, str) and item for item in items) or all(
        isinstance(item, list) and item and all(_is_token(token) for token in item) for item in items
    )


def _is_token(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
