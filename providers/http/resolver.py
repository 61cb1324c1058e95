"""Names to addresses, cached.

Law: a resolver that is slow or down does not stop an upstream that was known a moment ago: an answer is fresh for one
minute and still served, stale, for five.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address

from providers.errors import ConnectFailed
from providers.http.addresses import Address

Lookup = Callable[[str], Awaitable[tuple[Address, ...]]]
"""Asks the system for the addresses of a host name; raises `OSError`."""

_FRESH_S = 60.0
_STALE_S = 300.0
_STALE_WAIT_S = 0.5
_NAMES_MAX = 1024


async def ask_system(host: str) -> tuple[Address, ...]:
    """Return what the operating system's resolver says of `host`, in its order."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(ip_address(sockaddr[0]) for *_, sockaddr in found))


class Resolver:
    """Resolves host names, one question per name at a time."""

    def __init__(self, *, lookup: Lookup = ask_system, now_s: Callable[[], float] = time.monotonic) -> None:
        """Make a resolver; `lookup` asks, `now_s` tells the age of answers in seconds."""
        self._lookup = lookup
        self._now_s = now_s
        self._answers: dict[str, tuple[tuple[Address, ...], float]] = {}
        self._running: dict[str, asyncio.Task[tuple[Address, ...]]] = {}

    async def addresses(self, host: str) -> tuple[Address, ...]:
        """Return the addresses of a host name or of an address in text, at least one; raises `ConnectFailed`."""
        try:
            return (ip_address(host),)
        except ValueError:
            pass
        known, age_s = self._known(host)
        if known and age_s < _FRESH_S:
            return known
        task = self._running.get(host) or self._ask(host)
        await asyncio.wait((task,), timeout=_STALE_WAIT_S if known else None)
        if task.done() and not task.cancelled() and task.exception() is None and task.result():
            return task.result()
        if known:
            return known
        raise ConnectFailed("The provider's host name cannot be resolved.")

    def close(self) -> None:
        """Give up the questions in flight."""
        for task in self._running.values():
            task.cancel()

    def _known(self, host: str) -> tuple[tuple[Address, ...], float]:
        """Return the cached addresses of `host` and their age in seconds; none if they are too old."""
        addresses, at_s = self._answers.get(host, ((), 0.0))
        age_s = self._now_s() - at_s
        return (addresses, age_s) if age_s < _STALE_S else ((), age_s)

    def _ask(self, host: str) -> asyncio.Task[tuple[Address, ...]]:
        task = asyncio.ensure_future(self._lookup(host))
        self._running[host] = task
        task.add_done_callback(lambda done: self._store(host, done))
        return task

    def _store(self, host: str, task: asyncio.Task[tuple[Address, ...]]) -> None:
        del self._running[host]
        if task.cancelled() or task.exception() is not None or not task.result():
            return
        if len(self._answers) >= _NAMES_MAX:
            self._answers.clear()
        self._answers[host] = (task.result(), self._now_s())
