"""What somebody probably meant. Law: nothing that looks like a credential is repeated."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

_LEAST_LIKENESS = 0.6
_SHOWN_CHARACTERS = 40
_LOOKS_SECRET = re.compile(r"(?i)(sk|pk|gsk|hf|key|token|xai|pplx)[-_]\w|^[\w+/=.\-]{32,}$")


def closest(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that is most like `name`, if any is like it; the first of equals."""
    wanted = name.lower()
    best, best_ratio = None, _LEAST_LIKENESS
    matcher = SequenceMatcher(None, b=wanted, autojunk=False)
    for candidate in candidates:
        matcher.set_seq1(candidate.lower())
        may_be_better = matcher.real_quick_ratio() > best_ratio and matcher.quick_ratio() > best_ratio
        if may_be_better and (ratio := matcher.ratio()) > best_ratio:
            best, best_ratio = candidate, ratio
    return best


def did_you_mean(name: str, candidates: Iterable[str], *, otherwise: str | None = None) -> str | None:
    """Return the suggestion of the closest candidate, else `otherwise`."""
    match = closest(name, candidates)
    return otherwise if match is None else f"did you mean `{match}`?"


def shown(text: str) -> str:
    """Return `text` in quotes for a message: short, on one line, and hidden if it may be a credential."""
    if _LOOKS_SECRET.search(text):
        return "(a value not shown)"
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "…")


def one_of(names: Iterable[str]) -> str:
    """Return the names as a list in words, each in backquotes."""
    quoted = [f"`{name}`" for name in names]
    if len(quoted) < 2:  # noqa: PLR2004 - a list in words needs two
        return "".join(quoted)
    return f"{', '.join(quoted[:-1])} or {quoted[-1]}"
