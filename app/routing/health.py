"""How the lanes of all targets have fared in this worker. Law: plain numbers, written at the end of each call.

A lane is a target with one of its provider's credentials: what can be slow, broken, full or locked out by itself.
"""

from collections.abc import Iterator
from typing import NamedTuple

from app.routing.breaker import Breaker
from app.routing.retrying import RetryBudget

_KEPT_SAMPLES = 128
_GRAIN = 0.2
"""How much of a mean a new answer makes up."""
_FORGET_NS = 60 * 1_000_000_000
"""How old the last answer may be for a mean to count."""
_P95 = 0.95
_LANES_MAX = 8_192
_LOCKED_OUT_S = 60
_LONGEST_LOCKED_OUT_S = 3_600
_NS_PER_S = 1_000_000_000


class LaneName(NamedTuple):
    """Which lane: `credential` counts the provider's credentials; `model` is the upstream's name, or `*`."""

    provider: str
    model: str
    credential: int = 0

    def __str__(self) -> str:
        """Return what an operator calls it; a credential is told only where there are several."""
        return f"{self.provider}/{self.model}" + (f"#{self.credential + 1}" if self.credential else "")


class Durations:
    """How long something took of late: a mean that follows, and the 95th percentile. In nanoseconds."""

    __slots__ = ("_at", "_samples", "_sorted", "count", "last_ns", "mean_ns")

    def __init__(self) -> None:
        self._samples: list[int] = []
        self._sorted: list[int] | None = None
        self._at = 0
        self.count = 0
        self.mean_ns = 0.0
        self.last_ns = 0

    def add(self, took_ns: int, now_ns: int) -> None:
        """Take a measurement."""
        if not self.count or now_ns - self.last_ns > _FORGET_NS:
            self.mean_ns = took_ns
        else:
            self.mean_ns += (took_ns - self.mean_ns) * _GRAIN
        self.count += 1
        self.last_ns = now_ns
        self._sorted = None
        if len(self._samples) < _KEPT_SAMPLES:
            self._samples.append(took_ns)
        else:
            self._samples[self._at] = took_ns
            self._at = (self._at + 1) % _KEPT_SAMPLES

    def expected_s(self, now_ns: int) -> float | None:
        """Return the mean in seconds; nothing if nobody has measured for a minute."""
        return self.mean_ns / _NS_PER_S if self.count and now_ns - self.last_ns <= _FORGET_NS else None

    def p95_s(self, *, least: int) -> float | None:
        """Return the 95th percentile in seconds; nothing before so many measurements."""
        if len(self._samples) < least:
            return None
        if self._sorted is None:
            self._sorted = sorted(self._samples)
        return self._sorted[min(int(len(self._sorted) * _P95), len(self._sorted) - 1)] / _NS_PER_S


class Lane:
    """How one lane fares. Times are monotonic nanoseconds.

    `first` is the time to the first content of streams, `whole` that of answers that are not streamed, `per_token` the
    pace after the first. `closed_until_ns` is until when its provider asked to be left alone.
    """

    __slots__ = (
        "breaker",
        "closed_until_ns",
        "first",
        "inflight",
        "locked_out_s",
        "locked_out_until_ns",
        "name",
        "per_token",
        "used",
        "whole",
    )

    def __init__(self, name: LaneName) -> None:
        self.name = name
        self.breaker = Breaker()
        self.inflight = 0
        self.used = 0
        self.first = Durations()
        self.whole = Durations()
        self.per_token = Durations()
        self.closed_until_ns = 0
        self.locked_out_until_ns = 0
        self.locked_out_s = _LOCKED_OUT_S

    def begin(self) -> None:
        """Note that a call begins."""
        self.inflight += 1
        self.used += 1

    def end(self) -> None:
        """Note that a call has ended, however."""
        self.inflight -= 1

    def cool(self, until_ns: int) -> None:
        """Leave it alone until a moment, as its provider asks."""
        self.closed_until_ns = max(self.closed_until_ns, until_ns)

    def lock_out(self, now_ns: int) -> None:
        """Take its credential out: its provider refuses it. It is tried again now and then, ever more rarely.

        That calls which were under way meanwhile are refused as well is the same finding, not another.
        """
        if self.is_locked_out(now_ns):
            return
        self.locked_out_until_ns = now_ns + self.locked_out_s * _NS_PER_S
        self.locked_out_s = min(self.locked_out_s * 2, _LONGEST_LOCKED_OUT_S)

    def told_locked_out(self, until_ns: int) -> None:
        """Take its credential out until a moment, because another worker says so."""
        self.locked_out_until_ns = max(self.locked_out_until_ns, until_ns)

    def let_in(self) -> None:
        """Note that its credential was taken."""
        if self.locked_out_until_ns:
            self.locked_out_until_ns = 0
            self.locked_out_s = _LOCKED_OUT_S

    def is_well(self, now_ns: int) -> bool:
        """Whether nothing speaks against it."""
        return not self.breaker.open_until_ns and not self.left_alone_s(now_ns)

    def is_locked_out(self, now_ns: int) -> bool:
        """Whether its credential is not to be used."""
        return now_ns < self.locked_out_until_ns

    def cooled_s(self, now_ns: int) -> float:
        """Return for how many seconds its provider asked to be left alone still."""
        left_ns = self.closed_until_ns - now_ns
        return left_ns / _NS_PER_S if left_ns > 0 else 0.0

    def left_alone_s(self, now_ns: int) -> float:
        """Return for how many seconds it is not to be used still, for whichever reason but its breaker."""
        left_ns = max(self.closed_until_ns, self.locked_out_until_ns) - now_ns
        return left_ns / _NS_PER_S if left_ns > 0 else 0.0


class Health:
    """All lanes that were ever used. One for each worker."""

    def __init__(self) -> None:
        self._lanes: dict[tuple[str, str, int], Lane] = {}
        self._budgets: dict[str, RetryBudget] = {}

    def lane(self, provider: str, model: str, credential: int = 0) -> Lane:
        """Return a lane; a new one is well."""
        found = self._lanes.get((provider, model, credential))
        if found is None:
            if len(self._lanes) >= _LANES_MAX:
                self._lanes = {each.name: each for each in self._lanes.values() if each.inflight}
            name = LaneName(provider, model, credential)
            found = self._lanes[name] = Lane(name)
        return found

    def budget(self, provider: str) -> RetryBudget:
        """Return how much a provider may be asked again; there are as many as are configured."""
        found = self._budgets.get(provider)
        if found is None:
            found = self._budgets[provider] = RetryBudget()
        return found

    def lock_out(self, lane: Lane, now_ns: int, *, is_everywhere: bool) -> list[Lane]:
        """Take a lane's credential out, for all models if its provider does not know it at all; returns those lanes."""
        provider, _, credential = lane.name
        found = [
            each
            for each in (self._lanes.values() if is_everywhere else (lane,))
            if each.name.provider == provider and each.name.credential == credential
        ]
        for each in found:
            each.lock_out(now_ns)
        return found

    def let_all_in(self) -> None:
        """Let every credential in: they may have been changed."""
        for lane in self._lanes.values():
            lane.let_in()

    def __iter__(self) -> Iterator[Lane]:
        """Iterate over the lanes."""
        return iter(tuple(self._lanes.values()))
