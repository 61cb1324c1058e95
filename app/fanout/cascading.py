"""`cascade`: legs are asked one after the other, until an answer is good enough. Law: pure; a leg is looked at once."""

from collections.abc import Sequence

from app.fanout.answers import is_refusal
from app.fanout.checks import Check
from app.fanout.confidence import mean_logprob
from app.fanout.legs import last_resort, whole, willing
from app.fanout.moves import Give, Move, Stream, Wait
from app.fanout.states import LIVE, LegState
from app.fanout.strategy import Unjudged
from providers.types import Completion


class Cascade(Unjudged):
    """The first answer, in order, that passes the check and is sure enough; the last leg's is taken as it is.

    If the last leg fails or refuses, the answer before it is better than none. An answer without log-probabilities is
    sure. With neither check nor threshold only failures and refusals escalate, and every leg may stream; else the last
    one may.
    """

    def __init__(self, *, legs: int, check: Check | None = None, min_logprob: float | None = None) -> None:
        self._check = check
        self._min_logprob = min_logprob
        self._good: dict[int, bool] = {}
        self.needs_whole = check is not None or min_logprob is not None
        self.live_legs = frozenset({legs - 1} if self.needs_whole else range(legs))

    def next(self, legs: Sequence[LegState], *, now_ns: int, is_overdue: bool) -> Move:
        """Return the first answer that is good enough, or ask the next leg."""
        del now_ns
        for leg in legs:
            move = self._of(leg, is_last=leg.index == len(legs) - 1, is_overdue=is_overdue)
            if move is not None:
                return move
        return _best_so_far(legs, is_overdue=is_overdue)

    def _of(self, leg: LegState, *, is_last: bool, is_overdue: bool) -> Move | None:
        """Return what one leg leads to; `None` where the next is to be asked."""
        if leg.status == "begun" and leg.index in self.live_legs:
            return Stream(index=leg.index)
        if leg.status in LIVE:
            return None if is_overdue else Wait()
        if leg.status == "idle":
            return None if is_overdue else Wait(start=(leg.index,))
        completion = whole(leg)
        if completion is None or is_refusal(completion):
            return None
        return Give(index=leg.index) if is_last or self._is_good(leg.index, completion) else None

    def _is_good(self, index: int, completion: Completion) -> bool:
        if index not in self._good:
            self._good[index] = self._passes(completion)
        return self._good[index]

    def _passes(self, completion: Completion) -> bool:
        if self._check is not None and not self._check.passes(completion):
            return False
        if self._min_logprob is None:
            return True
        mean = mean_logprob(completion)
        return mean is None or mean >= self._min_logprob


def _best_so_far(legs: Sequence[LegState], *, is_overdue: bool) -> Move:
    """Return the answer that got furthest, with the reason why no other is there."""
    have = willing(legs)
    if have:
        return Give(index=have[-1].index, reason="deadline" if is_overdue else "escalation_failed")
    return last_resort(legs)
