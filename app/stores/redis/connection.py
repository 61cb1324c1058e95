"""The hot path's connection to Redis. Law: a command is never sent twice, and while Redis is down it fails at once.

    connected ── hang ──────────→ down ── an attempt succeeds ──→ connected
        └── reset, garbage ──→ idle ── next call connects, and waits ──→ connected or down

While down, calls fail in microseconds and a task of the connection tries again, 50 ms to 1 s apart.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.stores.errors import StoreError, StoreUnavailable
from app.stores.redis.endpoint import Endpoint, Locate, connect
from app.stores.redis.link import Argument, Link, pack
from app.stores.redis.scripts import Script, run_script

TIMEOUT_S = 0.25
"""How long one command may take, waiting for a connection included."""

_ATTEMPT_TIMEOUT_S = 1.0
_FIRST_BACKOFF_S = 0.05
_LAST_BACKOFF_S = 1.0
_USELESS_LIFE_S = 1.0
_CLIENT_NAME = "llm-gateway"

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Statistics:
    """What happened to a connection since it was made."""

    connections: int = 0
    losses: int = 0
    hangs: int = 0
    send_errors: int = 0


class HotConnection:
    """An auto-pipelining connection: all commands of one loop tick leave in one write.

    It belongs to the event loop that first calls it, connects when first needed, and lives until `aclose`. Replies are
    `bytes`, `int`, `None` or lists of these; an error inside a list is an instance of `StoreError` there.
    """

    def __init__(
        self,
        locate: Locate,
        *,
        timeout_s: float = TIMEOUT_S,
        statistics: Statistics | None = None,
        on_trouble: Callable[[], object] | None = None,
    ) -> None:
        """Make a connection to wherever `locate` says, asked anew before each attempt.

        `statistics` may be counted with others; `on_trouble` is called at each loss, failed attempt or failed `send`.
        """
        self.statistics = statistics or Statistics()
        self._on_trouble = on_trouble
        self._locate = locate
        self._timeout_s = timeout_s
        self._link: Link | None = None
        self._connector: asyncio.Task[None] | None = None
        self._first_attempt: asyncio.Future[None] | None = None
        self._server: bytes | None = None
        self._on_new_server: list[Callable[[], None]] = []
        self._is_failing_fast = False
        self._is_closed = False
        self._trouble = "Redis has not been connected yet"

    @property
    def connected(self) -> bool:
        """Whether a command would be sent at once."""
        return self._link is not None

    def on_new_server(self, callback: Callable[[], None]) -> None:
        """Call back whenever a connection finds another server process than the one before: restarted or failed over.

        A server that does not tell its run id (an ACL may forbid `INFO`) counts as another each time.
        """
        self._on_new_server.append(callback)

    async def start(self) -> None:
        """Connect now; raises `StoreUnavailable` if the first attempt fails, and goes on trying all the same."""
        await self._connected(asyncio.get_running_loop().time() + 2 * _ATTEMPT_TIMEOUT_S)

    async def call(self, *args: Argument, timeout_s: float | None = None) -> object:
        """Send one command and return its reply.

        Raises `StoreReplyError` for an error reply and `StoreUnavailable` after `timeout_s` (250 ms if absent), on any
        loss of the connection and while Redis is down; the command may have run then. A cancelled call may run too.
        """
        deadline = asyncio.get_running_loop().time() + (timeout_s or self._timeout_s)
        link = self._link or await self._connected(deadline)
        return await link.submit(pack(args), deadline)

    async def call_asking(self, *args: Argument, timeout_s: float) -> object:
        """Send one command, in one write behind the ASKING that a cluster's node wants, and return its reply."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        link = self._link or await self._connected(deadline)
        asking = pack(("ASKING",))
        replies = await asyncio.gather(link.submit(asking, deadline), link.submit(pack(args), deadline))
        return replies[1]

    def send(self, *args: Argument) -> None:
        """Send one command and forget it; a failure of any kind only counts in `statistics.send_errors`."""
        link = self._link
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        if link is None or not link.post(pack(args), deadline):
            self._count_send_error()
            self._connect_soon()

    async def script(self, script: Script, keys: Sequence[Argument], args: Sequence[Argument]) -> object:
        """Run a script and return its reply; a server that does not know it gets its source, and runs it once."""
        return await run_script(self.call, script, keys, args)

    async def ping(self) -> bool:
        """Return, within the timeout, whether Redis answers."""
        try:
            return await self.call("PING") == b"PONG"
        except StoreError:
            return False

    def discard(self) -> None:
        """Leave the present link, failing what waits on it; the next call opens another."""
        link, self._link = self._link, None
        if link is not None:
            link.leave("the connection to Redis was discarded")

    async def aclose(self) -> None:
        """Close the connection for good; what waits gets `StoreUnavailable`."""
        self._is_closed = True
        self._trouble = "the connection to Redis is closed"
        connector, self._connector = self._connector, None
        if connector is not None:
            connector.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await connector
        self._wake_waiters()
        self.discard()

    async def _connected(self, deadline: float) -> Link:
        """Return a link, waiting for the attempt under way unless the last one failed."""
        self._connect_soon()
        if self._first_attempt is not None and not self._is_failing_fast:
            try:
                async with asyncio.timeout_at(deadline):
                    await asyncio.shield(self._first_attempt)
            except TimeoutError:
                self._fail_fast("Redis did not answer in time")
        if self._link is None:
            raise StoreUnavailable(self._trouble, may_have_run=False)
        return self._link

    def _connect_soon(self, *, backoff_s: float = 0.0) -> None:
        """Start connecting, unless that is under way or there is no need."""
        if self._link is None and self._connector is None and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._first_attempt = loop.create_future()
            self._connector = loop.create_task(self._keep_connecting(backoff_s))

    async def _keep_connecting(self, backoff_s: float) -> None:
        await asyncio.sleep(backoff_s)
        while (opened := await self._attempt()) is None:
            backoff_s = min(max(2 * backoff_s, _FIRST_BACKOFF_S), _LAST_BACKOFF_S)
            await asyncio.sleep(backoff_s)
        self._connector = None
        self._use(*opened)

    def _use(self, link: Link, server: bytes) -> None:
        if self._is_failing_fast:
            _log.warning("Redis is back")
        self._link, self._is_failing_fast = link, False
        self._wake_waiters()
        is_first, is_same = self._server is None, server and server == self._server
        self.statistics.connections += 1
        self._server = server
        if not (is_first or is_same):
            for callback in self._on_new_server:
                callback()

    async def _attempt(self) -> tuple[Link, bytes] | None:
        """Try once to connect and greet; absent when that failed, which fails whoever waits."""
        try:
            async with asyncio.timeout(_ATTEMPT_TIMEOUT_S):
                return await self._open()
        except TimeoutError:
            self._fail_fast("Redis did not accept a connection in time")
        except (OSError, StoreError) as error:
            self._fail_fast(f"Redis cannot be reached: {error}")
        except Exception:  # noqa: BLE001 - a supervisor: however an attempt fails, another follows
            _log.exception("a defect: connecting to Redis failed in an unforeseen way")
            self._fail_fast("Redis cannot be reached")
        return None

    async def _open(self) -> tuple[Link, bytes]:
        """Return a link that serves, and its server's run id."""
        endpoint = await self._locate()
        link = await connect(self._new_link, endpoint)
        try:
            server = await _greet(link, endpoint)
        except BaseException:
            link.leave("the greeting failed")
            raise
        link.has_served = False
        return link, server

    def _new_link(self) -> Link:
        return Link(on_lost=self._link_lost, on_send_error=self._count_send_error)

    def _link_lost(self, link: Link, reason: str) -> None:
        """Forget the link. After a hang or a short useless life fail fast while reconnecting; else reconnect lazily."""
        if link is not self._link:
            return
        was_useless = not link.has_served and asyncio.get_running_loop().time() - link.opened_s < _USELESS_LIFE_S
        self._link = None
        self._trouble = reason
        self.statistics.losses += 1
        self.statistics.hangs += link.has_hung
        _log.warning("%s", reason)
        self._tell_trouble()
        if link.has_hung or was_useless:
            self._fail_fast(reason)
            self._connect_soon(backoff_s=0.0 if link.has_hung else _FIRST_BACKOFF_S)

    def _fail_fast(self, reason: str) -> None:
        if not self._is_failing_fast:
            _log.error("%s; failing fast until it is back", reason)
        self._is_failing_fast = True
        self._trouble = reason
        self._wake_waiters()
        self._tell_trouble()

    def _wake_waiters(self) -> None:
        if self._first_attempt is not None and not self._first_attempt.done():
            self._first_attempt.set_result(None)

    def _count_send_error(self) -> None:
        self.statistics.send_errors += 1
        self._tell_trouble()

    def _tell_trouble(self) -> None:
        if self._on_trouble is not None:
            self._on_trouble()


async def _greet(link: Link, endpoint: Endpoint) -> bytes:
    """Log in, prove that the server serves (HELLO answers while it loads, PING does not), and return its run id."""
    hello: list[Argument] = ["HELLO", 2]
    if endpoint.credentials.password is not None:
        hello += ["AUTH", endpoint.credentials.username or "default", endpoint.credentials.password]
    greeting: list[tuple[Argument, ...]] = [(*hello, "SETNAME", _CLIENT_NAME), ("SELECT", endpoint.db), ("PING",)]
    deadline = asyncio.get_running_loop().time() + _ATTEMPT_TIMEOUT_S
    asked = [link.submit(pack(command), deadline) for command in (*greeting, ("INFO", "server"))]
    *replies, about = await asyncio.gather(*asked, return_exceptions=True)
    for reply in replies:
        if isinstance(reply, BaseException):
            raise reply
    return _run_id(about) if isinstance(about, bytes) else b""


def _run_id(info: bytes) -> bytes:
    _, _, rest = info.partition(b"\nrun_id:")
    return rest.partition(b"\r")[0]
