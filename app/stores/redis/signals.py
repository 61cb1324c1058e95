"""Signals on Redis pub/sub. Law: a listener that has not heard Redis for two seconds does not claim to be connected.

A topic is the channel `gateway:<db>:<topic>`, as Redis's channels do not know databases, and for one process alone
`gateway@<db>:<address>:<topic>`. One task for each process hears them all, by pattern, through redis-py; subscriptions
are local. The nodes of a cluster tell each other what is
published, so any of them will do.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.kernel.ids import uuid7_text
from app.stores.errors import StoreError, StoreUnavailable
from app.stores.protocols import Unsubscribe
from app.stores.redis.commands import Commands
from app.stores.redis.endpoint import Endpoint, Locate
from app.stores.subscriptions import Subscriptions
from app.stores.url import TlsFiles

_PATTERNS = 2
"""What is for everybody, and what is for this process."""
_FIRST_BACKOFF_S = 0.05
_LAST_BACKOFF_S = 1.0
_CONNECT_TIMEOUT_S = 1.0
SILENCE_S = 1.0
"""After this long without a message Redis is pinged; after as long again it counts as gone."""

_log = logging.getLogger(__name__)


class RedisSignals:
    """Signals to every process on the same Redis and database."""

    def __init__(self, hot: Commands, locate: Locate, *, db: int, silence_s: float = SILENCE_S) -> None:
        """Make signals that are published through `hot` and heard, after `start`, over a connection of their own."""
        self._silence_s = silence_s
        self._hot = hot
        self._locate = locate
        self._db = db
        self._prefix = f"gateway:{db}:"
        self.address = uuid7_text()
        self._subscriptions = Subscriptions()
        self._heard = asyncio.Event()
        self._listener: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Whether a signal published now would reach this process."""
        return self._heard.is_set()

    def start(self) -> None:
        """Begin to listen, and go on until `aclose`."""
        self._listener = asyncio.get_running_loop().create_task(self._listen())

    async def wait_connected(self, *, within_s: float) -> bool:
        """Return whether Redis is heard, waiting for it up to `within_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._heard.wait()
        return self.connected

    async def aclose(self) -> None:
        """Stop listening."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listener

    async def publish(self, topic: str, payload: bytes, *, to: str | None = None) -> None:
        """Send to every subscriber of the topic, or to those of one process."""
        prefix = self._prefix if to is None else self._prefix_of(to)
        await self._hot.call("PUBLISH", prefix + topic, payload)

    def _prefix_of(self, address: str) -> str:
        return f"gateway@{self._db}:{address}:"

    def subscribe(
        self, topic: str, callback: Callable[[bytes], None], *, on_gap: Callable[[], None] | None = None
    ) -> Unsubscribe:
        """Call `callback` with each payload from now on."""
        return self._subscriptions.add(topic, callback, on_gap=on_gap, is_heard=self.connected)

    async def _listen(self) -> None:
        """Listen for ever, reconnecting 50 ms to 1 s apart."""
        backoff_s = _FIRST_BACKOFF_S
        while True:
            try:
                await self._listen_once()
            except (RedisError, StoreError, OSError) as error:
                _log.warning("signals are not heard: %s", error)
            except Exception:  # noqa: BLE001 - a supervisor: however listening fails, it begins again
                _log.exception("a defect: listening to signals failed in an unforeseen way")
            finally:
                was_heard = self.connected
                self._heard.clear()
            backoff_s = _FIRST_BACKOFF_S if was_heard else min(2 * backoff_s, _LAST_BACKOFF_S)
            await asyncio.sleep(backoff_s)

    async def _listen_once(self) -> None:
        async with _client(await self._locate()) as client, client.pubsub() as channels:
            await channels.psubscribe(f"{self._prefix}*", f"{self._prefix_of(self.address)}*")
            await self._hear(channels)

    async def _hear(self, channels: PubSub) -> None:
        """Deliver messages until Redis falls silent, which raises `StoreUnavailable`."""
        is_pinged = False
        while True:
            message = await channels.get_message(timeout=self._silence_s)
            if message is None and is_pinged:
                raise StoreUnavailable("Redis fell silent")
            if message is None:
                await channels.ping()
            elif message["type"] == "psubscribe" and message["data"] == _PATTERNS:
                self._heard.set()
                self._subscriptions.tell_gap()
            elif message["type"] == "pmessage":
                channel = message["channel"].decode()
                topic = channel.removeprefix(self._prefix).removeprefix(self._prefix_of(self.address))
                self._subscriptions.deliver(topic, message["data"])
            is_pinged = message is None


def _client(endpoint: Endpoint) -> Redis:
    """Return a client that never repeats a command and never waits long."""
    files = TlsFiles() if endpoint.tls is None else endpoint.tls.files
    return Redis(
        host=endpoint.host,
        port=endpoint.port,
        unix_socket_path=endpoint.path,
        db=endpoint.db,
        username=endpoint.credentials.username,
        password=endpoint.credentials.password,
        protocol=2,
        ssl=endpoint.tls is not None,
        ssl_ca_certs=files.authorities,
        ssl_certfile=files.certificate,
        ssl_keyfile=files.key,
        socket_timeout=_CONNECT_TIMEOUT_S,
        socket_connect_timeout=_CONNECT_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
