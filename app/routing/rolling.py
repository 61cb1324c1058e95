"""Counts over the last seconds. Law: every step is O(1), whatever was counted and however long ago."""

_NS_PER_S = 1_000_000_000


class Rolling:
    """How often something happened within `window_s`, to the second. Times are monotonic nanoseconds."""

    __slots__ = ("_buckets", "_second", "_total", "_window_s")

    def __init__(self, window_s: int = 10) -> None:
        self._window_s = window_s
        self._buckets = [0] * window_s
        self._second = 0
        self._total = 0

    def add(self, now_ns: int) -> None:
        """Count one."""
        second = now_ns // _NS_PER_S
        if second != self._second:
            self._forget(second)
        self._buckets[self._second % self._window_s] += 1
        self._total += 1

    def total(self, now_ns: int) -> int:
        """Return how many there were."""
        second = now_ns // _NS_PER_S
        if second != self._second:
            self._forget(second)
        return self._total

    def clear(self) -> None:
        """Forget all."""
        self._buckets = [0] * self._window_s
        self._total = 0

    def _forget(self, second: int) -> None:
        """Let go of what is older than the window; a second that is past counts as the present one."""
        gone = second - self._second
        if gone <= 0:
            return
        if gone >= self._window_s:
            self.clear()
        else:
            for passed in range(self._second + 1, second + 1):
                at = passed % self._window_s
                self._total -= self._buckets[at]
                self._buckets[at] = 0
        self._second = second
