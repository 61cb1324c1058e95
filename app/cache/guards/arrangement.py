"""The order of what is left of a sentence: a core, and phrases with their prepositions. Law: pure; at most quadratic.

Moving a whole phrase ("in Python, …"), or a detail before its noun ("the capital of France", "France's capital"),
keeps the sense; exchanging two words does not.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from app.cache.guards.lexicon import Lexicon

_FLIPS: Final = frozenset({"of", "in", "for", "on", "at"})
"""Prepositions whose phrase may as well stand before the noun."""
_MODALS: Final = frozenset({"should", "must", "can", "may", "might"})
"""Words that a question puts elsewhere than a statement; that both texts have them is enough."""
_ALIKE: Final[Mapping[str, str]] = {
    **dict.fromkeys(("of", "in", "for", "on"), "of"),
    **dict.fromkeys(("although", "though"), "but"),
    "since": "because",
    "while": "during",
    "below": "under",
    "above": "over",
}
"""Prepositions that often stand for each other."""
END: Final = "."
"""A mark behind which the words belong to the clause again, not to the phrase before."""
_JOINING: Final = frozenset({"and", "or", "vs", "versus"})


class Phrase(NamedTuple):
    """A preposition, what it governs, and the word before it."""

    preposition: str
    words: tuple[str, ...]
    head: str


class Arrangement(NamedTuple):
    """A sentence's core and its phrases, both in order."""

    core: tuple[str, ...]
    phrases: tuple[Phrase, ...]

    def replaced(self, instead: Mapping[str, str]) -> "Arrangement":
        """Return the arrangement with some words replaced by others, or left out where that is the empty word."""
        if not instead:
            return self

        def run(words: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(word for word in (instead.get(word, word) for word in words) if word)

        return Arrangement(
            run(self.core),
            tuple(Phrase(said, run(words), instead.get(head, head)) for said, words, head in self.phrases),
        )


def arrange(tokens: Sequence[str], lexicon: Lexicon) -> Arrangement:
    """Return the arrangement of tokens: words, prepositions, commas, and the marks that end a phrase (`END`)."""
    weak, strong = lexicon.maps["weak"], lexicon.maps["strong"]
    core: list[str] = []
    phrases: list[tuple[str, list[str], str]] = []
    words = clause = core
    for word in _sorted_pairs(tokens, weak.keys() | strong.keys()):
        if word == ",":
            words = clause = core
        elif word == END:
            words = clause
        elif word == "not":
            words = clause
            words.append(word)
        elif word in _MODALS or word == "and":
            continue
        elif word in weak or word in strong:
            head, words = words[-1] if words else "", []
            preposition = weak.get(word) or strong[word]
            clause = words if preposition in lexicon.sets["clause_openers"] else clause
            phrases.append((preposition, words, head))
        else:
            words.append(word)
    return Arrangement(tuple(core), tuple(Phrase(said, tuple(of), head) for said, of, head in phrases))


def _sorted_pairs(tokens: Sequence[str], breaks: frozenset[str] | set[str]) -> list[str]:
    """Return tokens with "b and a" as "a and b"."""
    made = list(tokens)
    for position in range(1, len(made) - 1):
        if made[position] in _JOINING:
            before, after = made[position - 1], made[position + 1]
            if after < before and before not in breaks and after not in breaks and "," not in {before, after}:
                made[position - 1], made[position + 1] = after, before
    return made


def same_order(one: Arrangement, other: Arrangement) -> bool:
    """Tell whether two arrangements of the same words say the same."""
    left, right = _bare(one), _bare(other)
    only_left, only_right = left - right, right - left
    if only_left and only_right:
        return one.core == other.core and _loose(one) == _loose(other)
    if not _same_sequence(one, other, left & right):
        return False
    if not only_left and not only_right:
        return one.core == other.core
    return _flipped(one, other, only_left) if only_left else _flipped(other, one, only_right)


def _loose(arrangement: Arrangement) -> list[tuple[str, tuple[str, ...]]]:
    """Return the phrases in order, prepositions that often stand for each other as one."""
    return [
        (_ALIKE.get(phrase.preposition, phrase.preposition), phrase.words)
        for phrase in arrangement.phrases
        if phrase.words
    ]


def _bare(arrangement: Arrangement) -> Counter[tuple[str, tuple[str, ...]]]:
    return Counter((phrase.preposition, phrase.words) for phrase in arrangement.phrases)


def _same_sequence(one: Arrangement, other: Arrangement, shared: Counter[tuple[str, tuple[str, ...]]]) -> bool:
    """Tell whether the phrases that both have come in the same order where they have the same preposition."""
    for preposition in {phrase[0] for phrase in shared}:
        orders = [
            [
                phrase.words
                for phrase in arrangement.phrases
                if phrase.preposition == preposition and phrase[:2] in shared
            ]
            for arrangement in (one, other)
        ]
        if orders[0] != orders[1]:
            return False
    return True


def _flipped(loose: Arrangement, tight: Arrangement, extra: Counter[tuple[str, tuple[str, ...]]]) -> bool:
    """Tell whether the extra phrases of `loose` stand bare in `tight`, each before the word that it belongs to."""
    runs = [list(tight.core), *(list(phrase.words) for phrase in tight.phrases)]
    kept = [loose.core]
    for phrase in reversed(loose.phrases):
        if phrase[:2] not in extra:
            kept.insert(1, phrase.words)
        elif phrase.preposition not in _FLIPS or extra[phrase[:2]] != 1 or not any(_take(run, phrase) for run in runs):
            return False
    return [tuple(run) for run in runs] == kept


def _take(run: list[str], phrase: Phrase) -> bool:
    """Take the words of a phrase out of a run, if they stand there before the word that the phrase belongs to."""
    size = len(phrase.words)
    for at in range(len(run) - size):
        if size and tuple(run[at : at + size]) == phrase.words and (not phrase.head or phrase.head in run[at + size :]):
            del run[at : at + size]
            return True
    return False
