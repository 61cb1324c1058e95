"""The dictionary form of an English word: regular endings taken off, irregular forms looked up. Law: pure and total.

Only inflection is undone (plural, -ing, -ed, the third person): comparatives, -ly and prefixes make another word.
Where the rule is not sure of a final "e" it asks the list of verbs; what it gets wrong, it gets wrong twice alike.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

_LEAST: Final = 4
"""Shorter words have no ending that is sure to be one."""
_DOUBLED: Final = re.compile(r"([bdgklmnprtvz])\1$")
_WANTS_E: Final = re.compile(
    r"(?:[aeiou][cvszg]|[^aeiou]at|[iu]at|[bcdfgkptz]l|[lr]v|[nr]c|[nlr]s|rg|dg|iz|[^aeiou][aeiou][kmtpdn]|[ou]r)$"
)
_ONE_SYLLABLE: Final = re.compile(r"^[^aeiou]*[aeiou][^aeiouwxy]$")
_VOWEL: Final = re.compile(r"[aeiouy]")
_BRITISH: Final = re.compile(r"(?<=[a-z]{3})is(?=(?:e|es|ed|ing|ation|ations|er|ers)$)")
_SINGULAR_S: Final = re.compile(r"(?:ss|us|is|ics|news)$")


class Forms(NamedTuple):
    """Where the forms of words are looked up."""

    irregular: Mapping[str, str]
    past: frozenset[str]
    verbs: frozenset[str]
    true_ise: frozenset[str]

    @classmethod
    def of(cls, *, irregular: Iterable[list[str]], verbs: Iterable[str], true_ise: Iterable[str]) -> "Forms":
        """Return the forms that rows of (dictionary form, other forms…) and a list of verbs make."""
        bases: dict[str, str] = {}
        past: set[str] = set()
        for base, *others in irregular:
            bases[base] = base
            for other in others:
                form = other.rstrip("!*")
                bases[form] = base
                if form != other:
                    past.add(form)
        return cls(bases, frozenset(past), frozenset(verbs), frozenset(true_ise))

    def is_past(self, word: str) -> bool:
        """Tell whether a word may be a past tense."""
        return word in self.past or (word.endswith("ed") and len(word) > _LEAST and word not in self.verbs)

    def base(self, word: str) -> str:
        """Return the dictionary form of a lower-case word."""
        known = self.irregular.get(word)
        if known is not None:
            return known
        if word in self.verbs or len(word) < _LEAST or not word.isalpha():
            return word
        word = self._american(word)
        if word.endswith("ing"):
            return self._stem(word, word[:-3])
        if word.endswith("ied"):
            return word[:-3] + "y"
        if word.endswith("ed") and not word.endswith("eed"):
            return self._stem(word, word[:-2])
        return self._singular(word)

    def _american(self, word: str) -> str:
        """Return the American spelling of a word in -ise and its forms."""
        found = _BRITISH.search(word)
        if found is None or word[: found.end()] + "e" in self.true_ise or word[: found.end()] in self.true_ise:
            return word
        return word[: found.start()] + "iz" + word[found.end() :]

    def _singular(self, word: str) -> str:
        if not word.endswith("s") or _SINGULAR_S.search(word):
            return word
        if word.endswith("ies") and len(word) > _LEAST:
            return word[:-3] + "y"
        if word.endswith(("sses", "shes", "ches", "xes", "zzes")):
            return self._known(word[:-2])
        return self._known(word[:-1])

    def _known(self, word: str) -> str:
        return self.irregular.get(word, word)

    def _stem(self, word: str, stem: str) -> str:
        """Return the verb of a form in -ing or -ed; the word itself where there is none ("bed", "king")."""
        if not _VOWEL.search(stem) or len(stem) < 2:  # noqa: PLR2004 - no word has a stem of one letter
            return word
        if stem + "e" in self.verbs:
            return stem + "e"
        if stem in self.verbs or stem in self.irregular:
            return self._known(stem)
        if _DOUBLED.search(stem):
            return stem if stem[-1] in "lz" and stem[:-1] not in self.verbs else stem[:-1]
        if _WANTS_E.search(stem) or _ONE_SYLLABLE.search(stem):
            return stem + "e"
        return stem
