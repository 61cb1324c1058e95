"""What clients are told of their limits, in OpenAI's words: for requests and for tokens, the tightest of all scopes."""

from collections.abc import Sequence
from typing import NamedTuple

from app.limits.policy import Rule
from app.stores.accounts import SLOTS

_NAMES = {"requests": b"requests", "tokens": b"tokens"}
_MS_PER_S, _S_PER_MINUTE, _S_PER_HOUR = 1_000, 60, 3_600


class LimitUse(NamedTuple):
    """A rule and how much of it is used, this request included."""

    rule: Rule
    used: int

    @property
    def remaining(self) -> int:
        """What is left."""
        return max(0, self.rule.limit - self.used)


def limit_headers(uses: Sequence[LimitUse]) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; none for what is not limited."""
    headers: list[tuple[bytes, bytes]] = []
    for dimension, name in _NAMES.items():
        tightest: LimitUse | None = None
        for use in uses:
            if use.rule.dimension == dimension and (tightest is None or use.remaining < tightest.remaining):
                tightest = use
        if tightest is not None:
            headers += (
                (b"x-ratelimit-limit-" + name, b"%d" % tightest.rule.limit),
                (b"x-ratelimit-remaining-" + name, b"%d" % tightest.remaining),
                (b"x-ratelimit-reset-" + name, duration(_reset_ms(tightest)).encode()),
            )
    return tuple(headers)


def _reset_ms(use: LimitUse) -> int:
    """Return in how many milliseconds all of it is free again, if nothing more is asked for."""
    rule = use.rule
    if not use.used:
        return 0
    if rule.algorithm == "token_bucket":
        return -(-use.used * rule.window_ms // rule.limit)
    return rule.window_ms + rule.window_ms // SLOTS


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
