"""What a prompt holds besides prose: code, quoted text, addresses, names. Law: pure; each is taken out as written.

In the prose each is replaced by one mark, a character of the private use area, so that its place is kept. In doubt a
run of characters is code: code must be the same to the letter.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

_FIRST_MARK: Final = 0xE000
_MARK: Final = re.compile("[\ue000-\uf8ff]")
_UNSEEN: Final = re.compile("[\ue000-\uf8ff\x00-\x08\x0b-\x1f\x7f\u200b-\u200f\u2060\ufeff]")
_STRAIGHT: Final = str.maketrans(
    {
        "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u201e": '"', "\u00ab": '"', "\u00bb": '"',
        "\u2010": "-", "\u2011": "-", "\u2013": "-", "\u2014": " - ", "\u2026": ". ", "\u00a0": " ", "\u2212": "-",
    }
)  # fmt: skip
_FENCED: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_SQL: Final = re.compile(
    r"\b(?:SELECT\b[^\n]{1,400}?\bFROM|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|(?:CREATE|ALTER|DROP)\s+TABLE)\b[^;]*;?"
)
_TRACE: Final = re.compile(
    r"Traceback \(most recent call last\).*|^\s+at [\w.$]+\(.*|^\s*File \".*", re.DOTALL | re.MULTILINE
)
_QUOTED: Final = re.compile(r"\"[^\"\n]{1,600}\"|(?<![\w'])'[^'\n]{1,200}'(?!\w)")
_ADDRESS: Final = re.compile(
    r"[a-z][a-z0-9+.-]{1,10}://[^\s\"'<>]+|\bwww\.[^\s\"'<>]+|(?<!\S)[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}",
    re.IGNORECASE,
)
_BULLET: Final = re.compile(r"^[ \t]*[-*\u2022][ \t]+", re.MULTILINE)
_WORD: Final = re.compile(r"[a-z]{5,20}\Z")
"""A single word that is as good without its quotes."""
_CHUNK: Final = re.compile(r"\S+")
_CODE: Final = re.compile(
    r"""
      [\\{}\[\]<>=|^~\#*+`_@]            # signs that prose has no use for
    | \w\(                               # a call
    | ^--?[A-Za-z] | ^\$[A-Za-z{] | ^\.[A-Za-z]
    | ^(?:~|\.{1,2})?/\w | /\S*/         # a path
    | [A-Za-z_]\w*\.[A-Za-z]\w*          # a dotted name
    | \w:{1,2}\w
    | \d\.\d+\.\d | ^v\d | ^0x[0-9a-f]
    | [;]\S
    """,
    re.VERBOSE,
)
_CLOCK: Final = re.compile(r"^\d{1,2}:\d{2}(?::\d{2})?(?:am|pm)?$", re.IGNORECASE)
_OPERATOR: Final = re.compile(r"^(?:[\\{}\[\]<>=|^~\#*+%!]+|&&|[-/:]=?|//)$")
_OPERAND: Final = re.compile(r"^(?:[A-Za-z]|\d[\d.,]*|[\ue000-\uf8ff])[;,]?$")
_SPOKEN: Final = frozenset(
    {"e.g", "i.e", "u.s", "u.k", "u.s.a", "a.m", "p.m", "node.js", "react.js", "vue.js", "next.js", "w/o"}
)
_SPACED: Final = re.compile(r"\s*([,\[\](){}=])\s*")
"""Signs beside which a space says nothing, on one line and outside quotes."""
_ENDS: Final = ".,;:?!"
_GAP: Final = 2
"""So many words between two pieces of code on a line are code too."""


class Prose(NamedTuple):
    """The prose of a prompt, a mark in the place of each literal; the literals in order; single words in quotes."""

    text: str
    literals: tuple[str, ...]
    quoted: frozenset[str]

    def literal(self, mark: str) -> str:
        """Return what a mark stands for."""
        return self.literals[ord(mark) - _FIRST_MARK]


def is_mark(token: str) -> bool:
    """Tell whether a token stands for a literal."""
    return "\ue000" <= token[:1] <= "\uf8ff"


def take_out(text: str) -> Prose:
    """Return the prose and the literals of a text of at most a few thousand characters."""
    taken: list[str] = []

    def mark(found: str) -> str:
        whole = _MARK.sub(lambda inner: taken[ord(inner.group()) - _FIRST_MARK], found)
        taken.append(whole if "\n" in found or found != whole else _SPACED.sub(r"\1", found))
        return f" {chr(_FIRST_MARK + len(taken) - 1)} "

    plain = _UNSEEN.sub(" ", text.translate(_STRAIGHT))
    plain = _FENCED.sub(lambda match: mark(match.group().strip("`\n ")), plain)
    plain = _SQL.sub(lambda match: mark(match.group().strip().rstrip(";")), plain)
    plain = _TRACE.sub(lambda match: mark(match.group().strip()), plain)
    plain = _ADDRESS.sub(lambda match: mark(match.group().rstrip(_ENDS + ")")) + _ending(match.group()), plain)
    quoted: set[str] = set()

    def quote(match: re.Match[str]) -> str:
        inner = match.group()[1:-1].strip()
        if not _WORD.match(inner):
            return mark(inner)
        quoted.add(inner)
        return f" {inner} "

    plain = _QUOTED.sub(quote, plain)
    lines = [_without_code(line, mark) for line in _BULLET.sub("", plain).split("\n")]
    return _kept("\n".join(lines), taken, frozenset(quoted))


def _kept(text: str, taken: list[str], quoted: frozenset[str]) -> Prose:
    """Return a prose with only the literals that are marked in it, numbered anew: some are part of others."""
    marks = _MARK.findall(text)
    literals = tuple(taken[ord(mark) - _FIRST_MARK] for mark in marks)
    numbers = iter(range(len(marks)))
    return Prose(_MARK.sub(lambda _: chr(_FIRST_MARK + next(numbers)), text), literals, quoted)


def _ending(found: str) -> str:
    return found[len(found.rstrip(_ENDS + ")")) :]


def _without_code(line: str, mark: Callable[[str], str]) -> str:
    """Return a line with each run of code replaced by a mark."""
    chunks = list(_CHUNK.finditer(line))
    flags = [_is_code(chunk.group()) for chunk in chunks]
    if not any(flags) and not any(_OPERATOR.match(chunk.group()) for chunk in chunks):
        return line
    _spread(flags, [chunk.group() for chunk in chunks])
    made: list[str] = []
    at = start = 0
    while at < len(chunks):
        if not flags[at]:
            at += 1
            continue
        end = at
        while end + 1 < len(chunks) and flags[end + 1]:
            end += 1
        found = line[chunks[at].start() : chunks[end].end()]
        opening = "(" if found.startswith("(") and found.count(")") <= found.count("(") - 1 else ""
        kept = _trimmed(found[len(opening) :])
        made += [line[start : chunks[at].start()], opening, mark(kept), found[len(opening) + len(kept) :]]
        at, start = end + 1, chunks[end].end()
    return "".join([*made, line[start:]])


def _trimmed(found: str) -> str:
    kept = found.rstrip(_ENDS)
    if kept.endswith(")") and "(" not in kept:
        kept = kept[:-1].rstrip(_ENDS)
    return kept or found


def _is_code(chunk: str) -> bool:
    bare = chunk.strip(_ENDS + "()")
    if bare.lower() in _SPOKEN or _CLOCK.match(bare):
        return False
    return bool(_CODE.search(bare)) or bool(_CODE.match(chunk))


def _spread(flags: list[bool], chunks: list[str]) -> None:
    """Let an operator reach for its operands, and runs of code for each other over a short gap."""
    for at, chunk in enumerate(chunks):
        if _OPERATOR.match(chunk) and (chunk not in {"-", "/", ":"} or _between_operands(chunks, at)):
            for near in (at - 1, at, at + 1):
                if 0 <= near < len(chunks):
                    flags[near] = True
    last = None
    for at, flag in enumerate(list(flags)):
        if flag:
            if (
                last is not None
                and 1 < at - last <= _GAP + 1
                and not any(chunks[near][-1] in ".?!" for near in range(last, at))
            ):
                flags[last:at] = [True] * (at - last)
            last = at


def _between_operands(chunks: list[str], at: int) -> bool:
    return 0 < at < len(chunks) - 1 and bool(_OPERAND.match(chunks[at - 1])) and bool(_OPERAND.match(chunks[at + 1]))
