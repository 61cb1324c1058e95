"""What an answer must pass: a schema, a pattern, a call of a tool, or all that are named. Law: pure, and bounded.

`{"json_schema": {…}}`: the text is a JSON document, perhaps in a fence, and valid. `{"regex": "…"}`: the pattern
matches somewhere in the text. `{"tool": "name"}`: the tool is called, with an object; with `json_schema` it is that
object which must be valid.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from app.fanout.answers import calls_of, text_of
from app.fanout.documents import NotJson, document_in, read
from app.fanout.patterns import Allowance, BadPattern, Pattern, TooSlow
from app.fanout.schemas import Schema
from app.fanout.validation import is_valid
from app.kernel.errors import InvalidRequest
from providers.types import Completion, ToolCallPart

_Made = TypeVar("_Made")
_FIELDS: Final = ("json_schema", "regex", "tool")
_MOST_NAME: Final = 256
_MOST_CALLS: Final = 32
_SHOWN: Final = 64


class Check:
    """What an answer must pass. It holds no more than what was read, and may be shared."""

    __slots__ = ("_pattern", "_schema", "_tool")

    def __init__(self, *, schema: Schema | None, pattern: Pattern | None, tool: str | None) -> None:
        self._schema = schema
        self._pattern = pattern
        self._tool = tool

    def passes(self, completion: Completion) -> bool:
        """Whether an answer passes; one that would cost too much to check does not."""
        allowance = Allowance()
        if self._pattern is not None and not _is_in(self._pattern, text_of(completion), allowance):
            return False
        if self._tool is not None:
            return self._passes_calls(completion, allowance)
        return self._schema is None or _is_document(text_of(completion), self._schema, allowance)

    def _passes_calls(self, completion: Completion, allowance: Allowance) -> bool:
        """Whether the tool is called, and with valid arguments each time."""
        calls = [call for call in calls_of(completion) if call.name == self._tool]
        return 0 < len(calls) <= _MOST_CALLS and all(self._passes_call(call, allowance) for call in calls)

    def _passes_call(self, call: ToolCallPart, allowance: Allowance) -> bool:
        try:
            arguments = read(call.arguments)
        except NotJson:
            return False
        if not isinstance(arguments, dict):
            return False
        return self._schema is None or is_valid(arguments, self._schema, allowance=allowance)


def _is_in(pattern: Pattern, text: str, allowance: Allowance) -> bool:
    try:
        return pattern.is_in(text, allowance=allowance)
    except TooSlow:
        return False


def _is_document(text: str, schema: Schema, allowance: Allowance) -> bool:
    try:
        document = document_in(text)
    except NotJson:
        return False
    return is_valid(document, schema, allowance=allowance)


def read_check(given: Any, *, label: str) -> Check:
    """Return the check that a JSON object describes; `label` is the path under which its giver knows it.

    Raises `InvalidRequest` that names the field.
    """
    if not isinstance(given, dict):
        raise InvalidRequest(f"{label} must be an object", param=label)
    for name in given:
        if name not in _FIELDS:
            path = f"{label}.{name[:_SHOWN]}"
            raise InvalidRequest(f"{path} is not a field of {label}", code="unknown_parameter", param=path)
    schema, pattern, tool = (given.get(name) for name in _FIELDS)
    if schema is None and pattern is None and tool is None:
        raise InvalidRequest(f"{label} must name at least one of {', '.join(_FIELDS)}", param=label)
    return Check(
        schema=None if schema is None else _made(Schema, schema, f"{label}.json_schema"),
        pattern=None if pattern is None else _made(_pattern, pattern, f"{label}.regex"),
        tool=None if tool is None else _made(_tool, tool, f"{label}.tool"),
    )


def _made(make: Callable[[Any], _Made], value: Any, label: str) -> _Made:
    try:
        return make(value)
    except ValueError as error:
        raise InvalidRequest(f"{label}: {error}", param=label) from None


def _pattern(value: Any) -> Pattern:
    if not isinstance(value, str):
        raise BadPattern("a pattern is text")
    return Pattern(value)


def _tool(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= _MOST_NAME:
        raise ValueError(f"the name of a tool is text of at most {_MOST_NAME} characters")
    return value
