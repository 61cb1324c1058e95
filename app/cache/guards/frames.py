"""What kind of answer a sentence asks for, and what is left of it then. Law: pure; the frames are data.

"What is the best way to sort a list", "how do I sort a list" and "show me how to sort a list" are all of the kind
`how`, and leave "sort a list".
"""

import re
from collections.abc import Mapping
from functools import cache
from itertools import islice
from typing import Any, Final, NamedTuple

from app.cache.guards.lexicon import read_toml

_MOST_LEADS: Final = 6
_MOST_JOINTS: Final = 8
"""So many commas of a sentence are tried for a question behind them."""
PLAIN: Final = "plain"
"""The kind of a statement, a request that no frame knows, or a mere topic."""
_BE: Final = frozenset({"is", "are", "was", "were", "be"})
_AND_ASKS: Final = re.compile(r" (?:, )?and (?=(?:how|why|what|when|where|who|which) )")
_JOINT: Final = re.compile(r" , (?:and |but |so )?")


class Frame(NamedTuple):
    """One way to ask."""

    kind: str
    pattern: re.Pattern[str]
    adds: str


class Asked(NamedTuple):
    """The kind of a sentence, what is left of it, and whether what was taken off ended in a form of "to be"."""

    kind: str
    rest: str
    is_after_be: bool


class Frames(NamedTuple):
    """All ways to ask, and which of their kinds want the same answer."""

    rewrites: tuple[tuple[re.Pattern[str], str], ...]
    lead: re.Pattern[str]
    tail: re.Pattern[str]
    frames: tuple[Frame, ...]
    groups: Mapping[str, frozenset[str]]
    settings: frozenset[str]

    def rewritten(self, sentence: str) -> str:
        """Return a sentence with turns of phrase that have a plainer one replaced."""
        for pattern, becomes in self.rewrites:
            sentence = pattern.sub(becomes, sentence)
        return sentence

    def asked(self, sentence: str) -> list[Asked]:
        """Return the clauses of a sentence of lower-case words joined by one space; a mere greeting is none."""
        said = self._bare(sentence)
        if not said:
            return []
        found = self._match(said)
        if found is None:
            return self._split(said)
        if (joint := _AND_ASKS.search(found.rest)) is not None:
            more = self._match(self._bare(found.rest[joint.end() :]))
            if more is not None:
                return [found._replace(rest=found.rest[: joint.start()]), more]
        return [found]

    def _split(self, said: str) -> list[Asked]:
        """Return the clauses of a sentence that opens with no question: what stands before one, and the question."""
        for joint in islice(_JOINT.finditer(said), _MOST_JOINTS):
            opened = self._match(self._bare(said[joint.end() :]))
            if opened is not None:
                before = said[: joint.start()].strip(" ,")
                if self._is_setting(before):
                    return [opened._replace(rest=f"{opened.rest} , {before}")]
                return [Asked(PLAIN, before, is_after_be=False), opened]
        return [Asked(PLAIN, said, is_after_be=False)]

    def _bare(self, sentence: str) -> str:
        """Return a sentence without greetings, politeness and the like."""
        said = sentence.strip(" ,")
        for _ in range(_MOST_LEADS):
            match = self.lead.match(said)
            if match is None or match.end() == 0:
                break
            said = said[match.end() :]
        for _ in range(_MOST_LEADS):
            match = self.tail.search(said)
            if match is None:
                break
            said = said[: match.start()]
        return said.strip(" ,")

    def _match(self, said: str) -> Asked | None:
        for frame in self.frames:
            match = frame.pattern.match(said)
            if match is None:
                continue
            rest = said[match.end() :]
            if "rest" in frame.pattern.groupindex and match.group("rest") is not None:
                rest = f"{match.group('rest')} {rest}"
            if rest.strip(" ,") or frame.adds:
                taken = match.group().rsplit(" ", 1)[-1]
                return Asked(frame.kind, f"{frame.adds} {rest}".strip(" ,"), taken in _BE)
        return None

    def _is_setting(self, clause: str) -> bool:
        """Tell whether what stands before a question only says where, when or under what condition it is asked."""
        return all(part.split(" ", 1)[0] in self.settings for part in clause.split(" , "))

    def agree(self, one: str, other: str) -> bool:
        """Tell whether two kinds want the same answer."""
        return one == other or not self.groups[one].isdisjoint(self.groups[other])


@cache
def frames() -> Frames:
    """Return the frames; the first call reads and compiles them."""
    read: dict[str, Any] = read_toml("frames.toml")
    macros: dict[str, str] = read["macros"]

    def compiled(pattern: str, *, before: str = "", after: str = r"(?![^ ])") -> re.Pattern[str]:
        for name, text in macros.items():
            pattern = pattern.replace(f"<{name}>", text)
        return re.compile(f"{before}(?:{pattern}){after}")

    leads = "|".join(f"(?:{row['pattern']})" for row in read["lead"])
    tails = "|".join(f"(?:{row['pattern']})" for row in read["tail"])
    return Frames(
        rewrites=tuple(
            (compiled(row["pattern"], before=r"(?<![^ ])", after=""), row["becomes"]) for row in read["rewrite"]
        ),
        lead=compiled(leads, after=r"(?![^ ])(?: ,)* ?"),
        tail=compiled(tails, before=r"(?:^| )(?:, )*", after="$"),
        frames=tuple(Frame(row["kind"], compiled(row["pattern"]), row.get("adds", "")) for row in read["frame"]),
        settings=frozenset(read["settings"].split()),
        groups={kind: frozenset(groups.split()) for kind, groups in read["groups"].items()},
    )
