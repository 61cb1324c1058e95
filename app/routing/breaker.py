"""A circuit breaker: closed while calls go well, open when they do not, half open for one call that tries.

Law: pure arithmetic over given times (monotonic nanoseconds). One breaker for each lane in each worker; what one worker
finds out the others are told.
"""

from typing import Literal

from app.routing.rolling import Rolling

State = Literal["closed", "open", "half_open"]

MIN_VOLUME = 20
FAILED_SHARE = 0.5
IN_A_ROW = 5
FIRST_OPEN_S = 5
LONGEST_OPEN_S = 60
TRY_S = 30
"""How long a call that tries keeps others from trying: whoever never says how it ended blocks nobody for longer."""
_NS_PER_S = 1_000_000_000


class Breaker:
    """Opens after five failures in a row, or when half of at least twenty calls within ten seconds fail.

    After five seconds one call may try; while it fails, the pause doubles, up to a minute.
    """

    __slots__ = ("_calls", "_failures", "_in_a_row", "_pause_s", "_tried_until_ns", "open_until_ns")

    def __init__(self) -> None:
        self._calls = Rolling()
        self._failures = Rolling()
        self._in_a_row = 0
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

    def succeeded(self, now_ns: int) -> bool:
        """Note a call that went well; returns whether that has closed it."""
        self._in_a_row = 0
        if not self.open_until_ns:
            self._calls.add(now_ns)
            return False
        if now_ns < self.open_until_ns:
            return False  # it began before all went wrong
        self.close()
        return True

    def failed(self, now_ns: int) -> bool:
        """Note a call that failed; returns whether that has opened it."""
        if self.open_until_ns:
            if now_ns < self.open_until_ns:
                return False
            self._pause_s = min(self._pause_s * 2, LONGEST_OPEN_S)
            self.open(now_ns + self._pause_s * _NS_PER_S)
            return True
        self._in_a_row += 1
        self._calls.add(now_ns)
        self._failures.add(now_ns)
        calls = self._calls.total(now_ns)
        is_bad = calls >= MIN_VOLUME and self._failures.total(now_ns) >= calls * FAILED_SHARE
        if is_bad or self._in_a_row >= IN_A_ROW:
            self.open(now_ns + self._pause_s * _NS_PER_S)
            return True
        return False

    def open(self, until_ns: int) -> None:
        """Open it until a moment, also because another worker says so."""
        self.open_until_ns = max(self.open_until_ns, until_ns)
        self._tried_until_ns = 0

    def close(self) -> None:
        """Close it and forget what was."""
        self._calls.clear()
        self._failures.clear()
        self._in_a_row = self.open_until_ns = self._tried_until_ns = 0
        self._pause_s = FIRST_OPEN_S
