"""A third party's strategy, kept from doing harm. Law: whatever it raises or returns, the fan-out ends.

Its first defect is logged and ends its say: the first whole answer in order is given, with the reason, or it is waited
for no longer.
"""

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from app.fanout.judgement import Judgement
from app.fanout.legs import answered, live, whole, willing
from app.fanout.moves import Fail, Fuse, Give, Join, Judge, Move, Stream, Wait
from app.fanout.spec import FanoutSpec
from app.fanout.states import LegState

_LOG: Final = logging.getLogger("gateway.fanout")


class Defect(RuntimeError):
    """The strategy returned what is no move that can be made now."""


class Published:
    """A strategy that another package publishes."""

    def __init__(self, inner: Any, *, spec: FanoutSpec) -> None:
        self._inner = inner
        self._spec = spec
        self.needs_whole = bool(getattr(inner, "needs_whole", True))
        self.live_legs: Collection[int] = frozenset(getattr(inner, "live_legs", ()))

    def next(self, legs: Sequence[LegState], *, now_ns: int, is_overdue: bool) -> Move:
        """Return the strategy's move if it can be made; else what is left to give."""

        def ask() -> Move:
            move: Move = self._inner.next(legs, now_ns=now_ns, is_overdue=is_overdue)
            if isinstance(move, Wait):
                _check_wait(move, legs, now_ns=now_ns, is_overdue=is_overdue)
            else:
                self._check(move, legs)
            return move

        return self._guarded(ask, legs)

    def verdict(self, legs: Sequence[LegState], ranking: Judgement | None) -> Move:
        """Return the strategy's last move; else what is left to give."""

        def ask() -> Move:
            move: Move = self._inner.verdict(legs, ranking)
            if not isinstance(move, Give | Join | Fail):
                raise Defect(f"{type(move).__name__} is no verdict")
            self._check(move, legs)
            return move

        return self._guarded(ask, legs)

    def _guarded(self, ask: Callable[[], Move], legs: Sequence[LegState]) -> Move:
        try:
            return ask()
        except Exception:  # noqa: BLE001 - it is somebody else's code
            _LOG.exception("the strategy %s failed", self._spec.strategy)
        have = willing(legs) or answered(legs)
        if have:
            return Give(index=have[0].index, reason="strategy_failed")
        return Fail(code="strategy_failed", message=f"The strategy {self._spec.strategy} failed.")

    def _check(self, move: Move, legs: Sequence[LegState]) -> None:
        """Raise for a move that cannot be made."""
        match move:
            case Stream():
                is_possible = _at(legs, move.index).status == "begun" or whole(_at(legs, move.index)) is not None
            case Give():
                is_possible = whole(_at(legs, move.index)) is not None
            case Judge():
                is_possible = self._spec.judge is not None and _are_whole(legs, move.indexes)
            case Fuse():
                is_possible = self._spec.fuser is not None and _are_whole(legs, move.indexes)
            case Join():
                is_possible = _are_whole(legs, move.indexes)
            case _:
                is_possible = isinstance(move, Fail)
        if not is_possible:
            raise Defect(f"{move!r} cannot be done now")


def _check_wait(move: Wait, legs: Sequence[LegState], *, now_ns: int, is_overdue: bool) -> None:
    """Raise for a wait that nothing ends."""
    if any(_at(legs, index).status != "idle" for index in move.start):
        raise Defect("a leg is started twice")
    is_timed = move.until_ns is not None and move.until_ns > now_ns
    if is_overdue or not (move.start or live(legs) or is_timed):
        raise Defect("nothing ends this wait")


def _are_whole(legs: Sequence[LegState], indexes: Sequence[int]) -> bool:
    return bool(indexes) and len(set(indexes)) == len(indexes) and all(whole(_at(legs, at)) for at in indexes)


def _at(legs: Sequence[LegState], index: int) -> LegState:
    if not 0 <= index < len(legs):
        raise Defect(f"there is no leg {index}")
    return legs[index]
