"""What the stores ask of Redis, one server or a cluster alike. Law: these docstrings bind both connections."""

from collections.abc import Callable, Sequence
from typing import Protocol

from app.stores.redis.link import Argument
from app.stores.redis.scripts import Script


class Commands(Protocol):
    """A connection to Redis that belongs to one event loop, connects when first needed and lives until `aclose`.

    A command is never sent twice unless its first reply proves that it did not run. On a cluster the keys of one
    command or script share a hash tag, and the first of them says where it goes; a command without a key goes anywhere.
    """

    @property
    def connected(self) -> bool:
        """Whether any command would be sent at once."""
        ...

    def on_new_server(self, callback: Callable[[], None]) -> None:
        """Call back whenever another server process has taken over: one restarted, or a replica was promoted."""
        ...

    async def start(self) -> None:
        """Connect now; raises `StoreUnavailable` if that fails at first, and goes on trying all the same."""
        ...

    async def call(self, *args: Argument, timeout_s: float | None = None) -> object:
        """Send one command and return its reply.

        Raises `StoreReplyError` for an error reply and `StoreUnavailable` after `timeout_s` (250 ms if absent), on any
        loss of the connection and while Redis is down; the command may have run then.
        """
        ...

    async def script(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> object:
        """Run a script and return its reply; raises as `call` does."""
        ...

    def send(self, *args: Argument) -> None:
        """Send one command and forget it, whatever comes of it."""
        ...

    async def ping(self) -> bool:
        """Return, within 250 ms, whether Redis answers for every key."""
        ...

    def discard(self) -> None:
        """Leave what is connected, failing what waits on it; the next call connects again."""
        ...

    async def aclose(self) -> None:
        """Close for good; what waits gets `StoreUnavailable`."""
        ...
