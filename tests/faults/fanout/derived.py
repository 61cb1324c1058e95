"""Every strategy over everything that its first model may do, in both forms, with what the rules make of it.

Law: what is expected follows from what is said of the strategies, not from what they are seen to do. The other models
are good: the second answers soon, the third is what makes the case tell most (`_Play.third`).
"""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from faults.fanout.cases import BREAKS, CHECK, CUT, ERROR, FAILED, HANG, LOST, OK, OVERDUE, Case
from faults.fanout.panel import LAST, VERDICT

from providers.testing import Script

GOOD = "good answer"
DEADLINE = {"deadline_s": 2.5}
Row = tuple[Any, Any]
Outcome = tuple[str, tuple[Row | None, ...]]


class Does(NamedTuple):
    """What a model does. `row` is its event if it is not cut off, `None` if it never ends.

    `is_soon` is whether it ends long before the second model does, `is_answer` whether there is then a whole answer
    that is no refusal, `is_good` whether that passes the check and agrees with the others.
    """

    name: str
    script: Script
    row: Row | None = OK
    is_soon: bool = True
    is_answer: bool = False
    is_good: bool = False


FAST = Does("fast", Script(text=GOOD), is_answer=True, is_good=True)
SLOW = Does("slow", Script(text=GOOD, head_delay_ms=2_500), is_soon=False, is_answer=True, is_good=True)
BEFORE = Does("an error before its first token", ERROR, row=FAILED)
AFTER = Does("an error after it", Script(output_tokens=200, fault="reset", fault_after_bytes=900), row=CUT)
INVALID = Does("invalid", Script(text="bad answer"), is_answer=True)
REFUSAL = Does("refusal", Script(refusal="good grief, no"))
HANGS = Does("hang", HANG, row=None, is_soon=False)
ALL = (FAST, SLOW, BEFORE, AFTER, INVALID, REFUSAL, HANGS)

SECOND = Script(text=GOOD, head_delay_ms=700)
THIRD = Script(text=GOOD, head_delay_ms=1_400)
AT_ONCE = Script(text=GOOD)


def _raced(does: Does, is_live: bool) -> Outcome:
    """Whoever has content first; what breaks then has won already."""
    if is_live and does is AFTER:
        return BREAKS, (CUT, LOST, LOST)
    return _first(does, is_wanted=does.is_answer)


def _valid(does: Does, is_live: bool) -> Outcome:
    del is_live
    return _first(does, is_wanted=does.is_good)


def _first(does: Does, *, is_wanted: bool) -> Outcome:
    """All at once: the first that is wanted wins, and the others are cut off."""
    if does.is_soon and is_wanted:
        return "a", (OK, LOST, LOST)
    return "b", (does.row if does.is_soon else LOST, OK, LOST)


def _hedged(does: Does, is_live: bool) -> Outcome:
    """One after the other, or side by side where one is slow; nobody is asked behind one that answers soon."""
    if not does.is_soon:
        return "b", (LOST, OK, LOST)
    return _escalated(does, is_live, is_wanted=does.is_answer)


def _cascaded(does: Does, is_live: bool) -> Outcome:
    """One after the other, however long each takes; whoever takes all the time leaves nobody any."""
    if does.row is None:
        return "deadline", (OVERDUE, None, None)
    return _escalated(does, is_live, is_wanted=does.is_answer)


def _checked(does: Does, is_live: bool) -> Outcome:
    """The same, over whole answers."""
    del is_live
    if does.row is None:
        return "deadline", (OVERDUE, None, None)
    return _escalated(does, False, is_wanted=does.is_good)


def _escalated(does: Does, is_live: bool, *, is_wanted: bool) -> Outcome:
    if is_live and does is AFTER:
        return BREAKS, (CUT, None, None)
    return ("a", (OK, None, None)) if is_wanted else ("b", (does.row, OK, None))


def _voted(does: Does, is_live: bool) -> Outcome:
    """Two that agree: the first of them in order is given, as soon as there are two."""
    del is_live
    if does.is_soon and does.is_good:
        return "a", (OK, OK, LOST)
    return "b", (does.row if does.is_soon else LOST, OK, OK)


def _judged(does: Does, is_live: bool) -> Outcome:
    """All that come in time and do not refuse; which of them is chance here, for the judge sees them shuffled."""
    del is_live
    return "a or b or c" if does.is_answer else "b or c", (does.row or OVERDUE, OK, OK, OK)


def _fused(does: Does, is_live: bool) -> Outcome:
    del is_live
    return LAST, (does.row or OVERDUE, OK, OK, OK)


def _compared(does: Does, is_live: bool) -> Outcome:
    """All that come in time, refusals too."""
    del is_live
    return "a" if does.row == OK else "b", (does.row or OVERDUE, OK, OK)


def _in_time(does: Does) -> dict[str, Any]:
    return {} if does.row else DEADLINE


def _patience(does: Does) -> dict[str, Any]:
    """Return how long each is waited for: for whom it is to be seen that nobody else is asked, long."""
    return {"after_s": 3 if does.is_soon else 0.1}


class _Play(NamedTuple):
    """A strategy, what it makes of the first model, and what the others do."""

    strategy: str
    expected: Callable[[Does, bool], Outcome]
    fields: Mapping[str, Any] = MappingProxyType({})
    more: Callable[[Does], dict[str, Any]] = lambda _: {}
    third: Script = HANG
    last: Script | None = None


PLAYS = (
    _Play("race", _raced),
    _Play("hedge", _hedged, more=_patience),
    _Play("first_valid", _valid, CHECK),
    _Play("quorum", _voted, {"quorum": 2}, third=THIRD),
    _Play("best_of", _judged, {"judge": LAST}, _in_time, AT_ONCE, Script(text=VERDICT % "A")),
    _Play("mixture", _fused, {"fuser": LAST}, _in_time, AT_ONCE, Script(text="both fused")),
    _Play("cascade", _cascaded, more=_in_time),
    _Play("cascade", _checked, CHECK, _in_time),
    _Play("compare", _compared, more=_in_time, third=AT_ONCE),
)


def derived_cases() -> Iterator[Case]:
    """Return a case for every strategy, behaviour and form."""
    for play in PLAYS:
        for does in ALL:
            for is_live in (False, True):
                won, rows = play.expected(does, is_live)
                yield Case(
                    f"{does.name}{', checked' if play.fields else ''}",
                    play.strategy,
                    {**play.fields, **play.more(does)},
                    (does.script, SECOND, play.third),
                    won,
                    rows,
                    last=play.last,
                    streams=(is_live,),
                )
