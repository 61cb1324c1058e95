"""How much may be tried again, and how soon. Law: pure; random numbers and times are given.

Moving to another provider is free. Asking the same one again adds to the load of one that may be failing under it, so
that this is bounded: by a tenth of the calls to it, or ten within ten seconds where there are few.
"""

from app.routing.rolling import Rolling

FLOOR = 10
ONE_IN = 10
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
_SPREAD = 0.1
_WINDOW_S = 10


class RetryBudget:
    """What one provider may be asked again. One for each provider in each worker."""

    __slots__ = ("_calls", "_retries")

    def __init__(self) -> None:
        self._calls = Rolling(_WINDOW_S)
        # Counted to the second, the last ten of them are a little less than ten seconds.
        self._retries = Rolling(_WINDOW_S + 1)

    def called(self, now_ns: int) -> None:
        """Note a call that is the first of its request to the provider."""
        self._calls.add(now_ns)

    def may_retry(self, now_ns: int) -> bool:
        """Whether the provider may be asked again now."""
        return self._retries.total(now_ns) < max(FLOOR, self._calls.total(now_ns) // ONE_IN)

    def retried(self, now_ns: int) -> None:
        """Note that it was."""
        self._retries.add(now_ns)


def pause_s(extra: int, *, draw: float, asked_s: float | None) -> float:
    """Return how long to wait before the same provider is asked again for the `extra`th time, counted from 0.

    It grows from 50 ms to two seconds, each time somewhere between half and all of that; `asked_s` is what the provider
    asked for, kept to and a little more, so that not everybody comes back at once. `draw` is uniform over [0, 1).
    """
    backoff_s: float = min(FIRST_PAUSE_S * 2.0**extra, LONGEST_PAUSE_S) * (0.5 + draw / 2)
    return backoff_s if asked_s is None else max(backoff_s, asked_s * (1 + _SPREAD * draw))
