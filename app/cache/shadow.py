"""How often a semantic hit would have been wrong: would-be hits compared with the answer that was really given.

Law: pure. A comparison is evidence, not truth: two good answers may differ in their words, so that they agree when they
mean about the same and hold the same numbers; whatever is doubtful counts as wrong.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from app.cache.embedding.vector import Vector, cosine
from providers.types import Completion, TextPart

AGREES = 0.8
"""From this cosine on two answers are taken to say the same, if their numbers are the same too."""
LONGEST_CHARACTERS = 4_000
"""What is compared of an answer."""
STEPS = 100
"""Similarities are counted in steps of a hundredth."""
LEAST = 20
"""With fewer comparisons than this nothing is concluded."""
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_YES_NO = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)
_AGREE, _DIFFER = "agree", "differ"


class Step(NamedTuple):
    """The comparisons at one similarity: `agreed` of `compared`."""

    similarity: float
    compared: int
    agreed: int


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What the comparisons of would-be hits amount to, the lowest similarity first."""

    steps: tuple[Step, ...]

    @property
    def compared(self) -> int:
        """How many there were."""
        return sum(step.compared for step in self.steps)

    @property
    def false(self) -> int:
        """How many of them would have been wrong."""
        return self.compared - sum(step.agreed for step in self.steps)

    def above(self, threshold: float) -> "Report":
        """Return what is left with a threshold."""
        lowest = step_of(threshold)
        return Report(steps=tuple(step for step in self.steps if step_of(step.similarity) >= lowest))


def text_of(completion: Completion) -> str:
    """Return what is compared of an answer."""
    parts = (part.text for part in completion.choices[0].content if isinstance(part, TextPart))
    return "\n".join(parts)[:LONGEST_CHARACTERS]


def agree(one: str, other: str, *, vectors: tuple[Vector, Vector]) -> bool:
    """Whether two answers say the same, as far as can be told."""
    if one.strip() == other.strip():
        return True
    if _verdict(one) != _verdict(other) or sorted(set(_NUMBER.findall(one))) != sorted(set(_NUMBER.findall(other))):
        return False
    return cosine(*vectors) >= AGREES


def _verdict(text: str) -> str | None:
    found = _YES_NO.match(text)
    return None if found is None else found.group(1).lower()


def step_of(similarity: float) -> int:
    """Return the step of a similarity, in hundredths."""
    return min(STEPS, int(similarity * STEPS + 1e-9))


def count_of(similarity: float, *, agrees: bool) -> str:
    """Return what a comparison is counted as."""
    return f"shadow:{step_of(similarity)}:{_AGREE if agrees else _DIFFER}"


def report_of(counts: Mapping[str, int]) -> Report:
    """Return what the counts amount to; others than of comparisons are passed over."""
    found: dict[int, list[int]] = {}
    for name, number in counts.items():
        kind, _, rest = name.partition(":")
        step, _, verdict = rest.partition(":")
        if kind == "shadow" and step.isdigit() and verdict in {_AGREE, _DIFFER}:
            sums = found.setdefault(int(step), [0, 0])
            sums[0] += number
            sums[1] += number if verdict == _AGREE else 0
    return Report(steps=tuple(Step(step / STEPS, *sums) for step, sums in sorted(found.items())))


def threshold_for(report: Report, *, least: float, target: float) -> float:
    """Return the lowest threshold, `least` or more, above which no more than `target` of the hits would be wrong.

    Where too little is known, it is not raised further.
    """
    threshold = least
    for step in [least, *(s.similarity + 1 / STEPS for s in report.steps if s.similarity >= least - 1 / STEPS)]:
        left = report.above(step)
        threshold = step
        if left.compared < LEAST or left.false <= target * left.compared:
            break
    return min(threshold, 1.0)
