"""Whether two texts say the same in other words, where that cannot be proven. Law: pure; weights are data, fitted once.

A rewording changes many words and keeps the sense; what is dangerous changes one word and keeps the sentence. So the
sense that the embedding sees speaks for two texts, and the wording that they share speaks against them. Only texts that
no guard about facts tells apart are weighed at all: numbers, units, names, times, denials and opposites are not; nor is
the same content in another order, of which the order alone decides what it means.

Source of the weights: `infra/cache/fit_evidence.py`.
"""

import tomllib
from collections.abc import Sequence
from functools import cache
from math import log1p
from pathlib import Path
from typing import Final

from app.cache.embedding.static import StaticEmbedder
from app.cache.embedding.vector import Vector, cosine
from app.cache.embedding.wordpiece import words_of
from app.cache.guards.features import Features

SIGNS: Final = ("sense", "content", "rest_sense", "matched", "least", "wording", "fewer", "more", "lengths", "shorter")
"""What is weighed. The first five speak of the sense: of the texts, the share of content that is the same, that of what
is left, and how well its words match, on average and at worst; `wording` is the share of words in the same order."""
MOST_REST: Final = 6
"""With more words left on one side nothing is weighed."""
MOST_WORDS: Final = 80
_MARKS: Final = "=#~"
_WEIGHTS: Final = Path(__file__).parent / "data" / "evidence.toml"


class Evidence:
    """Weighs pairs of texts."""

    def __init__(self, embedder: StaticEmbedder) -> None:
        self._embedder = embedder
        self._weights, self._bar = weights()

    def suffices(self, texts: tuple[str, str], features: tuple[Features, Features]) -> bool:
        """Whether what is known of two texts suffices for taking them to be the same."""
        signs = self.signs(texts, features)
        if signs is None:
            return False
        return sum(weight * sign for weight, sign in zip(self._weights, signs, strict=True)) >= self._bar

    def signs(self, texts: tuple[str, str], features: tuple[Features, Features]) -> tuple[float, ...] | None:
        """Return the signs of two texts, in the order of `SIGNS`; nothing where they are not to be weighed."""
        words = [text.lower().split() for text in texts]
        shorter, longer = sorted(map(len, words))
        one, other = features[0].content, features[1].content
        rests = [list((one - other).elements()), list((other - one).elements())]
        fewer, more = sorted(map(len, rests))
        if not shorter or longer > MOST_WORDS or not 0 < more <= MOST_REST:
            return None
        vectors = [self._embedder.embed_words(words_of(text)) for text in texts]
        rest_sense, matched, least = self._match(rests) if fewer else (0.0, 0.0, 0.0)
        return (
            cosine(*vectors),
            2 * (one & other).total() / max(1, one.total() + other.total()),
            rest_sense,
            matched,
            least,
            2 * _common(*words) / (shorter + longer),
            float(fewer),
            float(more),
            (longer - shorter) / longer,
            log1p(shorter),
        )

    def _match(self, rests: Sequence[list[str]]) -> tuple[float, float, float]:
        """Return how near in sense what is left is: as wholes, and by each word's best match, on average and least."""
        each = [[self._vector(word) for word in rest] for rest in rests]
        wholes = [self._embedder.embed_words([part for word in rest for part in _parts(word)]) for rest in rests]
        table = [[cosine(one, other) for other in each[1]] for one in each[0]]
        best_of_one = [max(row) for row in table]
        best_of_other = [max(column) for column in zip(*table, strict=True)]
        means = [sum(best) / len(best) for best in (best_of_one, best_of_other)]
        return cosine(*wholes), sum(means) / 2, min(*best_of_one, *best_of_other)

    def _vector(self, word: str) -> Vector:
        return self._embedder.embed_words(_parts(word))


def _parts(word: str) -> list[str]:
    return words_of(word.strip(_MARKS))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the length of the longest sequence of words that both have."""
    row = [0] * (len(other) + 1)
    for word in one:
        before = 0
        for place, match in enumerate(other, 1):
            kept = row[place]
            row[place] = before + 1 if word == match else max(kept, row[place - 1])
            before = kept
    return row[-1]


@cache
def weights() -> tuple[tuple[float, ...], float]:
    """Return the weights of the signs, and the bar that their sum must reach."""
    data = tomllib.loads(_WEIGHTS.read_text(encoding="utf-8"))
    return tuple(float(data["weights"][name]) for name in SIGNS), float(data["bar"])
