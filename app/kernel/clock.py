"""Time, injected. Law: nothing in `app` reads the system clock but through a `Clock`."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of wall and monotonic time."""

    def now(self) -> datetime:
        """Return the wall time, in UTC."""
        ...

    def now_ns(self) -> int:
        """Return the wall time in nanoseconds since the Unix epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Return nanoseconds that never go back, from an arbitrary origin."""
        ...


class SystemClock:
    """Reads the operating system's clocks.

    A request looks at the monotonic one a dozen times, so that this is the system's own function and no call around it.
    """

    monotonic_ns = staticmethod(time.monotonic_ns)

    def now(self) -> datetime:
        """Return the wall time, in UTC."""
        return datetime.now(UTC)

    def now_ns(self) -> int:
        """Return the wall time in nanoseconds since the Unix epoch."""
        return time.time_ns()


@dataclass(slots=True)
class ManualClock:
    """Stands still until it is moved; for tests."""

    wall_ns: int = field(default=1_800_000_000_000_000_000)
    ticks_ns: int = field(default=0)

    def now(self) -> datetime:
        """Return the wall time, in UTC."""
        return datetime.fromtimestamp(self.wall_ns / 1e9, UTC)

    def now_ns(self) -> int:
        """Return the wall time in nanoseconds since the Unix epoch."""
        return self.wall_ns

    def monotonic_ns(self) -> int:
        """Return the ticks so far, in nanoseconds."""
        return self.ticks_ns

    def advance(self, seconds: float) -> None:
        """Move both clocks forward by `seconds`."""
        step = int(seconds * 1e9)
        self.wall_ns += step
        self.ticks_ns += step
