"""The load driver: one process, raw HTTP/1.1 on asyncio protocols, a closed loop on each connection.

Law: an answer counts only when every byte of it is right. The driver reads its `Order` as JSON from standard input,
prints one `Measured` as JSON and ends, within a bounded time whatever the server does.
"""

import asyncio
import gc
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Final, cast

import httptools
import msgspec
import uvloop
from processes import cpu_ns
from traffic import CHUNK_GAPS_MS, CHUNKS, DONE, STAMPED_FRAME, answer, request_pieces, stream_frames, stream_s

_DRAIN_S: Final = 15.0
_PAUSE_AFTER_ERROR_S: Final = 0.02
_MAX_ERRORS: Final = 2000
_NS_PER_MS: Final = 1e6
_OK: Final = 200


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure; `server_pids` and `store_pids` are the processes whose CPU time is charged to the requests."""

    port: int
    key: str
    model: str
    stream: bool
    connections: int
    body_bytes: int
    warm_s: float
    window_s: float
    server_pids: tuple[int, ...]
    store_pids: tuple[int, ...] = ()

    @property
    def paced(self) -> bool:
        """Whether the chunks of its streams are stamped and take their time."""
        return self.model in CHUNK_GAPS_MS


class Spread(msgspec.Struct, frozen=True):
    """Two percentiles of one quantity in milliseconds."""

    p50: float
    p99: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What one window gave. `total` and `failures` also count the requests before and after the window.

    `transit` is the time to the first chunk less the upstream's own, `lateness` a chunk's arrival less its stamp; both
    only with paced streams. `failures` has the kinds `connect`, `status`, `torn`, `wrong`, `protocol`, `hung`
    and `gone` (a process of the server ended).
    """

    requests: int
    window_ns: int
    server_cpu_ns: int
    store_cpu_ns: int
    driver_cpu_ns: int
    latency: Spread | None
    ttft: Spread | None
    transit: Spread | None
    lateness: Spread | None
    chunks: int
    total: int
    failures: dict[str, int]
    first_failure: str | None


class Load:
    """The state that all connections of one measurement share."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.before, self.after = request_pieces(
            model=order.model, stream=order.stream, key=order.key, port=order.port, body_bytes=order.body_bytes
        )
        self.measuring = False
        self.stopping = False
        self.quiet = asyncio.Event()
        self.in_flight = 0
        self.total = 0
        self.chunks = 0
        self.latencies_ns: list[int] = []
        self.ttfts_ns: list[int] = []
        self.transits_ns: list[int] = []
        self.lateness_ns: list[int] = []
        self.failures: Counter[str] = Counter()
        self.first_failure: str | None = None
        # Prompts are unique across measurements, so that no cache anywhere can answer for the upstream.
        self._serial = secrets.randbits(32) << 32

    def next_canary(self) -> bytes:
        """Return 16 hexadecimal digits that no other request of any measurement carries."""
        self._serial += 1
        return b"%016x" % self._serial

    def fail(self, kind: str, detail: str) -> None:
        """Count a failure, keep the words of the first, and give up on a server that only fails."""
        self.failures[kind] += 1
        self.first_failure = self.first_failure or f"{kind}: {detail}"
        if self.failures.total() >= _MAX_ERRORS:
            self.stopping = True


class Caller(asyncio.Protocol):
    """One connection that asks, checks the answer, and asks again."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport
        self._parser = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._whole = False
        self._may_ask_again = False
        self._waiting = False
        self._canary = b""
        self._sent_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask at once; callers of paced streams spread over one stream's length so that they do not march in step."""
        self._transport = cast("asyncio.Transport", transport)
        if spread_s := stream_s(self._load.order.model):
            asyncio.get_running_loop().call_later(random.random() * spread_s, self.ask)  # noqa: S311  not a secret
        else:
            self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count an answer that was cut short, and connect again."""
        if self._waiting:
            self._settle()
            got = b"".join(self._body)
            self._load.fail("torn", f"connection lost ({exc}) after {len(got)} bytes: {got[-200:]!r}")
        if not self._load.stopping:
            loop = asyncio.get_running_loop()
            loop.call_later(_PAUSE_AFTER_ERROR_S, lambda: loop.create_task(connect(self._load)))

    def ask(self) -> None:
        """Send the next request, unless the measurement is over."""
        load = self._load
        if load.stopping or self._transport.is_closing():
            return
        load.in_flight += 1
        load.total += 1
        self._waiting = True
        self._canary = load.next_canary()
        self._body = []
        self._transport.write(load.before + self._canary + load.after)
        self._sent_ns = time.monotonic_ns()

    def data_received(self, data: bytes) -> None:
        """Parse, and check the answer once it is whole."""
        now_ns = time.monotonic_ns()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._load.fail("protocol", f"{error!r} in {data[:200]!r}")
            self._leave()
            return
        if self._whole:
            self._whole = False
            self._finish(now_ns)

    def on_body(self, body: bytes) -> None:
        """Keep a piece of the body; the parser calls this."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Note that the answer is whole; the parser calls this while it still reads, and then forgets the message."""
        self._whole = True
        self._may_ask_again = self._parser.should_keep_alive()

    def _finish(self, now_ns: int) -> None:
        load = self._load
        self._settle()
        body = b"".join(self._body)
        if failure := self._fault_of(body):
            load.fail(*failure)
            self._leave()
            return
        if load.measuring:
            load.latencies_ns.append(now_ns - self._sent_ns)
            load.chunks += CHUNKS if load.order.stream else 0
        if self._may_ask_again:
            self.ask()
        else:
            self._leave()

    def _fault_of(self, body: bytes) -> tuple[str, str] | None:
        """Return the kind and the detail of what is wrong with a whole answer, or None."""
        if (status := self._parser.get_status_code()) != _OK:
            return "status", f"{status} {body[:300]!r}"
        if self._load.order.stream and not body.endswith(DONE):
            return "torn", f"ends without [DONE]: {body[-300:]!r}"
        if not self._is_right(body):
            return "wrong", f"not the bytes of {self._canary!r}: {body[:300]!r}"
        return None

    def _is_right(self, body: bytes) -> bool:
        if not self._load.order.stream:
            return body == answer(self._canary)
        return body == b"".join(stream_frames(self._canary))

    def _settle(self) -> None:
        """Stop waiting for an answer, good or bad."""
        self._waiting = False
        self._load.in_flight -= 1
        if self._load.stopping and not self._load.in_flight:
            self._load.quiet.set()

    def _leave(self) -> None:
        """Drop the connection; `connection_lost` opens the next."""
        if self._waiting:
            self._settle()
        self._transport.abort()


class PacedCaller(Caller):
    """Reads the stamps of a paced stream as the chunks arrive."""

    def __init__(self, load: Load) -> None:
        super().__init__(load)
        self._unread = b""
        self._stamps = 0

    def ask(self) -> None:
        """Send the next request with nothing read yet."""
        self._unread = b""
        self._stamps = 0
        super().ask()

    def on_body(self, body: bytes) -> None:
        """Keep a piece, and time the chunks that it completes."""
        super().on_body(body)
        now_ns = time.monotonic_ns()
        self._unread += body
        end = 0
        for match in STAMPED_FRAME.finditer(self._unread):
            self._time(now_ns, sent_ns=int(match[1]), after_ns=int(match[2]))
            end = match.end()
        self._unread = self._unread[end:]

    def _time(self, now_ns: int, *, sent_ns: int, after_ns: int) -> None:
        load = self._load
        self._stamps += 1
        if not load.measuring:
            return
        load.lateness_ns.append(now_ns - sent_ns)
        if self._stamps == 1:
            load.ttfts_ns.append(now_ns - self._sent_ns)
            load.transits_ns.append(now_ns - self._sent_ns - after_ns)

    def _is_right(self, body: bytes) -> bool:
        """Compare all but the stamps: their number and every canary."""
        return self._stamps == CHUNKS and body.count(self._canary) == CHUNKS + 1


async def connect(load: Load) -> None:
    """Open one more connection; a refusal is a failure and is tried again."""
    kind = PacedCaller if load.order.paced else Caller
    loop = asyncio.get_running_loop()
    while not load.stopping:
        try:
            await loop.create_connection(lambda: kind(load), "127.0.0.1", load.order.port)
        except OSError as error:
            load.fail("connect", str(error))
            await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
        else:
            return


async def measure(order: Order) -> Measured:
    """Warm up, measure one window, let the last answers come in, and say what happened."""
    load = Load(order)
    charged = (*order.server_pids, *order.store_pids)
    async with asyncio.TaskGroup() as group:
        for _ in range(order.connections):
            group.create_task(connect(load))
    await asyncio.sleep(order.warm_s)
    before, own_before, start_ns = cpu_ns(charged), time.process_time_ns(), time.monotonic_ns()
    load.measuring = True
    await asyncio.sleep(order.window_s)
    load.measuring = False
    after, own_after, end_ns = cpu_ns(charged), time.process_time_ns(), time.monotonic_ns()
    load.stopping = True
    await _drain(load)
    if gone := set(order.server_pids) - after.keys():
        load.fail("gone", f"server processes {sorted(gone)} ended")
    return Measured(
        requests=len(load.latencies_ns),
        window_ns=end_ns - start_ns,
        server_cpu_ns=_spent(order.server_pids, before, after),
        store_cpu_ns=_spent(order.store_pids, before, after),
        driver_cpu_ns=own_after - own_before,
        latency=spread(load.latencies_ns),
        ttft=spread(load.ttfts_ns),
        transit=spread(load.transits_ns),
        lateness=spread(load.lateness_ns),
        chunks=len(load.lateness_ns) if order.paced else load.chunks,
        total=load.total,
        failures=dict(load.failures),
        first_failure=load.first_failure,
    )


def spread(values_ns: Sequence[int]) -> Spread | None:
    """Return the percentiles of `values_ns` in milliseconds, or None if there are none."""
    if not values_ns:
        return None
    ordered = sorted(values_ns)
    last = len(ordered) - 1
    return Spread(ordered[round(last * 0.5)] / _NS_PER_MS, ordered[round(last * 0.99)] / _NS_PER_MS)


def _spent(pids: Sequence[int], before: dict[int, int], after: dict[int, int]) -> int:
    """Return what the processes used between two readings; one that ended in between counts for nothing."""
    return sum(after[pid] - before[pid] for pid in pids if pid in before and pid in after)


async def _drain(load: Load) -> None:
    """Wait for the answers that are still on their way; those that never come are failures."""
    if not load.in_flight:
        return
    try:
        await asyncio.wait_for(load.quiet.wait(), _DRAIN_S)
    except TimeoutError:
        load.failures["hung"] += load.in_flight
        load.first_failure = load.first_failure or f"hung: {load.in_flight} requests unanswered after {_DRAIN_S:.0f} s"


if __name__ == "__main__":
    gc.disable()  # a short life, and a collection in the window would be taken for the server's latency
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(measure(asked))) + b"\n")
