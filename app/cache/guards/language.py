"""Whether a text is English, the one language whose tables are here. Law: pure; in doubt it is not."""

import re
from typing import Final

from app.cache.guards.lexicon import Lexicon

_WORD: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_SYMBOL: Final = re.compile("[\u0370-\u03ff]\\Z")
"""A single Greek letter is a symbol, not a word of Greek."""
_LATIN_ENDS: Final = "\u024f"
_ACCENTED_SHARE: Final = 12
"""At most one letter in so many may have an accent: names have them."""
_ENGLISH_SHARE: Final = 8
"""At least one word in so many is a frequent English one."""


def is_english(prose: str, lexicon: Lexicon) -> bool:
    """Tell whether a prose, without its literals, is English beyond doubt."""
    words = _WORD.findall(prose.lower().replace("'", ""))
    words = [word for word in words if not "\ue000" <= word[0] <= "\uf8ff"]
    words = [word for word in words if not _SYMBOL.match(word)]
    letters = "".join(words)
    if not letters or any(letter > _LATIN_ENDS for letter in letters):
        return False
    if sum(letter > "\x7f" for letter in letters) * _ACCENTED_SHARE > len(letters):
        return False
    english = sum(word in lexicon.sets["english"] for word in words)
    foreign = sum(word in lexicon.foreign for word in words)
    return english * _ENGLISH_SHARE >= len(words) and english > foreign
