"""In which order targets are tried, and why. Law: pure over a snapshot; chance is given, and nobody is ever left out.

Groups follow each other, whatever the strategy: the one that is tried again because its breaker is half open, for only
a real request finds out; the well; the well of weight 0, which are for when the others fail; the unwell, the soonest
to be free first; the unwell of weight 0. The strategy, or stickiness in its place, orders each group by itself.
"""

from collections.abc import Callable, Sequence
from math import ceil

from app.routing.candidates import Candidate, Ranked
from app.routing.strategies import STRATEGIES, Asked, by_rendezvous

OUTPUT_TOKENS = 200
"""How long an answer is taken to be where nothing is known."""
_SPARE = "weight 0: only when the others fail"
_TRIED = "breaker is half open: tried to see whether it is well"


def rank(
    candidates: Sequence[Candidate],
    *,
    balance: str,
    draw: Callable[[], float],
    output_tokens: int = OUTPUT_TOKENS,
    sticky_key: bytes | None = None,
) -> list[Ranked]:
    """Return a place for every candidate, the first to try first.

    `draw` returns uniform numbers over [0, 1), another at each call. `output_tokens` is how long the answer is likely
    to be. A score is what the strategy compares within a group, `inf` where it knows nothing: the share of calls that
    go to others, a place, calls in flight for each unit of weight, seconds, or nano-USD. Of those whose breaker is half
    open at most one is put first; the caller sees to it that a single request is told so.
    """
    strategy = STRATEGIES[balance] if sticky_key is None else by_rendezvous
    asked = Asked(draw, output_tokens, sticky_key or b"")
    well: list[Candidate] = []
    others: list[Candidate] = []
    for each in candidates:
        (well if each.weight and _is_well(each) else others).append(each)
    if not others:
        return strategy(well, asked) if well else []
    return _in_groups(well, others, order=lambda group: strategy(group, asked) if group else [])


def _is_well(candidate: Candidate) -> bool:
    return not (candidate.is_open or candidate.is_probing or candidate.cooled_s)


def _in_groups(
    well: list[Candidate], others: list[Candidate], *, order: Callable[[list[Candidate]], list[Ranked]]
) -> list[Ranked]:
    """Return the order where not everybody is well and has a weight; `order` is the strategy's."""
    tried = _tried_again(others, is_needed=not well)
    unwell = {each.position: each for each in others if each is not tried and not _is_well(each)}
    left = [*order([e for e in unwell.values() if e.weight]), *order([e for e in unwell.values() if not e.weight])]
    left.sort(key=lambda place: _patience(unwell[place.position]))
    return [
        *([] if tried is None else [Ranked(tried.position, 0.0, _TRIED)]),
        *order(well),
        *(Ranked(place.position, place.score, _SPARE) for place in order([e for e in others if _is_well(e)])),
        *(Ranked(place.position, place.score, _complaint(unwell[place.position])) for place in left),
    ]


def _tried_again(others: list[Candidate], *, is_needed: bool) -> Candidate | None:
    """Return the one candidate that is to find out whether it is well again.

    One of weight 0 would not be the first even if it were well, so it is only where nobody of weight is.
    """
    may = [each for each in others if each.is_probing and not each.cooled_s]
    return next((each for each in may if each.weight), may[0] if may and is_needed else None)


def _patience(candidate: Candidate) -> tuple[bool, float, bool]:
    return candidate.weight == 0, candidate.cooled_s, not candidate.is_probing


def _complaint(candidate: Candidate) -> str:
    """Return what speaks against an unwell candidate."""
    left_alone = f"left alone for {ceil(candidate.cooled_s)} s" if candidate.cooled_s else ""
    breaker = "breaker is half open" if candidate.is_probing else "breaker is open" if candidate.is_open else ""
    return f"{breaker}; {left_alone}" if breaker and left_alone else breaker or left_alone
