"""The passive brought to the active, and predicates to attributes. Law: pure; only where the grammar is plain.

"How should passwords be stored" asks what "how should you store passwords" asks, and "which river is the longest" what
"the longest river" asks. Words are lower-case and of one sentence.
"""

from collections.abc import Sequence
from typing import Final

from app.cache.guards.lexicon import Lexicon

PATIENT: Final = "passive*"
"""Stands for a pronoun that something is done to: "when am I paid" is not "when do I pay"."""
_LEAST_SUPERLATIVE: Final = 5
"""Letters of the shortest superlative that ends in "est": a "test" is none."""


def active(words: list[str], *, is_after_be: bool, lexicon: Lexicon) -> list[str]:
    """Return a sentence with its participles before what they are done to, and after who does it.

    `is_after_be` says that the frame which was taken off ended in a form of "to be".
    """
    for at in range(len(words)):
        if _is_participle(words[at], lexicon) and _has_be(words, at, is_after_be=is_after_be, lexicon=lexicon):
            return _turned(words, at, lexicon)
    return words


def _is_participle(word: str, lexicon: Lexicon) -> bool:
    forms = lexicon.forms
    base = forms.base(word)
    if word in lexicon.sets["unchanged_participles"]:
        return True
    if word.endswith("ed"):
        return word != base
    return base in forms.verbs and word != base and (word.endswith(("n", "t", "d")) or word in forms.past)


def _has_be(words: Sequence[str], at: int, *, is_after_be: bool, lexicon: Lexicon) -> bool:
    before = at - 1
    is_after_be = is_after_be and words[at] not in lexicon.sets["unchanged_participles"]
    while before >= 0 and (words[before].startswith("#") or words[before] in lexicon.sets["passive_adverbs"]):
        before -= 1
    if before >= 0 and words[before] in lexicon.sets["be"]:
        return True
    if not is_after_be or any(word in lexicon.sets["clause_bounds"] for word in words[:at]):
        return False
    return (
        at + 1 == len(words)
        or words[at + 1] in lexicon.maps["weak"]
        or words[at + 1] in lexicon.maps["strong"]
        or words[at + 1] == ","
    )


def _turned(words: list[str], at: int, lexicon: Lexicon) -> list[str]:
    verb = lexicon.forms.base(words[at])
    start = max((near + 1 for near in range(at) if words[near] in lexicon.sets["clause_bounds"]), default=0)
    done_to = [word for word in words[start:at] if word not in lexicon.sets["be"]]
    after = words[at + 1 :]
    doer: list[str] = []
    if after == ["by"]:  # "who was it written by"
        after = []
    if after and after[0] == "by" and len(after) > 1 and not after[1].endswith("ing"):
        end = next((near for near in range(1, len(after)) if _is_bound(after[near], lexicon)), len(after))
        doer, after = after[1:end], after[end:]
    dropped = lexicon.sets["dropped"]
    if not doer and all(word in dropped for word in done_to):
        done_to.append(PATIENT)
    return [*words[:start], *doer, verb, *done_to, *after]


def _is_bound(word: str, lexicon: Lexicon) -> bool:
    return word in lexicon.sets["clause_bounds"] or word in lexicon.maps["weak"] or word in lexicon.maps["strong"]


def attributive(words: list[str], lexicon: Lexicon) -> list[str]:
    """Return a sentence whose predicate is a superlative ("river is the longest") with that before the noun."""
    for at in range(1, len(words)):
        if words[at] not in lexicon.sets["be"]:
            continue
        rest = [word for word in words[at + 1 :] if word != "the"]
        size = 2 if rest[:1] in (["most"], ["least"]) else 1
        is_last = len(rest) == size or (len(rest) > size and _is_bound(rest[size], lexicon))
        if is_last and (size > 1 or _is_superlative(rest[0])):
            return [*rest[:size], *words[:at], *rest[size:]]
    return words


def _is_superlative(word: str) -> bool:
    return word in {"best", "worst"} or (word.endswith("est") and len(word) >= _LEAST_SUPERLATIVE)
