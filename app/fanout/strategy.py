"""The seam of fan-out: what a strategy is. Law: a strategy decides and does nothing.

One strategy object serves one request. It may remember what it has seen of that request, and nothing else.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from app.fanout.judgement import Judgement
from app.fanout.legs import last_resort
from app.fanout.moves import Move
from app.fanout.states import LegState


class Strategy(Protocol):
    """Decides over the states of legs.

    `needs_whole` says that legs must be asked for whole answers, even if the client streams; those in `live_legs` may
    be asked for live ones all the same. A published strategy may leave `live_legs` out.
    """

    @property
    def needs_whole(self) -> bool:
        """Whether legs must be asked for whole answers."""

    @property
    def live_legs(self) -> Collection[int]:
        """The legs that may stream even so."""

    def next(self, legs: Sequence[LegState], *, now_ns: int, is_overdue: bool) -> Move:
        """Return what is to be done: at the start, after every change, at `until_ns` and at the deadline.

        A `Wait` leaves something that can end it: a leg that is live or started by it, or a time; there is none after
        the deadline.
        """

    def verdict(self, legs: Sequence[LegState], ranking: Judgement | None) -> Move:
        """Return the last move after `Judge`, or after a `Fuse` that failed; `None`: the judge or the fuser failed."""


def asks_whole(strategy: Strategy, leg: int) -> bool:
    """Whether a strategy wants a whole answer of a leg, even if the client streams."""
    return strategy.needs_whole and leg not in getattr(strategy, "live_legs", ())


class Unjudged:
    """What strategies have in common that ask neither a judge nor a fuser, and decide over whole answers."""

    needs_whole: bool = True
    live_legs: Collection[int] = frozenset()

    def verdict(self, legs: Sequence[LegState], ranking: Judgement | None) -> Move:
        """Return what is left: nobody was asked."""
        del ranking
        return last_resort(legs)
