"""What a strategy may want done next. Law: values only; the runner acts on them.

`Wait` is followed by another look at the legs, `Judge` and `Fuse` by a verdict where they do not make the answer;
every other move is the last.
"""

from typing import Literal

import msgspec

FailCode = Literal[
    "all_legs_failed", "too_few_answers", "no_valid_answer", "quorum_not_reached", "deadline", "strategy_failed"
]


class _Move(msgspec.Struct, frozen=True, kw_only=True, tag_field="move", tag=str.lower):
    """What is to be done next. Every index is that of a leg."""


class Wait(_Move, frozen=True, kw_only=True):
    """Start the idle legs `start`, and look again at any change, at `until_ns` and at the deadline.

    `until_ns` is on the monotonic clock of the legs' times.
    """

    start: tuple[int, ...] = ()
    until_ns: int | None = None


class Stream(_Move, frozen=True, kw_only=True):
    """Give the client this leg's live answer, or its whole one if it came whole; cut the others."""

    index: int


class Give(_Move, frozen=True, kw_only=True):
    """Give the client this leg's whole answer; cut the others.

    `reason` is there when the answer is a fallback, and says why: `judge_failed`, `scorer_failed`, `fuser_failed`,
    `strategy_failed`, `deadline`, `only_refusals`, `escalation_failed`. `scores` has one place for every leg, `None`
    for a leg without a score, or is empty. `ranking` holds the legs that were compared, the best first.
    """

    index: int
    reason: str | None = None
    scores: tuple[float | None, ...] = ()
    ranking: tuple[int, ...] = ()


class Judge(_Move, frozen=True, kw_only=True):
    """Ask the judge which of these whole answers is best, then ask the strategy for its verdict; cut the others."""

    indexes: tuple[int, ...]


class Fuse(_Move, frozen=True, kw_only=True):
    """Let the fuser write one answer from these whole ones; if it fails, ask for the verdict. Cut the others."""

    indexes: tuple[int, ...]


class Join(_Move, frozen=True, kw_only=True):
    """All of these whole answers are the answer; cut the others."""

    indexes: tuple[int, ...]


class Fail(_Move, frozen=True, kw_only=True):
    """Nobody has an answer; cut whoever still runs."""

    code: FailCode
    message: str


Move = Wait | Stream | Give | Judge | Fuse | Join | Fail
