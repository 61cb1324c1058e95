"""Which answers are the same, for `quorum`: each kind turns an answer into a key. Law: pure, and linear in the text.

An answer that has no form of the kind, such as one without a number, has no key, and is equal to none.
"""

import re
import unicodedata
from collections.abc import Callable, Hashable, Mapping
from decimal import Decimal
from typing import Final

from app.fanout.answers import calls_of, text_of
from app.fanout.documents import NotJson, canonical_number, document_in, frozen, read
from app.settings.policy import Normalize
from providers.types import Completion, ToolCallPart

_MOST_CHARACTERS: Final = 1 << 16
"""Of a longer text only the end counts for a number or a choice."""
_MOST_DIGITS: Final = 1_000
_NUMBER: Final = re.compile(
    r"""(?<![\w.,])
    (?P<before>[-+\u2212]?) (?:[$\u20ac\u00a3\u00a5][ ]?)? (?P<after>[-+\u2212]?)
    (?:(?P<whole>[0-9]{1,3}(?:[,'\u2019\u00a0\u202f ][0-9]{3})+ | [0-9]+) (?:[.](?P<part>[0-9]+))?
    | [.](?P<only>[0-9]+))
    (?:[eE](?P<exponent>[-+]?[0-9]{1,3}))?
    (?![.,]?[0-9] | [eE][-+]?[0-9])""",
    re.VERBOSE,
)
_SEPARATORS: Final = re.compile("[,'\u2019\u00a0\u202f ]")
_MARKUP: Final = re.compile(r"[*_`\"]|\\boxed|\\text|[{}$]")
_ONLY_OPTION: Final = re.compile(r"[(\[]?([A-Za-z])[)\].:]?")
_SAID: Final = re.compile(
    r"\b(?:answer|option|choice)(?:\s+is)?\s*[:=]?\s*[(\[]?(?:([A-Z])(?![\w'])(?=[)\].:,;]|\s*$|\s+(?:because|since|as)\b)"
    r"|([a-z])(?=[)\]]|[.:,;]?\s*$)|(yes|no)\b)",
    re.IGNORECASE | re.MULTILINE,
)
_LEADING: Final = re.compile(r"[(\[]?([A-Za-z])[)\].:](?=\s|$)")
_YES_OR_NO: Final = re.compile(r"(yes|no)\b", re.IGNORECASE)
_FINAL: Final = " .!?,;:\u3002"
"""What may end a sentence; the other forms of these have become these by then."""


def key_of(completion: Completion, *, kind: Normalize) -> Hashable | None:
    """Return the key of an answer; answers with equal keys are the same. Calls of tools must be the same too."""
    calls = tuple(_key_of_call(call) for call in calls_of(completion))
    text = text_of(completion)
    if calls and not text.strip():
        return ("calls", calls)
    said = _KINDS[kind](text)
    return None if said is None else (said, calls)


def _key_of_call(call: ToolCallPart) -> Hashable:
    try:
        return (call.name, frozen(read(call.arguments)))
    except NotJson:
        return (call.name, call.arguments)


def as_json(text: str) -> Hashable | None:
    """Return the value of the document that a text is or fences: the order of names and the form of numbers is free."""
    try:
        return ("json", frozen(document_in(text)))
    except NotJson:
        return None


def as_number(text: str) -> Hashable | None:
    """Return the last number in a text, exactly. Separators of thousands, currency and percent signs do not count."""
    found = None
    for found in _NUMBER.finditer(text[-_MOST_CHARACTERS:]):  # noqa: B007 - the last one is wanted
        pass
    if found is None:
        return None
    said = found.groupdict(default="")
    whole, part = _SEPARATORS.sub("", said["whole"]), said["part"] or said["only"]
    if len(whole) + len(part) > _MOST_DIGITS:
        return None
    number = Decimal(f"{whole or 0}.{part or 0}E{said['exponent'] or 0}")
    is_negative = (said["before"] + said["after"]) in {"-", "\u2212"}
    return canonical_number(number.copy_negate() if is_negative else number)


def as_choice(text: str) -> Hashable | None:
    """Return the option that a text chooses: a letter, such as in `(b)` or `Answer: B.`, or yes or no."""
    plain = _MARKUP.sub("", text[-_MOST_CHARACTERS:]).strip()
    only = _ONLY_OPTION.fullmatch(plain)
    if only is not None:
        return only[1].upper()
    said = None
    for said in _SAID.finditer(plain):  # noqa: B007 - the last one is wanted
        pass
    found = said or _LEADING.match(plain) or _YES_OR_NO.match(plain)
    return None if found is None else next(filter(None, found.groups())).upper()


def as_text(text: str) -> Hashable | None:
    """Return a text without what does not count: case, white space, the form of its letters, and the final stop."""
    plain = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return plain.rstrip(_FINAL) or plain or None


_KINDS: Final[Mapping[Normalize, Callable[[str], Hashable | None]]] = {
    "json": as_json,
    "number": as_number,
    "choice": as_choice,
    "text": as_text,
}
