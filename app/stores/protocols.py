"""What the floors above may ask of shared volatile state. Law: these docstrings are the contract of every store."""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from app.stores.accounts import AccountStore
from app.stores.cache import CacheStore
from app.stores.entries import UsageEntry
from app.stores.redis.commands import Commands
from app.stores.traces import TraceStore

PARTITIONS = 64
"""How many partitions the usage queue has: one organisation always falls into the same one."""

REMEMBERED_S = 120
"""How long the usage queue knows the id of an entry that it took, so that a second `put` of it adds nothing."""

REDELIVERED_AFTER_MS = 30_000
"""How long a claimed entry waits for its acknowledgement before it is given out again."""


class Claimed(msgspec.Struct, frozen=True):
    """An entry given out once, with the receipt that acknowledges it, and when the store took it (ms since 1970)."""

    entry: UsageEntry
    receipt: bytes
    queued_ms: int


class UsageQueue(Protocol):
    """A queue that loses nothing it took and gives out everything at least once, in no promised order."""

    async def put(self, entries: Sequence[UsageEntry]) -> None:
        """Take the entries; returns once the store holds them.

        Entries of one partition go in together or not at all. An id that was taken in the last 120 s is taken again
        as nothing, so a `put` that raised `StoreUnavailable` may be sent once more with the same ids.
        """
        ...

    async def claim(self, *, limit: int, wait_s: float) -> list[Claimed]:
        """Return up to `limit` entries, waiting up to `wait_s` for the first; an empty list when none came.

        What is not acknowledged within 30 s of its claim is given out again, to whoever asks. Raises
        `StoreUnavailable`; entries on their way then are given out again too.
        """
        ...

    async def acknowledge(self, claimed: Sequence[Claimed]) -> None:
        """Forget these entries for good; entries that were acknowledged before are none of its concern.

        What the store cannot be told now is given out again, as if it had not been acknowledged; that is no error.
        """
        ...

    async def depth(self) -> int:
        """Return how many entries wait or are claimed and not yet acknowledged."""
        ...


Unsubscribe = Callable[[], None]
"""Ends a subscription; the second call does nothing."""


class Signals(Protocol):
    """Hints between processes: fast, to everyone, and now and then lost."""

    @property
    def connected(self) -> bool:
        """Whether a signal published now would reach this process."""
        ...

    @property
    def address(self) -> str:
        """What this process is called where a signal is for it alone."""
        ...

    async def publish(self, topic: str, payload: bytes, *, to: str | None = None) -> None:
        """Send to every subscriber of the topic, this process's own too, or only to those of the process at an address.

        Raises `StoreUnavailable`. Nobody says so where there is no process at the address.
        """
        ...

    def subscribe(
        self, topic: str, callback: Callable[[bytes], None], *, on_gap: Callable[[], None] | None = None
    ) -> Unsubscribe:
        """Call `callback` with each payload, from the event loop, in the order of sending.

        `on_gap` is called whenever signals may have been missed: once at the beginning, as soon as signals are heard,
        and after each reconnection. Whoever keeps state by signals drops it then. What a callback raises goes to the
        loop's exception handler.
        """
        ...


class Leases(Protocol):
    """At most one holder of a name at a time: whoever has not renewed in time must take it that the lease is lost.

    Every method raises `StoreUnavailable` when the store does not answer; it may have acted then.
    """

    async def acquire(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """Take the lease for `ttl_s`, or extend it if this holder has it; false when another has it."""
        ...

    async def renew(self, name: str, *, holder: str, ttl_s: float) -> bool:
        """Extend the lease to `ttl_s` from now; false when it has expired or another has it."""
        ...

    async def release(self, name: str, *, holder: str) -> bool:
        """Give the lease up; false when this holder did not have it."""
        ...


class Presence(Protocol):
    """Who else is there."""

    async def announce(self, process: str, *, ttl_s: float) -> int:
        """Say that a process lives, for `ttl_s`; return how many do. Raises `StoreUnavailable`."""
        ...


class Stores(Protocol):
    """Every shared store of one process, opened from one URL and belonging to one event loop."""

    @property
    def kind(self) -> Literal["memory", "redis"]:
        """Where the state is: in this process only, or shared."""
        ...

    @property
    def usage(self) -> UsageQueue:
        """The queue from settlement to the ledger."""
        ...

    @property
    def signals(self) -> Signals:
        """Hints between processes."""
        ...

    @property
    def leases(self) -> Leases:
        """Who does a job of which there is only one."""
        ...

    @property
    def presence(self) -> Presence:
        """How many processes share the stores."""
        ...

    @property
    def accounts(self) -> AccountStore:
        """Limits, holds and budgets."""
        ...

    @property
    def cache(self) -> CacheStore:
        """Answers that may be given again."""
        ...

    @property
    def traces(self) -> TraceStore:
        """What became of recent requests."""
        ...

    @property
    def hot(self) -> Commands | None:
        """The connection for scripts of the hot path; absent in memory."""
        ...

    async def start(self) -> None:
        """Connect. Raises `StoreUnavailable` when the store does not answer; it goes on trying all the same."""
        ...

    async def aclose(self) -> None:
        """Let go of every connection and task; whoever still waits gets `StoreUnavailable`."""
        ...

    async def ping(self) -> bool:
        """Return, within 250 ms, whether the store answers."""
        ...

    def sweep(self) -> None:
        """Let go of what is as if it had never been; to be called now and then."""
        ...
