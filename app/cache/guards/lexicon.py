"""The tables of words, read once: forms, synonyms, phrases, contrasts and closed classes. Law: read only, and no state.

The tables are the files of the folder `data`. A word is first brought to its dictionary form, then to the name of its
class of synonyms; phrases are looked up in dictionary forms.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from string import ascii_lowercase
from typing import Any, Final, NamedTuple

from app.cache.guards.forms import Forms

_DATA: Final = "data"
_CLASS: Final = "*"
"""Behind the name of a class, which is no word of a text."""


class Phrase(NamedTuple):
    """A run of dictionary forms, and what takes its place."""

    words: tuple[str, ...]
    becomes: tuple[str, ...]


class Lexicon(NamedTuple):
    """All the tables."""

    forms: Forms
    synonyms: Mapping[str, str]
    names: Mapping[str, str]
    phrases: Mapping[str, tuple[Phrase, ...]]
    contrasts: Mapping[str, frozenset[int]]
    sets: Mapping[str, frozenset[str]]
    maps: Mapping[str, Mapping[str, str]]
    foreign: frozenset[str]
    vocabulary: frozenset[str]
    misspelt: Mapping[str, str]
    near: Mapping[str, frozenset[int]]
    light: frozenset[str]

    def knows(self, word: str) -> bool:
        """Tell whether a word, or its dictionary form, is in any table."""
        return word in self.vocabulary or self.forms.base(word) in self.vocabulary

    def spelt(self, word: str) -> str:
        """Return a lower-case word as it is written: of a slip of the finger, the one known word that was meant.

        A slip is two neighbours exchanged, or a letter too many or too few, in an unknown word of five letters or more.
        """
        if not _LEAST_SLIP <= len(word) <= _MOST_SLIP or self.knows(word) or not word.isalpha():
            return word
        if word in self.misspelt:
            return self.misspelt[word]
        for slips in (_exchanges(word), _lapses(word)):
            meant = {
                slip for slip in slips if slip in self.vocabulary or (slip.endswith(_INFLECTED) and self.knows(slip))
            }
            if meant:
                return meant.pop() if len(meant) == 1 else word
        return word

    def canonical(self, word: str, *, is_name: bool) -> str:
        """Return what stands for a word: its dictionary form, or the first of those that may stand for it.

        A name has no synonyms but other names of the same thing.
        """
        form = self.forms.base(word)
        named = self.names.get(word) or self.names.get(form)
        if named is not None:
            return named
        return form if is_name else self.synonyms.get(word) or self.synonyms.get(form, form)

    def is_near(self, one: str, other: str) -> bool:
        """Tell whether one word may stand for the other in most sentences."""
        if one.rstrip("?") == other.rstrip("?"):
            return True
        one, other = one.rstrip("?"), other.rstrip("?")
        return not self.near.get(one, _NONE).isdisjoint(self.near.get(other, _NONE)) and not self.contrast(one, other)

    def contrast(self, one: str, other: str) -> bool:
        """Tell whether two words contrast."""
        return one != other and not self.contrasts.get(one, _NONE).isdisjoint(self.contrasts.get(other, _NONE))


_NONE: Final[frozenset[int]] = frozenset()
_LEAST_SLIP: Final = 5
_MOST_SLIP: Final = 16
_INFLECTED: Final = ("s", "ed", "ing")


def _exchanges(word: str) -> Iterator[str]:
    """Yield a word with two neighbours exchanged, the first letter staying."""
    for at in range(2, len(word)):
        if word[at - 1] != word[at]:
            yield word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]


def _lapses(word: str) -> Iterator[str]:
    """Yield a word with a letter more or less; the first is never wrong, the last one never new or missing."""
    for at in range(1, len(word)):
        if at < len(word) - 1 or word.endswith("oe"):
            yield word[:at] + word[at + 1 :]
        for letter in ascii_lowercase:
            yield word[:at] + letter + word[at:]


def read_toml(name: str) -> dict[str, Any]:
    """Return a table of this package."""
    return tomllib.loads((files(__package__) / _DATA / name).read_text(encoding="utf-8"))


def read_rows(name: str) -> Iterator[list[str]]:
    """Yield the words of each line of a table of this package."""
    for line in (files(__package__) / _DATA / name).read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            yield line.split()


@cache
def lexicon() -> Lexicon:
    """Return the tables; the first call reads them, which takes some 20 ms."""
    words = read_toml("words.toml")
    forms = Forms.of(
        irregular=read_rows("irregular.txt"),
        verbs=[verb for row in read_rows("verbs.txt") for verb in row],
        true_ise=words["true_ise"].split(),
    )
    synonyms = _classes([*read_rows("synonyms.txt"), *read_rows("families.txt")], forms)
    names = _classes([*read_rows("names.txt")], forms)
    sets = {name: frozenset(text.split()) for name, text in words.items() if ":" not in text and "/" not in text}
    maps = {name: dict(pair.rsplit(":", 1) for pair in text.split()) for name, text in words.items() if ":" in text}
    sets["units"] = frozenset(maps["unit"].values())
    sets |= {name: frozenset(_listed(text)) for name, text in words.items() if "/" in text and ":" not in text}
    return Lexicon(
        forms=forms,
        synonyms={word: first for word, first in synonyms.items() if " " not in word},
        names={word: first for word, first in names.items() if " " not in word},
        phrases=_phrases(synonyms | names, forms),
        contrasts=_sets("antonyms.txt", forms, synonyms),
        sets=sets,
        maps=maps,
        foreign=sets["foreign"] - sets["english"],
        vocabulary=_vocabulary(forms, [*synonyms, *names], words),
        light=frozenset(synonyms.get(word, word) for word in sets["light"]) | sets["light"],
        near=_sets("near.txt", forms, synonyms),
        misspelt={wrong: right for right, *wrongs in read_rows("misspelt.txt") for wrong in wrongs},
    )


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.replace("\n", " ").split("/")]


def _classes(rows: list[list[str]], forms: Forms) -> dict[str, str]:
    """Return each member's class, joining the classes that share a member."""
    leader: dict[str, str] = {}

    def first(word: str) -> str:
        while leader.setdefault(word, word) != word:
            word = leader[word]
        return word

    for row in rows:
        members = [_dictionary_form(member.replace("_", " "), forms) for member in row]
        for member in members[1:]:
            leader[first(member)] = first(members[0])
    return {word: first(word).replace(" ", "_") + _CLASS for word in leader}


def _dictionary_form(phrase: str, forms: Forms) -> str:
    return " ".join(forms.base(word) for word in phrase.split())


def _phrases(classes: Mapping[str, str], forms: Forms) -> dict[str, tuple[Phrase, ...]]:
    """Return the phrases by their first words, the longest first."""
    known: dict[tuple[str, ...], tuple[str, ...]] = {
        tuple(member.split()): (first,) for member, first in classes.items() if " " in member
    }
    for line in (files(__package__) / _DATA / "phrases.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            said, becomes = line.rsplit("=", 1)
            for alternative in re.split(r"\s\|\s", said):
                words = tuple(_dictionary_form(alternative, forms).split())
                known[words] = tuple(classes.get(_dictionary_form(word, forms), word) for word in becomes.split())
    by_first: dict[str, list[Phrase]] = {}
    for words, becomes_ in sorted(known.items(), key=lambda item: -len(item[0])):
        by_first.setdefault(words[0], []).append(Phrase(words, becomes_))
    return {first: tuple(phrases) for first, phrases in by_first.items()}


def _sets(table: str, forms: Forms, synonyms: Mapping[str, str]) -> dict[str, frozenset[int]]:
    """Return the numbers of the sets that each word, and each class of synonyms, is in."""
    within: dict[str, set[int]] = {}
    for number, row in enumerate(read_rows(table)):
        for word in row:
            form = _dictionary_form(word.replace("_", " "), forms)
            for spelling in {word, form, synonyms.get(form, form)}:
                within.setdefault(spelling, set()).add(number)
    return {word: frozenset(numbers) for word, numbers in within.items()}


def _vocabulary(forms: Forms, members: list[str], words: Mapping[str, str]) -> frozenset[str]:
    """Return all words that any table knows."""
    known = {
        "number",
        *forms.irregular,
        *forms.irregular.values(),
        *forms.verbs,
        *(word for member in members for word in member.split()),
    }
    for table in ("antonyms.txt", "near.txt", "common.txt", "families.txt", "synonyms.txt", "names.txt"):
        known |= {part for row in read_rows(table) for word in row for part in word.split("_")}
    known |= {pair.partition(":")[0] for text in words.values() for pair in text.split()}
    return frozenset(known)
