"""A circuit breaker: closed while calls go well, open when they do not, half open for one call that tries.

Law: pure arithmetic over given times (monotonic nanoseconds). One breaker for each lane in each worker; what one worker
finds out the others are told.
"""

from typing import Literal

from app.routing.rolling import Rolling

State = Literal["closed", "open", "half_open"]

MIN_VOLUME = 20
IN_A_ROW = 5
FIRST_OPEN_S = 5
LONGEST_OPEN_S = 60
TRY_S = 30
"""How long a call that tries keeps others from trying: whoever never says how it ended blocks nobody for longer."""
_NS_PER_S = 1_000_000_000


class Breaker:
    """Opens after five failures in a row, or when half or more of at least twenty calls within ten seconds fail.

    After five seconds one call may try; while it fails, the pause doubles, up to a minute. How calls end that began
    before it opened says nothing of how the lane is now.
    """

    __slots__ = ("_calls", "_failures", "_in_a_row", "_opened_ns", "_pause_s", "_tried_until_ns", "open_until_ns")

    def __init__(self) -> None:
        self._calls = Rolling()
        self._failures = Rolling()
        self._in_a_row = 0
        self._opened_ns = 0
        self._pause_s = FIRST_OPEN_S
        self._tried_until_ns = 0
        self.open_until_ns = 0
        """Until when nobody tries; 0 while it is closed."""

    def state(self, now_ns: int) -> State:
        """Return its state: `half_open` is when it may be tried, or is being tried."""
        if not self.open_until_ns:
            return "closed"
        return "open" if now_ns < self.open_until_ns else "half_open"

    def may_try(self, now_ns: int) -> bool:
        """Whether a call may be made to see whether all is well again."""
        return 0 < self.open_until_ns <= now_ns and now_ns >= self._tried_until_ns

    def begin_try(self, now_ns: int) -> None:
        """Note that a call tries now, of this worker or of another."""
        self._tried_until_ns = now_ns + TRY_S * _NS_PER_S

    def end_try(self) -> None:
        """Note that a call that tried has ended without a verdict."""
        self._tried_until_ns = 0

    def succeeded(self, now_ns: int, *, began_ns: int | None = None) -> bool:
        """Note a call that went well, begun when it says or just now; returns whether that has closed it.

        One that was made although it is open, as there was nobody else to ask, is as good as one that tries.
        """
        self._in_a_row = 0
        if not self.open_until_ns:
            self._calls.add(now_ns)
            return False
        if began_ns is not None and began_ns < self._opened_ns:
            return False
        self.close()
        return True

    def failed(self, now_ns: int, *, began_ns: int | None = None) -> bool:
        """Note a call that failed, begun when it says or just now; returns whether that has opened it."""
        if self.open_until_ns:
            if now_ns < self.open_until_ns or (began_ns is not None and began_ns < self._opened_ns):
                return False
            self._pause_s = min(self._pause_s * 2, LONGEST_OPEN_S)
            self._open(now_ns + self._pause_s * _NS_PER_S, now_ns)
            return True
        self._in_a_row += 1
        self._calls.add(now_ns)
        self._failures.add(now_ns)
        calls = self._calls.total(now_ns)
        is_bad = calls >= MIN_VOLUME and self._failures.total(now_ns) * 2 >= calls
        if is_bad or self._in_a_row >= IN_A_ROW:
            self._open(now_ns + self._pause_s * _NS_PER_S, now_ns)
            return True
        return False

    def told_open(self, until_ns: int, now_ns: int) -> None:
        """Open it because another worker says so, whose pause goes on from there: all of them double the same one.

        A moment that is past says that it may be tried; that is news only where it is closed.
        """
        if until_ns <= now_ns:
            if not self.open_until_ns:
                self._open(now_ns, now_ns)
        elif until_ns > self.open_until_ns:
            self._pause_s = min(max(self._pause_s, -(-(until_ns - now_ns) // _NS_PER_S)), LONGEST_OPEN_S)
            self._open(until_ns, self._opened_ns if self.open_until_ns else now_ns)

    def _open(self, until_ns: int, since_ns: int) -> None:
        self._opened_ns = since_ns
        self.open_until_ns = until_ns
        self._tried_until_ns = 0

    def close(self) -> None:
        """Close it and forget what was."""
        self._calls.clear()
        self._failures.clear()
        self._in_a_row = self.open_until_ns = self._opened_ns = self._tried_until_ns = 0
        self._pause_s = FIRST_OPEN_S
