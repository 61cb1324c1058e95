"""The strategies of balancing, one function each. Law: pure; each orders one group of equals and leaves nobody out.

In a group either everybody has a weight or nobody has; in the latter all count alike.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from math import inf, log
from types import MappingProxyType
from typing import NamedTuple

from app.kernel.money import format_usd
from app.routing.candidates import Candidate, Ranked

_DOUBLES = 4
"""So many calls in flight at a target of mean weight double the time that is expected of it."""
_CLEARLY = 1.5
"""By what factor one expected time must exceed another to be the longer for sure; what is nearer may be chance."""
_OVERLOADED = 1.25
"""By what factor the calls in flight for each unit of weight may exceed the mean before stickiness gives way."""
_HASHES = 1 << 64


class Asked(NamedTuple):
    """What a strategy may use beside the candidates."""

    draw: Callable[[], float]
    output_tokens: int
    sticky_key: bytes = b""


Strategy = Callable[[Sequence[Candidate], Asked], list[Ranked]]


def by_weight(group: Sequence[Candidate], asked: Asked) -> list[Ranked]:
    """Draw the first in proportion to weight; the rest keeps the file's order."""
    total = sum(each.weight for each in group)
    first = _drawn(group, asked.draw) if total else 0
    ranked = [
        Ranked(each.position, 1 - each.weight / total if total else 1.0, "next in the file's order") for each in group
    ]
    chosen = ranked.pop(first)
    reason = f"drawn by weight {group[first].weight} of {total}"
    return [Ranked(chosen.position, chosen.score, reason), *ranked]


def by_priority(group: Sequence[Candidate], _asked: Asked) -> list[Ranked]:
    """Keep the file's order."""
    return [Ranked(each.position, each.position, f"place {each.position + 1} in the file's order") for each in group]


def by_load(group: Sequence[Candidate], asked: Asked) -> list[Ranked]:
    """Put the fewest calls in flight for each unit of weight first; between equals the draw decides, by weight."""
    order = sorted((each.inflight / (each.weight or 1), _turn(each, asked.draw), at) for at, each in enumerate(group))
    ranked, lead = [], "least busy: "
    for load, _, at in order:
        each = group[at]
        ranked.append(Ranked(each.position, load, f"{lead}{each.inflight} in flight for a weight of {each.weight}"))
        lead = ""
    return ranked


def by_cost(group: Sequence[Candidate], asked: Asked) -> list[Ranked]:
    """Put the cheapest first and those without a price last; between equals the draw decides, by weight."""
    order = sorted(
        (each.cost_nusd is None, each.cost_nusd or 0, _turn(each, asked.draw), at) for at, each in enumerate(group)
    )
    ranked = []
    for _, _, _, at in order:
        position, cost_nusd = group[at].position, group[at].cost_nusd
        if cost_nusd is None:
            ranked.append(Ranked(position, inf, "has no price: after those that have one"))
        else:
            ranked.append(Ranked(position, cost_nusd, f"expected to cost {format_usd(cost_nusd)} USD"))
    return ranked


def by_latency(group: Sequence[Candidate], asked: Asked) -> list[Ranked]:
    """Draw two by weight and put the faster first, then the rest by expected time: the power of two choices.

    The time expected of a target is that to its first token plus its pace for as many tokens as this answer is likely
    to have, so that long answers do not make a target look slow; and it is taken times one plus what is in flight
    there, a quarter for each call and the more the less its weight. That is the cost of Finagle's Peak EWMA (and of
    Linkerd's, Tower's and Envoy's): what is in flight tells of a target that has just become slow, or that everybody
    has just moved to, long before an answer does. There one call doubles the cost and four do here, since a vendor's
    model answers many at once: a single call beside others is no queue.

    The mean of a few answers varies by a sixth for no reason. So of two that are within half of each other the slower
    keeps its turn now and then, the more often the nearer they are; equals share by weight exactly, and one that was
    unlucky once is measured again. Source: Mitzenmacher, The Power of Two Choices in Randomized Load Balancing (2001);
    Finagle's documentation of its balancers.

    Of a target that nobody has measured of late one call finds out: it comes first while nothing is in flight there,
    and last while something is.
    """
    measured: list[Candidate] = []
    idle: list[tuple[float, int]] = []
    busy: list[tuple[float, int]] = []
    for each in group:
        if each.ttft_s is not None:
            measured.append(each)
        elif each.inflight:
            busy.append((each.inflight / (each.weight or 1), each.position))
        else:
            idle.append((_turn(each, asked.draw), each.position))
    ranked = [Ranked(position, 0.0, "not measured yet: tried first") for _, position in sorted(idle)]
    if measured:
        mean_weight = sum(each.weight or 1 for each in group) / len(group)
        ranked += _by_expected_time(measured, asked, slowed_by=mean_weight / _DOUBLES)
    ranked += [Ranked(position, inf, "not measured yet: being tried") for _, position in sorted(busy)]
    return ranked


def _by_expected_time(measured: list[Candidate], asked: Asked, *, slowed_by: float) -> list[Ranked]:
    """Return the better of two drawn, then the others, the soonest first.

    `slowed_by` is by what part a call in flight slows a target of weight 1. Where nobody knows a target's pace it is
    taken to have that of the others.
    """
    paces = [each.token_s for each in measured if each.token_s is not None]
    usual_s = sum(paces) / len(paces) if paces else 0.0
    places = [_expected(each, asked.output_tokens, usual_s=usual_s, slowed_by=slowed_by) for each in measured]
    if len(places) > 1:
        first = _better_of_two(measured, places, draw=asked.draw)
        better = places.pop(first)
        places.sort(key=_score)
        places.insert(0, Ranked(better.position, better.score, f"better of two drawn: {better.reason}"))
    return places


def _expected(candidate: Candidate, output_tokens: int, *, usual_s: float, slowed_by: float) -> Ranked:
    first_s = candidate.ttft_s or 0.0
    token_s = usual_s if candidate.token_s is None else candidate.token_s
    whole_s = first_s + output_tokens * token_s
    reason = (
        f"expected {whole_s:.2f} s: {first_s:.2f} s to the first token and "
        f"{token_s * 1_000:.1f} ms for each of {output_tokens}"
    )
    if not candidate.inflight:
        return Ranked(candidate.position, whole_s, reason)
    score = whole_s * (1 + candidate.inflight * slowed_by / (candidate.weight or 1))
    return Ranked(candidate.position, score, f"{reason}; counted as {score:.2f} s with {candidate.inflight} in flight")


def _better_of_two(measured: list[Candidate], places: list[Ranked], *, draw: Callable[[], float]) -> int:
    """Return where the better of two is that are drawn by weight.

    The second takes the turn of the first only if it is faster: for sure if it is so clearly, else with a chance that
    grows with the difference.
    """
    one = _drawn(measured, draw)
    others = measured[:one] + measured[one + 1 :]
    other = _drawn(others, draw)
    other += other >= one
    margin = 1 + (_CLEARLY - 1) * draw()
    return other if places[other].score * margin < places[one].score else one


def by_rendezvous(group: Sequence[Candidate], asked: Asked) -> list[Ranked]:
    """Order by weighted rendezvous hashing of the key and each name; those that are overloaded come after the others.

    Each target draws a number from the key and its own name only, so that a target that comes or goes moves no key
    between two others; the least of `-ln(h) / weight` falls on each in proportion to its weight. A target is overloaded
    while its calls in flight for each unit of weight exceed the mean by a quarter and one; somebody never is. Source:
    Schindelhauer and Schomaker, Weighted Distributed Hash Tables (2005); Mirrokni, Thorup and Zadimoghaddam, Consistent
    Hashing with Bounded Loads (2018).
    """
    most = 1 + _OVERLOADED * sum(each.inflight for each in group) / sum(each.weight or 1 for each in group)
    order = sorted((_hashed(each, asked.sticky_key), at) for at, each in enumerate(group))
    ranked, passed_over = [], []
    for number, (score, at) in enumerate(order, 1):
        each = group[at]
        reason = f"sticky: rank {number} of {len(order)}"
        if each.inflight > most * (each.weight or 1):
            reason += f"; passed over with {each.inflight} in flight for a weight of {each.weight}"
            passed_over.append(Ranked(each.position, score, reason))
        else:
            ranked.append(Ranked(each.position, score, reason))
    return ranked + passed_over


def _hashed(candidate: Candidate, key: bytes) -> float:
    """Return a number that depends on a key and a name only: exponentially distributed, at the rate of the weight."""
    digest = blake2b(key + candidate.name.encode(), digest_size=8).digest()
    return -log((int.from_bytes(digest) + 0.5) / _HASHES) / (candidate.weight or 1)


def _turn(candidate: Candidate, draw: Callable[[], float]) -> float:
    """Draw a number that is the least of several with a chance in proportion to weight."""
    return -log(1 - draw()) / (candidate.weight or 1)


def _drawn(group: Sequence[Candidate], draw: Callable[[], float]) -> int:
    """Return where the candidate is that is drawn by weight; all count alike if nobody has one."""
    total = sum(each.weight for each in group)
    if not total:
        return int(draw() * len(group))
    point = draw() * total
    for at, each in enumerate(group):
        point -= each.weight
        if point < 0:
            return at
    return len(group) - 1  # the sum of the parts was rounded


def _score(place: Ranked) -> float:
    return place.score


STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "weighted": by_weight,
        "priority": by_priority,
        "least_busy": by_load,
        "latency": by_latency,
        "cost": by_cost,
    }
)
