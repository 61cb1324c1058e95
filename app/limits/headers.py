"""What clients are told of their limits, in OpenAI's words: for requests and for tokens, the tightest of all scopes."""

from collections.abc import Sequence
from typing import NamedTuple

from app.limits.policy import Rule
from app.stores.accounts import SLOTS, WindowUse

Headers = tuple[tuple[bytes, bytes], ...]

_NAMES = {"requests": b"requests", "tokens": b"tokens"}
_MS_PER_S, _S_PER_MINUTE, _S_PER_HOUR = 1_000, 60, 3_600


class _Ready(NamedTuple):
    """A rule's headers as far as they are always the same; `reset` is absent where it depends on what is used."""

    position: int
    rule: Rule
    limit: tuple[bytes, bytes]
    remaining: bytes
    reset_name: bytes
    reset: tuple[bytes, bytes] | None


class HeaderPlan:
    """The headers `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` of a list of rules."""

    __slots__ = ("_groups",)

    def __init__(self, rules: Sequence[Rule]) -> None:
        groups: dict[str, list[_Ready]] = {dimension: [] for dimension in _NAMES}
        for position, rule in enumerate(rules):
            if rule.dimension in groups:
                groups[rule.dimension].append(_ready(position, rule))
        self._groups = [group for group in groups.values() if group]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is ever told."""
        return not self._groups

    def headers(self, used: Sequence[int]) -> Headers:
        """Return the headers for what is used of each rule; none if that is not known."""
        if not used:
            return ()
        headers: list[tuple[bytes, bytes]] = []
        for group in self._groups:
            tightest, left = group[0], group[0].rule.limit - used[group[0].position]
            for ready in group[1:]:
                other = ready.rule.limit - used[ready.position]
                if other < left:
                    tightest, left = ready, other
            taken = used[tightest.position]
            headers += (
                tightest.limit,
                (tightest.remaining, b"%d" % max(0, left)),
                tightest.reset if tightest.reset is not None and taken else _reset(tightest, taken),
            )
        return tuple(headers)

    def seen(self, uses: Sequence[WindowUse]) -> Headers:
        """Return the headers of windows that were only looked at."""
        headers: list[tuple[bytes, bytes]] = []
        for group in self._groups:
            tightest = min(group, key=lambda ready: ready.rule.limit - uses[ready.position].used)
            use = uses[tightest.position]
            headers += (
                tightest.limit,
                (tightest.remaining, b"%d" % max(0, tightest.rule.limit - use.used)),
                (tightest.reset_name, duration(use.reset_ms).encode()),
            )
        return tuple(headers)


def _ready(position: int, rule: Rule) -> _Ready:
    name = _NAMES[rule.dimension]
    reset_name = b"x-ratelimit-reset-" + name
    # A window that something was just taken of is empty when that has left it, whatever else is in it.
    reset = duration(rule.window_ms + rule.window_ms // SLOTS).encode()
    return _Ready(
        position,
        rule,
        (b"x-ratelimit-limit-" + name, b"%d" % rule.limit),
        b"x-ratelimit-remaining-" + name,
        reset_name,
        (reset_name, reset) if rule.algorithm == "sliding_window" else None,
    )


def _reset(ready: _Ready, used: int) -> tuple[bytes, bytes]:
    """Return when a bucket is full again, or a window that nothing was taken of."""
    return ready.reset_name, duration(-(-used * ready.rule.window_ms // ready.rule.limit)).encode()


def duration(milliseconds: int) -> str:
    """Return a time span as OpenAI writes it: `12ms`, `6s`, `1m30.5s`, `2h0m0s`."""
    if milliseconds < _MS_PER_S:
        return f"{milliseconds}ms"
    whole, rest = divmod(milliseconds, _MS_PER_S)
    hours, minutes, seconds = whole // _S_PER_HOUR, whole // _S_PER_MINUTE % _S_PER_MINUTE, whole % _S_PER_MINUTE
    part = f"{seconds}.{rest:03d}".rstrip("0") if rest else str(seconds)
    if hours:
        return f"{hours}h{minutes}m{part}s"
    return f"{minutes}m{part}s" if minutes else f"{part}s"
