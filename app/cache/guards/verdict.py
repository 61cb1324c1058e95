"""Whether two near prompts may have one answer: guards with a reason to refuse. Law: what is not proven is refused.

Each guard looks at one thing that changes an answer. What all of them let through must be the same content in the same
arrangement, after synonyms; so a word that no table knows refuses by itself.
"""

from collections import Counter
from collections.abc import Callable
from typing import Final

from app.cache.guards.arrangement import same_order
from app.cache.guards.evidence import Evidence
from app.cache.guards.features import Features, features_of
from app.cache.guards.frames import frames
from app.cache.guards.lexicon import lexicon

Guard = Callable[[Features, Features], bool]


def differ(a: str, b: str, *, evidence: Evidence | None = None) -> str | None:
    """Return the name of the first guard that objects to one answer for both texts, in whatever order; or nothing.

    With `evidence`, texts that only the guards of wording tell apart may be the same all the same.
    """
    first, second = sorted((a, b))
    one, other = features_of(first), features_of(second)
    objection = next((name for name, objects in GUARDS.items() if objects(one, other)), None)
    if objection in OF_WORDING and evidence is not None and evidence.suffices((first, second), (one, other)):
        return None
    return objection


def _length(one: Features, other: Features) -> bool:
    return not (one.is_short and other.is_short)


def _language(one: Features, other: Features) -> bool:
    return not (one.is_english and other.is_english)


def _code(one: Features, other: Features) -> bool:
    return one.literals != other.literals


def _number(one: Features, other: Features) -> bool:
    return one.numbers != other.numbers


def _unit(one: Features, other: Features) -> bool:
    return one.units != other.units


def _letter(one: Features, other: Features) -> bool:
    return one.letters != other.letters


def _time(one: Features, other: Features) -> bool:
    if one.is_stale or other.is_stale or one.times != other.times:
        return True
    return bool(one.tense and other.tense) and one.tense.isdisjoint(other.tense)


def _negation(one: Features, other: Features) -> bool:
    return one.negations != other.negations


def _person(one: Features, other: Features) -> bool:
    if max(one.content.total(), other.content.total()) <= _FEW:
        is_other = one.persons.isdisjoint(other.persons)
        return is_other if one.persons and other.persons else one.persons != other.persons and not one.content
    return any({mine, yours} <= one.persons ^ other.persons for mine, yours in _PERSONS)


_FEW: Final = 2
"""Of so little content, the pronouns matter: "what is my name", "what is your name"."""
_PERSONS: Final = (("my", "your"), ("he", "she"))


def _entity(one: Features, other: Features) -> bool:
    if (one.names, one.plain) == (other.names, other.plain):
        return False  # "US us" says both, and so does the other
    return not one.names.isdisjoint(other.plain) or not other.names.isdisjoint(one.plain)


def _question(one: Features, other: Features) -> bool:
    agree = frames().agree
    if len(one.clauses) == len(other.clauses):
        return not all(agree(left.kind, right.kind) for left, right in zip(one.clauses, other.clauses, strict=True))
    few, many = sorted(([clause.kind for clause in text.clauses] for text in (one, other)), key=len)
    return len(many) > len(few) + 1 or not all(any(agree(kind, there) for there in many) for kind in few)


def _antonym(one: Features, other: Features) -> bool:
    only_one, only_other = _leftovers(one, other)
    contrast = lexicon().contrast
    return any(contrast(left, right) for left in only_one for right in only_other)


def _scope(one: Features, other: Features) -> bool:
    only_one, only_other = _leftovers(one, other)
    scopes = lexicon().sets["scope"]
    if any(word.startswith("scope_") or word.rstrip("*") in scopes for word in (*only_one, *only_other)):
        return True
    return only_one.total() != only_other.total() and _instead(one, other) is None


def _template(one: Features, other: Features) -> bool:
    return _instead(one, other) is None


def _order(one: Features, other: Features) -> bool:
    instead = _instead(one, other) or ({}, {})
    return len(one.clauses) != len(other.clauses) or not all(
        left.kind == "compare"
        or same_order(left.arrangement.replaced(instead[0]), right.arrangement.replaced(instead[1]))
        for left, right in zip(one.clauses, other.clauses, strict=True)
    )


_MOST_INSTEAD: Final = 2
"""So many words may be others that are near in sense."""
_MOST_LIGHT: Final = 2
"""So many light words may be in one text only."""
_FOR_EACH: Final = 3
"""Content words that the two must have for each of those."""
Instead = tuple[dict[str, str], dict[str, str]]


def _instead(one: Features, other: Features) -> Instead | None:
    """Return what to replace in the one and in the other to make their content the same; nothing if that is too much.

    Words near in sense are replaced in the other; light words that only one of the two has are left out there.
    """
    only_one, only_other = _leftovers(one, other)
    if not only_one and not only_other:
        return {}, {}
    if max(only_one.total(), only_other.total()) > _MOST_INSTEAD + _MOST_LIGHT:
        return None
    near = _paired(only_one, only_other)
    rest = [word for only in (only_one, only_other) for word in only.elements()]
    is_allowed = all(map(_is_light, rest)) and len(rest) <= _MOST_LIGHT and len(near) <= _MOST_INSTEAD
    if (
        not is_allowed
        or (only_one and only_other)
        or (len(near) + len(rest)) * _FOR_EACH > max(one.content.total(), other.content.total())
    ):
        return None
    return dict.fromkeys(only_one, ""), {**near, **dict.fromkeys(only_other, "")}


def _paired(only_one: Counter[str], only_other: Counter[str]) -> dict[str, str]:
    """Take the words that are near in sense out of both, and return which of the one each of the other stands for."""
    is_near = lexicon().is_near
    near: dict[str, str] = {}
    for word in sorted(only_other):
        meant = next((left for left in sorted(only_one) if is_near(left, word)), None)
        if meant is not None and only_one[meant] == only_other[word]:
            near[word] = meant
            del only_one[meant], only_other[word]
    return near


def _is_light(word: str) -> bool:
    return word.endswith("?") or word in lexicon().light


def _leftovers(one: Features, other: Features) -> tuple[Counter[str], Counter[str]]:
    """Return the content that only the one has, and that only the other has."""
    return one.content - other.content, other.content - one.content


GUARDS: Final[dict[str, Guard]] = {
    "length": _length,
    "language": _language,
    "code": _code,
    "number": _number,
    "unit": _unit,
    "letter": _letter,
    "time": _time,
    "negation": _negation,
    "person": _person,
    "entity": _entity,
    "antonym": _antonym,
    "question": _question,
    "scope": _scope,
    "template": _template,
    "order": _order,
}
"""The guards by name, in the order in which they are asked."""
OF_WORDING: Final = frozenset({"question", "scope", "template", "order"})
"""Those that object to what they cannot prove; the others, which come first, know a difference of fact."""
