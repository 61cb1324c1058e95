"""What all strategies ask of the legs: who has answered, who still may, and what is left at the end. Law: pure."""

from collections.abc import Sequence

from app.fanout.answers import is_empty, is_refusal
from app.fanout.moves import Fail, Give, Move, Wait
from app.fanout.states import LIVE, LegState
from providers.types import Completion


def idle(legs: Sequence[LegState]) -> tuple[int, ...]:
    """Return the legs that nobody has started."""
    return tuple(leg.index for leg in legs if leg.status == "idle")


def live(legs: Sequence[LegState]) -> tuple[int, ...]:
    """Return the legs that have started and not ended."""
    return tuple(leg.index for leg in legs if leg.status in LIVE)


def may_answer(legs: Sequence[LegState]) -> bool:
    """Whether some leg has not ended."""
    return any(leg.status in LIVE or leg.status == "idle" for leg in legs)


def whole(leg: LegState) -> Completion | None:
    """Return the whole answer of a leg if it says anything: an empty one is none."""
    completion = leg.completion if leg.status == "done" else None
    return None if completion is None or is_empty(completion) else completion


def answered(legs: Sequence[LegState]) -> list[LegState]:
    """Return the legs whose whole answer says anything, in their order; refusals too."""
    return [leg for leg in legs if whole(leg) is not None]


def willing(legs: Sequence[LegState]) -> list[LegState]:
    """Return the legs that have answered and not refused to, in their order."""
    return [leg for leg in legs if (completion := whole(leg)) is not None and not is_refusal(completion)]


def by_arrival(leg: LegState) -> tuple[int, int]:
    """Return when a leg's answer began to be there; among equals the order decides."""
    when_ns = leg.first_ns if leg.first_ns is not None else leg.ended_ns
    return (when_ns or 0, leg.index)


def by_end(leg: LegState) -> tuple[int, int]:
    """Return when a leg ended; among equals the order decides."""
    return (leg.ended_ns or 0, leg.index)


def wait_for_all(legs: Sequence[LegState]) -> Wait:
    """Return the wait for every leg, those that nobody has started being started."""
    return Wait(start=idle(legs))


def last_resort(legs: Sequence[LegState]) -> Move:
    """Return what is left when no leg will give an answer that counts: the first refusal, or the reason why not.

    The legs have all ended, or the deadline has come.
    """
    refusals = answered(legs)
    is_late = may_answer(legs)
    if refusals:
        return Give(index=refusals[0].index, reason="deadline" if is_late else "only_refusals")
    if is_late:
        return Fail(code="deadline", message="No model answered before the deadline.")
    return all_failed(legs)


def all_failed(legs: Sequence[LegState]) -> Fail:
    """Return the failure of legs of which none has answered."""
    return Fail(code="all_legs_failed", message=f"None of the {len(legs)} models gave an answer.{_why(legs)}")


def _why(legs: Sequence[LegState]) -> str:
    if all(leg.is_refused_request for leg in legs):
        return " Each of them called the request invalid."
    errors = dict.fromkeys(leg.error for leg in legs if leg.error)
    return f" Their errors: {', '.join(errors)}." if errors else ""
