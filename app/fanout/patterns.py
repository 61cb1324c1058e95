"""Regular expressions of callers. Law: no pattern holds the process for longer than its allowance.

The one door to `regex`, whose search can be told to give up.
"""

import time
from typing import Any, Final

import regex

MOST_CHARACTERS: Final = 1_024
ALLOWANCE_S: Final = 0.02
"""How long all patterns of one check may search one answer, in seconds of the processor."""


class BadPattern(ValueError):
    """The pattern is not a regular expression that can be used."""


class TooSlow(RuntimeError):
    """The patterns have used up their allowance."""


class Pattern:
    """A regular expression that is searched for anywhere in a text."""

    __slots__ = ("_compiled", "text")

    def __init__(self, text: str) -> None:
        """Compile a pattern. Raises `BadPattern`."""
        if len(text) > MOST_CHARACTERS:
            raise BadPattern(f"a pattern has at most {MOST_CHARACTERS} characters")
        try:
            self._compiled: Any = regex.compile(text, regex.VERSION0, cache_pattern=False)
        except (regex.error, ValueError, OverflowError, RecursionError, MemoryError) as error:
            raise BadPattern(f"the pattern cannot be used: {error}") from None
        self.text = text

    def is_in(self, text: str, *, allowance: "Allowance") -> bool:
        """Whether the pattern matches somewhere in a text. Raises `TooSlow`."""
        return allowance.search(self._compiled, text)


class Allowance:
    """What the patterns of one check may still use of the processor.

    It is the thread's own time that is counted, so that a busy machine does not change an answer's verdict. (The
    library counts the process's, of which the thread's is a part: it gives up no later.)
    """

    __slots__ = ("_left_s",)

    def __init__(self, left_s: float = ALLOWANCE_S) -> None:
        self._left_s = left_s

    def search(self, compiled: Any, text: str) -> bool:
        """Whether a compiled pattern matches somewhere in a text. Raises `TooSlow`."""
        if self._left_s <= 0:
            raise TooSlow
        began_s = time.thread_time()
        try:
            return compiled.search(text, timeout=self._left_s) is not None
        except (TimeoutError, MemoryError):
            self._left_s = 0.0
            raise TooSlow from None
        finally:
            self._left_s -= time.thread_time() - began_s
