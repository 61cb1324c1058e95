"""`race` and `hedge`: the first leg with content wins. Law: pure; the two differ only in when a leg is started."""

from collections.abc import Sequence
from typing import Final

from app.fanout.legs import by_arrival, idle, last_resort, live, may_answer, wait_for_all, willing
from app.fanout.moves import Move, Stream, Wait
from app.fanout.states import LIVE, LegState
from app.fanout.strategy import Unjudged

UNKNOWN_PATIENCE_NS: Final = 1_000_000_000
"""How long a leg is waited for whose usual time to its first token is not known."""


class Race(Unjudged):
    """All legs start at once."""

    needs_whole = False

    def next(self, legs: Sequence[LegState], *, now_ns: int, is_overdue: bool) -> Move:
        """Return the leg that has content, or wait for one."""
        del now_ns
        first = _first(legs)
        if first is not None:
            return Stream(index=first)
        if is_overdue or not may_answer(legs):
            return last_resort(legs)
        return wait_for_all(legs)


class Hedge(Unjudged):
    """A leg starts when the one before it has failed, or has no content after its patience.

    `patience_ns` has one place for each leg.
    """

    needs_whole = False

    def __init__(self, patience_ns: Sequence[int]) -> None:
        self._patience_ns = tuple(patience_ns)

    def next(self, legs: Sequence[LegState], *, now_ns: int, is_overdue: bool) -> Move:
        """Return the leg that has content, or wait for one and start the next when it is due."""
        first = _first(legs)
        if first is not None:
            return Stream(index=first)
        if is_overdue or not may_answer(legs):
            return last_resort(legs)
        return self._wait(legs, now_ns=now_ns)

    def _wait(self, legs: Sequence[LegState], *, now_ns: int) -> Wait:
        waiting = idle(legs)
        if not waiting:
            return Wait()
        at = waiting[0]
        due_ns = self._due_ns(legs[at - 1], now_ns=now_ns) if at else now_ns
        if live(legs) and due_ns > now_ns:
            return Wait(until_ns=due_ns)
        until_ns = now_ns + self._patience_ns[at] if len(waiting) > 1 else None
        return Wait(start=(at,), until_ns=until_ns)

    def _due_ns(self, leg: LegState, *, now_ns: int) -> int:
        """Return when the leg after this one is due."""
        if leg.status not in LIVE:
            return now_ns
        started_ns = now_ns if leg.started_ns is None else leg.started_ns
        return started_ns + self._patience_ns[leg.index]


def _first(legs: Sequence[LegState]) -> int | None:
    """Return the leg whose answer was there first: a live one with content, or a whole one that is no refusal."""
    here = [*(leg for leg in legs if leg.status == "begun"), *willing(legs)]
    return min(here, key=by_arrival).index if here else None
