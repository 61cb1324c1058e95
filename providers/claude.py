"""What a Claude takes, known by its name, wherever it runs. Law: a name that is not known is newer than all that are.

Sources: https://platform.claude.com/docs/en/build-with-claude/thinking,
https://platform.claude.com/docs/en/build-with-claude/effort,
https://platform.claude.com/docs/en/build-with-claude/structured-outputs,
https://platform.claude.com/docs/en/about-claude/models/overview, read 2026-11.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from providers.schemas import clean
from providers.signatures import value_for
from providers.types import Message, Part, ThinkingPart, ToolCallPart, ToolResultPart

SIGNER = "anthropic"
"""Who signs a Claude's thoughts, wherever it runs."""
_NAME = re.compile(
    r"claude-(?:(?P<family>[a-z]+)-)?(?P<major>\d{1,2})(?:[.-](?P<minor>\d{1,2}))?(?=$|[^0-9])(?:-(?P<last>[a-z]+))?"
)
_NEWEST = (99, 0)
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_ALWAYS_THINK = {"fable": (5, 0), "mythos": (0, 0), "opus": (5, 5), "sonnet": (5, 5)}
"""Families whose thinking cannot be turned off, and since which version."""
_REFUSED_KEYWORDS = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "format"),
        *("minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains", "prefixItems"),
        *("minProperties", "maxProperties", "patternProperties", "propertyNames", "dependentSchemas"),
        *("not", "if", "then", "else", "$schema", "$id", "$comment", "examples", "deprecated"),
    }
)
"""What schemas for structured outputs may not say. Source: the SDK's own cleaning, anthropic 2.14: lib._parse."""
_KEPT_VALUES = {
    "minItems": (0, 1),
    "format": ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"),
}


class Traits(NamedTuple):
    """How requests to a model must look.

    - `thinking`: `manual` has a budget of tokens, `adaptive` an effort, `none` cannot.
    - `thinks_unasked`: it thinks unless it is told not to; `may_rest`: that can be done.
    - `efforts`: the words for an effort, weakest first; empty where there is no such setting.
    - `samples`: `temperature`, `top_p` and `top_k` are taken.
    - `samples_once`: only one of `temperature` and `top_p` is.
    - `has_formats`: JSON output by a schema and strict tools.
    - `max_output`: the most tokens that it writes.
    """

    thinking: Literal["none", "manual", "adaptive"]
    thinks_unasked: bool
    may_rest: bool
    efforts: tuple[str, ...]
    samples: bool
    samples_once: bool
    has_formats: bool
    max_output: int


@lru_cache(maxsize=512)
def traits_of(model: str) -> Traits:
    """Return what a model takes, by its name in any cloud's form."""
    family, version = _parse(model)
    return Traits(
        thinking="none" if version < (3, 7) else "manual" if version < (4, 6) else "adaptive",
        thinks_unasked=version >= (5, 0),
        may_rest=version < _ALWAYS_THINK.get(family, _NEWEST),
        efforts=_efforts(family, version),
        samples=version < (4, 7),
        samples_once=version >= (4, 1),
        has_formats=version >= (4, 5),
        max_output=_max_output(family, version),
    )


def _parse(model: str) -> tuple[str, tuple[int, int]]:
    found = _NAME.search(model.lower())
    if found is None:
        return "mythos" if "mythos" in model else "", _NEWEST
    family = found["family"] or found["last"] or ""
    return family, (int(found["major"]), int(found["minor"] or 0))


def _efforts(family: str, version: tuple[int, int]) -> tuple[str, ...]:
    if version >= (4, 7):
        return _EFFORTS
    if version >= (4, 6):
        return ("low", "medium", "high", "max")
    return ("low", "medium", "high") if (family, version) == ("opus", (4, 5)) else ()


def _max_output(family: str, version: tuple[int, int]) -> int:
    if version >= (4, 6):
        return 128_000
    if version >= (3, 7):
        return 32_000 if family == "opus" and version < (4, 5) else 64_000
    return 8_192 if version >= (3, 5) else 4_096


def may_think_on(messages: list[Message]) -> bool:
    """Whether a turn that has called tools began with thoughts that a Claude signed, so that it may think on.

    With a budget, a turn that goes on from tool calls without them is refused; what the user says beside the results
    does not end it. Source: https://platform.claude.com/docs/en/build-with-claude/extended-thinking, read 2026-11.
    """
    turn: list[Message] = []
    for message in reversed(messages):
        if message.role == "assistant":
            turn.append(message)
        elif message.role != "tool" and turn:
            break
    if not turn or not any(isinstance(part, ToolCallPart) for part in turn[0].content):
        return True
    first = next(iter(turn[-1].content), None)
    return isinstance(first, ThinkingPart) and value_for(first.signature, SIGNER) is not None


def with_distinct_ids(messages: Iterable[Message], *, fit: Callable[[str], str]) -> list[Message]:
    """Return messages in which no two calls of tools share an id: other vendors may use one again, or give none.

    `fit` puts an id into the form that the wire takes. Results answer their calls in order.
    Source: https://github.com/anomalyco/opencode/issues/1279, read 2026-11.
    """
    ids = _Ids(fit)
    return [
        msgspec.structs.replace(message, content=[ids.put(part) for part in message.content]) for message in messages
    ]


class _Ids:
    """The ids that the calls of one conversation have got."""

    def __init__(self, fit: Callable[[str], str]) -> None:
        self._fit = fit
        self._taken: set[str] = set()
        self._open: dict[str, list[str]] = {}
        self._answered: dict[str, str] = {}

    def put(self, part: Part) -> Part:
        """Return a call or a result with the id that it has on the wire; any other part as it is."""
        if isinstance(part, ToolCallPart):
            given = self._distinct(self._fit(part.id) or "call")
            self._open.setdefault(part.id, []).append(given)
        elif isinstance(part, ToolResultPart):
            waiting = self._open.get(part.id)
            given = waiting.pop(0) if waiting else self._answered.get(part.id, self._fit(part.id))
            self._answered[part.id] = given
        else:
            return part
        return part if given == part.id else msgspec.structs.replace(part, id=given)

    def _distinct(self, wanted: str) -> str:
        given, number = wanted, 1
        while given in self._taken:
            number += 1
            given = f"{wanted[:_ROOM_FOR_A_NUMBER]}_{number}"
        self._taken.add(given)
        return given


_ROOM_FOR_A_NUMBER = 56


def fit_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema as structured outputs take it: closed objects, and no keyword that cannot be enforced.

    Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs, read 2026-11.
    """
    fitted: dict[str, Any] = _any_of(clean(schema, drop=_REFUSED_KEYWORDS, keep=_KEPT_VALUES, closes_objects=True))
    return fitted


def _any_of(node: Any) -> Any:
    """Return a schema that says `anyOf` for `oneOf`, which is refused."""
    if isinstance(node, list):
        return [_any_of(item) for item in node]
    if not isinstance(node, dict):
        return node
    renames = isinstance(node.get("oneOf"), list) and "anyOf" not in node
    return {"anyOf" if renames and name == "oneOf" else name: _any_of(value) for name, value in node.items()}


__all__ = ["SIGNER", "Traits", "fit_schema", "may_think_on", "traits_of", "with_distinct_ids"]
