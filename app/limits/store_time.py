"""The store's time in this process. Law: it follows the store and the monotonic clock, never the wall clock."""

from app.kernel.clock import Clock

_NS_PER_MS = 1_000_000


class StoreTime:
    """Tells the store's time without asking it: a step of this machine's wall clock changes nothing."""

    def __init__(self, clock: Clock) -> None:
        """Begin with the wall time, until the store has said its own."""
        self._clock = clock
        self._offset_ns = clock.now_ns() - clock.monotonic_ns()

    def heard(self, at_ms: int) -> None:
        """Take note of what the store says the time is."""
        self._offset_ns = at_ms * _NS_PER_MS - self._clock.monotonic_ns()

    def now_ms(self) -> int:
        """Return the store's time in milliseconds since the Unix epoch."""
        return (self._clock.monotonic_ns() + self._offset_ns) // _NS_PER_MS

    def at_ms(self, monotonic_ns: int) -> int:
        """Return the store's time at a moment of this process."""
        return (monotonic_ns + self._offset_ns) // _NS_PER_MS
