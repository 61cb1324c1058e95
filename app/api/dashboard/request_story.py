"""What became of a request, as a page tells it. Law: pure; it orders and adds up what was told, and knows no more."""

from typing import NamedTuple

from app.pipeline.explained_attempts import ExplainedAttempt
from app.pipeline.explanation import ExplainedRoute, ExplainedTarget, Explanation, Outcome

_WIDTH = 1_000
"""The width of a whole request in its drawing, whose units have no size of their own."""
_LEAST = 4
_LEAST_MS = 0.001
_FROM_CACHE = frozenset({"exact", "semantic", "coalesced"})
_REASONS = {
    "first": "asked first",
    "retry": "asked as a retry",
    "fallback": "asked as a fallback",
    "hedge": "asked as well, because the first was slow",
}
_UNSERVED: dict[Outcome, str] = {
    "answered": "It was answered without a provider.",
    "refused": "It was refused before any provider was asked.",
    "failed": "It failed: none that was asked answered it.",
    "left": "Its client left before it was answered.",
}
_SKIPS = {
    "left_alone": "its provider asked to be left alone for a while",
    "credential_refused": "its provider takes none of its credentials at present",
    "retry_budget_spent": "it may not be asked again so soon: retries are bounded",
}


class Bar(NamedTuple):
    """Where a stretch of time lies in the drawing of a request: its begin and its length."""

    x: int
    width: int


class Story:
    """One request, for its row in the list and for its page."""

    def __init__(self, told: Explanation) -> None:
        self.told = told
        self.routes = [*([] if told.route is None else [told.route]), *told.other_routes]
        self.served = _served(told.attempts) if told.outcome == "answered" else None
        self.input_tokens = sum(each.input_tokens for each in told.attempts)
        self.output_tokens = sum(each.output_tokens for each in told.attempts)
        self._whole_ms = _whole_ms(told)

    @property
    def is_from_cache(self) -> bool:
        """Whether its client was given an answer that was made for another request."""
        cache = self.told.cache
        return self.told.outcome == "answered" and cache is not None and cache.status in _FROM_CACHE

    @property
    def provider(self) -> str | None:
        """Who served it, or was tried last."""
        attempts = self.told.attempts
        last = self.served or (attempts[-1] if attempts else None)
        return None if last is None else last.target.partition("/")[0]

    @property
    def why(self) -> str:
        """Who answered it, or why nobody did, in a sentence."""
        told, served = self.told, self.served
        if self.is_from_cache:
            return "It was answered from the cache: no provider was asked."
        if any(layer.verdict == "replayed" for layer in told.layers):
            return "It was given the answer of the request before it with the same idempotency key."
        if served is not None:
            return f"{served.target} answered: {', '.join(self._grounds(served))}."
        return _UNSERVED[told.outcome]

    def bar(self, at_ms: float, took_ms: float) -> Bar:
        """Return where something lies that began so long after the request; what is short is still to be seen."""
        begin = min(max(0, round(at_ms / self._whole_ms * _WIDTH)), _WIDTH - _LEAST)
        length = max(_LEAST, round(took_ms / self._whole_ms * _WIDTH))
        return Bar(begin, min(length, _WIDTH - begin))

    def reason(self, attempt: ExplainedAttempt) -> str:
        """Say why a call was made."""
        after = f" after {attempt.after}" if attempt.after else ""
        return _REASONS[attempt.reason] + after

    def skip(self, reason: str) -> str:
        """Say why a target was passed over."""
        return _SKIPS.get(reason, reason)

    def is_served_by(self, route: ExplainedRoute, target: ExplainedTarget) -> bool:
        """Whether a candidate is the one that answered."""
        served = self.served
        return served is not None and (served.model, served.target) == (route.name, target.target)

    def _grounds(self, served: ExplainedAttempt) -> list[str]:
        said = [self.reason(served)]
        if self.told.fanout is not None and served.leg is not None:
            said.append(f"and it {'made one answer of all' if served.leg == 'fuser' else 'won'}")
        candidates = (each for route in self.routes if route.name == served.model for each in route.targets)
        place = next((each.reason for each in candidates if each.target == served.target and each.reason), None)
        return said if place is None else [*said, place]


def _served(attempts: list[ExplainedAttempt]) -> ExplainedAttempt | None:
    """Return the call whose answer the client was given; of a fan-out the fuser's, or the leg that won."""
    well = [each for each in attempts if each.outcome == "ok"]
    for leg in ("fuser", "won"):
        for each in well:
            if each.leg == leg:
                return each
    return well[-1] if well else None


def _whole_ms(told: Explanation) -> float:
    """Return how long all of it took; legs that lost may end after the answer."""
    ends = [layer.at_ms + layer.took_ms for layer in told.layers]
    ends += [attempt.at_ms + attempt.took_ms for attempt in told.attempts]
    return max(_LEAST_MS, 0 if told.time is None else told.time.duration_ms, *ends)
