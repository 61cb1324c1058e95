"""The words of a prompt: contractions opened, slips forgiven, sentences split. Law: pure and linear.

A token is a lower-case word, a mark of a literal, `#` and a number, `~` and the unit of the number before it, or a
comma.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple
from unicodedata import combining, normalize

from app.cache.guards.lexicon import Lexicon
from app.cache.guards.literals import is_mark
from app.cache.guards.numbers import number_at, unit_at

_TOKEN: Final = re.compile(
    r"[\ue000-\uf8ff]"
    r"|\b\d(?:FA|fa|D|d)\b"
    r"|\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:[.:]\d+)*|\.\d+"
    r"|[^\W\d_]{1,20}\d+(?:[.]\d+)*[^\W_]*(?:'s)?"
    r"|[^\W\d_]+(?:'[^\W\d_]+)*(?:\.[^\W\d_](?=\.))*|[$€£¥₹%°&]|[.?!;\n]+|(?<=\s)-(?=\s)|[,:()\-/]|\S"
)
_HYPHENED: Final = re.compile(r"\be-mail(s|ed|ing)?\b", re.IGNORECASE)
_COMMAS: Final = frozenset(":()\"'")
_END: Final = frozenset(".?!;\n")
_LETTERS: Final = frozenset({"A", "I"})
"""Letters that are words as well; behind a word, a capital "A" is a letter, and behind a name an "I"."""
_CONTRACTED: Final = (
    ("can't", "can not"),
    ("cannot", "can not"),
    ("won't", "will not"),
    ("shan't", "shall not"),
    ("ain't", "is not"),
    ("let's", "let us"),
    ("n't", " not"),
    ("'re", " are"),
    ("'ve", " have"),
    ("'ll", " will"),
    ("'m", " am"),
)


def unaccented(word: str) -> str:
    """Return a word without the accents of its Latin letters, as it is written in haste."""
    if word.isascii():
        return word
    return "".join(mark for mark in normalize("NFKD", word) if not combining(mark)) or word


class Token(NamedTuple):
    """A token and whether it was written as a name is, with a capital letter where no sentence starts."""

    text: str
    is_name: bool = False


def sentences(prose: str, lexicon: Lexicon) -> list[list[Token]]:
    """Return the sentences of a prose, each with its tokens; none is empty."""
    found: list[list[Token]] = [[]]
    text = _HYPHENED.sub(r"email\1", prose)
    shouts = text.isupper()
    for match in _TOKEN.finditer(text):
        raw = match.group()
        if raw[0] in _END:
            if found[-1]:
                found.append([])
        elif raw in _LETTERS and found[-1] and (raw == "A" or found[-1][-1].is_name):
            found[-1].append(Token(f"{raw.lower()}_letter"))
        elif raw in _COMMAS or (raw == "-" and _stands_alone(text, match.start())):
            found[-1].append(Token(","))
        else:
            found[-1] += _opened(raw, starts=not found[-1], shouts=shouts, lexicon=lexicon)
    return [_numbered(_without_hyphens(sentence), lexicon) for sentence in found if sentence]


def _stands_alone(text: str, at: int) -> bool:
    return text[at - 1 : at].isspace() and text[at + 1 : at + 2].isspace()


def _opened(raw: str, *, starts: bool, shouts: bool, lexicon: Lexicon) -> Iterator[Token]:
    """Yield the words that one written word stands for."""
    lower = unaccented(raw.lower())
    if not raw[0].isalpha() or is_mark(raw):
        yield Token("and" if raw == "&" else lower)
        return
    is_name = (
        not shouts
        and raw != "I"
        and "'" not in raw[:2]
        and (not raw[1:].islower() and raw[1:] != "" if starts else not raw.islower())
    )
    lower = lower.replace(".", "")
    for word in _expanded(lower, lexicon).split():
        spelt = word if is_name else lexicon.spelt(word)
        yield Token(lexicon.maps["months"].get(word, spelt), is_name and word in lower)


def _expanded(word: str, lexicon: Lexicon) -> str:
    """Return a word without contraction, possession and haste."""
    if word in lexicon.maps["hasty"]:
        return lexicon.maps["hasty"][word].replace("_", " ")
    for short, long in _CONTRACTED:
        if word.endswith(short):
            return word[: -len(short)] + long
    for short, long, behind in (("'s", " is", "is_behind"), ("'d", " would", "would_behind")):
        if word.endswith(short):
            return word[:-2] + (long if word[:-2] in lexicon.sets[behind] else "")
    return word.replace("'", "")


def _numbered(tokens: list[Token], lexicon: Lexicon) -> list[Token]:
    """Return a sentence with its numbers and units in one spelling."""
    words = [token.text for token in tokens]
    made: list[Token] = []
    position = 0
    while position < len(words):
        number = number_at(words, position, lexicon)
        before = made[-1].text if made else ""
        text = f"#{number.value}" if number.words else _unit(words, position, before=before, lexicon=lexicon)
        made.append(Token(text, tokens[position].is_name and not number.words))
        position += max(number.words, 1)
    return made


def _unit(words: list[str], position: int, *, before: str, lexicon: Lexicon) -> str:
    """Return what stands for a word that is no number, behind `before`."""
    if words[position] == "/":
        is_per = before.startswith("~") or before in lexicon.sets["units"]
        return "per" if is_per else "or"
    unit = unit_at(words, position, lexicon, is_behind_number=before.startswith("#"))
    return words[position] if unit is None else unit


def _without_hyphens(tokens: list[Token]) -> list[Token]:
    """Return a sentence with its hyphens gone: between numbers they say "to", between words nothing."""
    made: list[Token] = []
    for position, token in enumerate(tokens):
        if token.text != "-":
            made.append(token)
            continue
        after = tokens[position + 1].text if position + 1 < len(tokens) else ""
        if made and made[-1].text[-1:].isdigit() and after[:1].isdigit():
            made.append(Token("to"))
    return made
