"""Limits over time, as arithmetic. Law: integers, in the same steps as reserve.lua, so that stores agree."""

from app.stores.accounts import SLOTS

_DAY_MS = 86_400_000
_LONG_GRAIN_MS = 1_000


class Ring:
    """A sliding window: what was taken in each of the slots that it touches, the oldest of them counted whole."""

    __slots__ = ("counts", "slot_ms", "total")

    def __init__(self, window_ms: int) -> None:
        """Make an empty window; it is a whole number of seconds long."""
        self.slot_ms = window_ms // SLOTS
        self.counts: dict[int, int] = {}
        self.total = 0

    def advance(self, now_ms: int) -> int:
        """Let go of slots that the window has left; return the present slot."""
        slot = now_ms // self.slot_ms
        counts, lowest = self.counts, slot - SLOTS
        while counts and (first := next(iter(counts))) < lowest:
            self.total -= counts.pop(first)
        return slot

    def add(self, slot: int, amount: int) -> None:
        """Take `amount` in the present slot."""
        self.counts[slot] = self.counts.get(slot, 0) + amount
        self.total += amount

    def correct(self, slot: int, difference: int) -> None:
        """Change what was taken in a slot; nothing if the window has left it."""
        if slot in self.counts:
            self.counts[slot] += difference
            self.total += difference

    def wait_ms(self, now_ms: int, excess: int) -> int:
        """Return in how many milliseconds so much less will be in the window."""
        for slot, count in self.counts.items():
            excess -= count
            if excess <= 0:
                return (slot + SLOTS + 1) * self.slot_ms - now_ms
        return (SLOTS + 1) * self.slot_ms

    def reset_ms(self, now_ms: int) -> int:
        """Return in how many milliseconds the window is empty if nothing more is taken."""
        return (next(reversed(self.counts)) + SLOTS + 1) * self.slot_ms - now_ms if self.counts else 0


class Bucket:
    """A token bucket: full at first, refilled evenly at its limit for each window. No fraction is ever lost."""

    __slots__ = ("at", "balance", "grain_ms", "rest", "window")

    def __init__(self, window_ms: int, *, limit: int, now_ms: int) -> None:
        self.grain_ms = grain_ms(window_ms)
        self.window = window_ms // self.grain_ms
        self.balance = limit
        self.at = now_ms // self.grain_ms
        self.rest = 0

    def look(self, now_ms: int, limit: int) -> int:
        """Return the balance now; changes nothing, so that looking with another limit has no effect."""
        return self._state(now_ms, limit)[0]

    def refill(self, now_ms: int, limit: int) -> int:
        """Add what has flowed in since the last time; return the balance."""
        self.balance, self.rest = self._state(now_ms, limit)
        self.at = max(now_ms // self.grain_ms, self.at)
        return self.balance

    def _state(self, now_ms: int, limit: int) -> tuple[int, int]:
        """Return the balance, and the fraction beside it in units of the window."""
        elapsed = max(0, min(now_ms // self.grain_ms - self.at, self.window))
        whole, part = divmod(limit, self.window)
        gained, rest = divmod(elapsed * part + self.rest, self.window)
        balance = self.balance + elapsed * whole + gained
        return (limit, 0) if balance >= limit else (balance, rest)

    def wait_ms(self, amount: int, *, balance: int, limit: int) -> int:
        """Return in how many milliseconds a balance of now will be so large."""
        return -(-(amount - balance) * self.window // limit) * self.grain_ms


def grain_ms(window_ms: int) -> int:
    """Return the unit of time of a bucket: coarse for long windows, so that products stay exact in a double."""
    return 1 if window_ms <= _DAY_MS else _LONG_GRAIN_MS
