"""A circuit breaker: closed while calls go well, open when they do not, half open for one call that tries.

Law: pure arithmetic over given times (monotonic nanoseconds). One breaker for each lane in each worker; what one worker
finds out the others are told.
"""

from typing import Literal

State = Literal["closed", "open", "half_open"]

WINDOW_S = 10
MIN_VOLUME = 20
FAILED_SHARE = 0.5
IN_A_ROW = 5
FIRST_OPEN_S = 5
LONGEST_OPEN_S = 60
PROBE_S = 30
"""How long a call that tries keeps others from trying; one whose end is never heard of blocks nobody for longer."""
_NS_PER_S = 1_000_000_000


class Breaker:
    """Opens after five failures in a row, or when half of at least twenty calls within ten seconds fail.

    After five seconds one call may try; while it fails, the pause doubles, up to a minute.
    """

    __slots__ = ("_calls", "_failed", "_in_a_row", "_pause_s", "_probe_until_ns", "_second", "opened_until_ns")

    def __init__(self) -> None:
        self._calls = [0] * WINDOW_S
        self._failed = [0] * WINDOW_S
        self._second = 0
        self._in_a_row = 0
        self._pause_s = FIRST_OPEN_S
        self._probe_until_ns = 0
        self.opened_until_ns = 0
        """Until when nobody tries; 0 while it is closed."""

    def state(self, now_ns: int) -> State:
        """Return its state: `half_open` is when it may be tried, or is being tried."""
        if not self.opened_until_ns:
            return "closed"
        return "open" if now_ns < self.opened_until_ns else "half_open"

    def may_try(self, now_ns: int) -> bool:
        """Whether a call may be made to see whether all is well again."""
        return 0 < self.opened_until_ns <= now_ns and now_ns >= self._probe_until_ns

    def begin_try(self, now_ns: int) -> None:
        """Note that a call tries now."""
        self._probe_until_ns = now_ns + PROBE_S * _NS_PER_S

    def end_try(self) -> None:
        """Note that a call that tried has ended without a verdict."""
        self._probe_until_ns = 0

    def succeeded(self, now_ns: int) -> bool:
        """Note a call that went well; returns whether that has closed it."""
        self._in_a_row = 0
        if self.opened_until_ns:
            if now_ns < self.opened_until_ns:
                return False  # it began before all went wrong
            self.close()
            return True
        self._calls[self._bucket(now_ns)] += 1
        return False

    def failed(self, now_ns: int) -> bool:
        """Note a call that failed; returns whether that has opened it."""
        if self.opened_until_ns:
            if now_ns < self.opened_until_ns:
                return False
            self._pause_s = min(self._pause_s * 2, LONGEST_OPEN_S)
            self.open(now_ns + self._pause_s * _NS_PER_S)
            return True
        self._in_a_row += 1
        bucket = self._bucket(now_ns)
        self._calls[bucket] += 1
        self._failed[bucket] += 1
        calls = sum(self._calls)
        is_bad = calls >= MIN_VOLUME and sum(self._failed) >= calls * FAILED_SHARE
        if is_bad or self._in_a_row >= IN_A_ROW:
            self.open(now_ns + self._pause_s * _NS_PER_S)
            return True
        return False

    def open(self, until_ns: int) -> None:
        """Open it until a moment, also because another worker says so."""
        self.opened_until_ns = max(self.opened_until_ns, until_ns)
        self._probe_until_ns = 0

    def close(self) -> None:
        """Close it and forget what was."""
        self._calls = [0] * WINDOW_S
        self._failed = [0] * WINDOW_S
        self._in_a_row = self.opened_until_ns = self._probe_until_ns = 0
        self._pause_s = FIRST_OPEN_S

    def _bucket(self, now_ns: int) -> int:
        """Return where a moment is counted, having forgotten what is older than the window."""
        second = now_ns // _NS_PER_S
        gone = second - self._second
        if gone > 0:
            for offset in range(1, min(gone, WINDOW_S) + 1):
                at = (self._second + offset) % WINDOW_S
                self._calls[at] = self._failed[at] = 0
            self._second = second
        return second % WINDOW_S
