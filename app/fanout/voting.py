"""`first_valid` and `quorum`: whole answers are looked at as they come. Law: pure; an answer is looked at once.

The looks are remembered, since checking may cost some milliseconds and each change asks again.
"""

from collections import Counter
from collections.abc import Hashable, Sequence

from app.fanout.checks import Check
from app.fanout.legs import all_failed, answered, by_end, may_answer, wait_for_all, willing
from app.fanout.moves import Fail, FailCode, Give, Move
from app.fanout.normalizers import key_of
from app.fanout.states import LegState
from app.fanout.strategy import Unjudged
from app.settings.policy import Normalize


class FirstValid(Unjudged):
    """The first whole answer that passes the check."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self._passes: dict[int, bool] = {}

    def next(self, legs: Sequence[LegState], *, now_ns: int, is_overdue: bool) -> Move:
        """Return the first valid answer, or wait for one."""
        del now_ns
        for leg in sorted(willing(legs), key=by_end):
            if self._is_valid(leg):
                return Give(index=leg.index)
        if not is_overdue and may_answer(legs):
            return wait_for_all(legs)
        return _none_counts(legs, code="no_valid_answer", message="No answer passes the check.", is_overdue=is_overdue)

    def _is_valid(self, leg: LegState) -> bool:
        if leg.index not in self._passes:
            self._passes[leg.index] = leg.completion is not None and self._check.passes(leg.completion)
        return self._passes[leg.index]


class Quorum(Unjudged):
    """The answer that enough legs give alike. Answers that have no normal form are never alike."""

    def __init__(self, enough: int, *, normalize: Normalize) -> None:
        self._enough = enough
        self._normalize = normalize
        self._keys: dict[int, Hashable | None] = {}

    def next(self, legs: Sequence[LegState], *, now_ns: int, is_overdue: bool) -> Move:
        """Return the answer that has enough votes; fail as soon as none can get them any more."""
        del now_ns
        votes = {leg.index: key for leg in willing(legs) if (key := self._key(leg)) is not None}
        counts = Counter(votes.values())
        most = max(counts.values(), default=0)
        if most >= self._enough:
            won = next(key for key in votes.values() if counts[key] >= self._enough)
            return Give(index=next(index for index, key in votes.items() if key == won))
        undecided = sum(may_answer([leg]) for leg in legs)
        if not is_overdue and most + undecided >= self._enough:
            return wait_for_all(legs)
        message = f"No {self._enough} answers agree; at most {most} do."
        return _none_counts(legs, code="quorum_not_reached", message=message, is_overdue=is_overdue)

    def _key(self, leg: LegState) -> Hashable | None:
        if leg.index not in self._keys:
            completion = leg.completion
            self._keys[leg.index] = None if completion is None else key_of(completion, kind=self._normalize)
        return self._keys[leg.index]


def _none_counts(legs: Sequence[LegState], *, code: FailCode, message: str, is_overdue: bool) -> Fail:
    """Return why no answer counts: `code` if there are answers, else what became of the legs."""
    if is_overdue and may_answer(legs):
        return Fail(code="deadline", message=f"The deadline came first. {message}")
    if answered(legs) or may_answer(legs):
        return Fail(code=code, message=message)
    return all_failed(legs)
