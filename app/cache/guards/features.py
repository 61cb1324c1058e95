"""What the guards look at in one text, found out once and kept. Law: pure; what is kept is bounded."""

from collections import Counter
from functools import lru_cache
from typing import Final, NamedTuple

from app.cache.guards.clauses import Clause, clauses
from app.cache.guards.frames import frames
from app.cache.guards.language import is_english
from app.cache.guards.lexicon import Lexicon, lexicon
from app.cache.guards.literals import is_mark, take_out
from app.cache.guards.words import sentences

MOST_CHARS: Final = 2_000
_KEPT: Final = 8_192
"""Of how many texts the features are kept; some 2 KiB each."""


class Features(NamedTuple):
    """All that the guards compare of one text."""

    is_short: bool
    is_english: bool
    is_stale: bool
    literals: Counter[str]
    numbers: Counter[str]
    units: Counter[str]
    letters: tuple[str, ...]
    negations: Counter[str]
    times: Counter[str]
    tense: frozenset[str]
    persons: frozenset[str]
    names: frozenset[str]
    plain: frozenset[str]
    content: Counter[str]
    clauses: tuple[Clause, ...]


_NONE: Final[Counter[str]] = Counter()
_LONG: Final = Features(
    is_short=False,
    is_english=False,
    is_stale=False,
    literals=_NONE,
    numbers=_NONE,
    units=_NONE,
    letters=(),
    negations=_NONE,
    times=_NONE,
    tense=frozenset(),
    persons=frozenset(),
    names=frozenset(),
    plain=frozenset(),
    content=_NONE,
    clauses=(),
)


def features_of(text: str) -> Features:
    """Return the features of a text; of one that is too long only that it is."""
    return _features(text) if len(text) <= MOST_CHARS else _LONG


@lru_cache(maxsize=_KEPT)
def _features(text: str) -> Features:
    tables = lexicon()
    prose = take_out(text)
    split = sentences(prose.text, tables)
    names = frozenset(token.text for sentence in split for token in sentence if token.is_name) | prose.quoted
    plain = frozenset(token.text for sentence in split for token in sentence if not token.is_name)
    said = [frames().rewritten(" ".join(token.text for token in sentence)) for sentence in split]
    words = [word for sentence in said for word in sentence.split()]
    asked = clauses(said, prose=prose, names=names, lexicon=tables)
    return Features(
        is_short=True,
        is_english=is_english(prose.text, tables),
        is_stale=_is_stale(said, words, tables),
        literals=Counter(prose.literals),
        numbers=Counter(word for word in words if word.startswith("#")),
        units=Counter(word for word in words if word.startswith("~")),
        letters=tuple(word for word in words if _is_letter(word)),
        negations=_negations(words, tables),
        times=Counter(word for word in words if word in tables.sets["times"]),
        tense=_tense(words, tables),
        persons=frozenset[str]().union(*(clause.persons for clause in asked)),
        names=names,
        plain=plain & tables.sets["case_matters"] if text.lstrip()[:1].isupper() else frozenset(),
        content=Counter(word for clause in asked for word in clause.content),
        clauses=asked,
    )


def _is_letter(word: str) -> bool:
    return word.endswith("_letter") or (len(word) == 1 and word.isalpha() and word not in "ai" and not is_mark(word))


def _is_stale(said: list[str], words: list[str], tables: Lexicon) -> bool:
    sets = tables.sets
    for position, word in enumerate(words):
        if word in sets["changing"] or (word in sets["now"] and words[position - 1 : position] != ["what"]):
            return True
        if word in sets["current"] and not any(
            after in sets["current_of"] for after in words[position + 1 : position + 3]
        ):
            return True
    return any(
        f" {phrase} " in f" {sentence} "
        for sentence in said
        for name in ("now_phrases", "changing_phrases")
        for phrase in sets[name]
    )


_ASKING: Final = frozenset({"who", "what", "which"})
_NEGATIONS: Final = ("not", "never", "no", "without", "except", "avoid", "hardly")


def _negations(words: list[str], tables: Lexicon) -> Counter[str]:
    found: Counter[str] = Counter()
    for word in words:
        base = tables.forms.base(word)
        found.update(name for name in _NEGATIONS if word in tables.sets[name] or base in tables.sets[name])
    return found


def _tense(words: list[str], tables: Lexicon) -> frozenset[str]:
    """Return whether the verbs beside the subject are past, present or future; nothing where none is sure."""
    auxiliaries = tables.maps["auxiliaries"]
    found = {auxiliaries[word] for word in words if word in auxiliaries}
    if not found and words[:1] and words[0] in _ASKING and any(map(tables.forms.is_past, words[1:3])):
        found.add("past")
    return frozenset(found - {"any"})
