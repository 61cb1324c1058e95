"""The connections to one origin: those that wait for work, and how many there are.

Law: last in, first out, so that the busiest connections stay warm and the rest expire; every step is O(1).
"""

from asyncio import Future
from collections import deque
from typing import TYPE_CHECKING

import msgspec

from providers.http.request import OriginKey

if TYPE_CHECKING:
    from providers.http.connection import Connection


_FIELD_NAMES_MAX = 256


class OriginStats(msgspec.Struct, frozen=True, kw_only=True):
    """How the connections of one origin are doing.

    `active` serve a request, `idle` wait for one, `connecting` are being made, `waiting` are requests without a
    connection; `oldest_active_s` is the age of the longest exchange in seconds. `opened` and `retried` count since
    the start.
    """

    idle: int
    active: int
    connecting: int
    waiting: int
    oldest_active_s: float
    opened: int
    retried: int


class Origin:
    """Keeps the connections to one scheme, host and port.

    `open` are in use or idle; one that is cut leaves it at once, though its socket closes a turn of the loop later.
    """

    __slots__ = (
        "connecting",
        "field_names",
        "idle",
        "idle_expiry_s",
        "key",
        "max_connections",
        "max_idle",
        "open",
        "opened",
        "retried",
        "waiters",
    )

    def __init__(self, key: OriginKey, *, max_idle: int, max_connections: int | None, idle_expiry_s: float) -> None:
        self.key = key
        self.max_idle = max_idle
        self.max_connections = max_connections
        self.idle_expiry_s = idle_expiry_s
        self.idle: dict[Connection, None] = {}
        self.open: set[Connection] = set()
        self.waiters: deque[Future[None]] = deque()
        self.connecting = 0
        self.opened = 0
        self.field_names: dict[bytes, str] = {}
        self.retried = 0

    @property
    def is_full(self) -> bool:
        """Whether no further connection may be made."""
        return self.max_connections is not None and len(self.open) + self.connecting >= self.max_connections

    @property
    def is_empty(self) -> bool:
        """Whether nothing refers to this origin but the pool."""
        return not (self.open or self.connecting or self.waiters)

    def take(self) -> "Connection | None":
        """Return the idle connection that was used last, now the caller's."""
        return self.idle.popitem()[0] if self.idle else None

    def park(self, connection: "Connection") -> bool:
        """Keep a connection for the next request; false if there are enough."""
        if len(self.idle) >= self.max_idle:
            return False
        self.idle[connection] = None
        if self.waiters:
            self.wake_next()
        return True

    def opened_one(self, connection: "Connection") -> None:
        """Count a new connection."""
        self.open.add(connection)
        self.opened += 1

    def forget(self, connection: "Connection") -> None:
        """Drop a connection that is closed or about to be; harmless when repeated."""
        self.open.discard(connection)
        self.idle.pop(connection, None)
        if self.waiters:
            self.wake_next()

    def learn(self, raw_name: bytes) -> str:
        """Return a header field's name in lower case, and remember it: an origin sends the same ones all the time."""
        if len(self.field_names) >= _FIELD_NAMES_MAX:
            self.field_names.clear()
        name = self.field_names[raw_name] = raw_name.decode("latin-1").lower()
        return name

    def wake_next(self) -> None:
        """Let the request that waited longest try again."""
        while self.waiters:
            waiter = self.waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def stats(self, now_s: float) -> OriginStats:
        """Return the figures as of the loop's time `now_s`. Walks the open connections."""
        begun = [connection.begun_s for connection in self.open if connection.answer is not None]
        return OriginStats(
            idle=len(self.idle),
            active=len(self.open) - len(self.idle),
            connecting=self.connecting,
            waiting=len(self.waiters),
            oldest_active_s=now_s - min(begun) if begun else 0.0,
            opened=self.opened,
            retried=self.retried,
        )
