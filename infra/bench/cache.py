"""What an exact hit costs, beside a miss and beside a request that the cache has no part in.

    .venv/bin/python infra/bench/cache.py [--rounds 5] [--window 2] [--redis] [--gate]

One worker, 32 callers, unary answers of an upstream that answers at once, in rounds that take turns. Figures are CPU
time of the gateway's processes per request. `--gate` exits with 1 if a hit costs more than 0.8 of a miss.
"""

import argparse
import asyncio
import contextlib
import statistics
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from contenders import Direct, Gateway, Running, gateway_command
from processes import cpu_ns
from stores import started_stores
from traffic import CANARY_LENGTH, MODEL, PROMPT_BYTES, request_pieces

CALLERS: Final = 32
MOST: Final = 0.8
_KINDS: Final = ("off", "miss", "hit")
_HEADER: Final = b"x-gateway-cache: exact\r\n"
_WARM_S: Final = 0.3
_END_OF_HEAD: Final = b"\r\n\r\n"


def main() -> int:
    """Print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--window", type=float, default=2.0, help="seconds of each measured window")
    parser.add_argument("--redis", action="store_true", help="on Redis and PostgreSQL")
    parser.add_argument("--gate", action="store_true", help="exit with 1 if a hit costs more than 0.8 of a miss")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="bench-cache-") as folder,
        _serving(Path(folder), redis=asked.redis) as server,
    ):
        rounds = [asyncio.run(_round(server, window_s=asked.window)) for _ in range(asked.rounds)]
    for kind in _KINDS:
        spent = [each[kind] for each in rounds]
        print(f"{kind:5} {statistics.median(spent):7.1f} µs CPU/request   ({min(spent):.1f} to {max(spent):.1f})")
    ratio = statistics.median(each["hit"] / each["miss"] for each in rounds)
    print(f"hit / miss  {ratio:.2f}   (at most {MOST})")
    return int(asked.gate and ratio > MOST)


@contextlib.contextmanager
def _serving(folder: Path, *, redis: bool) -> Iterator[Running]:
    """Run the upstream and the gateway for the length of the block."""
    with contextlib.ExitStack() as stack:
        places = [folder / name for name in ("upstream", "gateway")]
        for place in places:
            place.mkdir()
        upstream = stack.enter_context(Direct().start(places[0]))
        stores = stack.enter_context(started_stores()) if redis else None
        gateway = Gateway(
            name="gateway", command=gateway_command(), upstream_port=upstream.unary_port, stores=stores, is_limited=True
        )
        yield stack.enter_context(gateway.start(places[1]))


async def _round(server: Running, *, window_s: float) -> dict[str, float]:
    """Return what a request of each kind costs, in microseconds."""
    return {kind: await _cost_us(server, kind, window_s=window_s) for kind in _KINDS}


async def _cost_us(server: Running, kind: str, *, window_s: float) -> float:
    load = _Load(server, kind)
    callers = [asyncio.ensure_future(load.call()) for _ in range(CALLERS)]
    await asyncio.sleep(_WARM_S)
    pids = server.pids()
    before, begun = cpu_ns(pids), load.answered
    await asyncio.sleep(window_s)
    after, answered = cpu_ns(pids), load.answered - begun
    load.is_over = True
    await asyncio.gather(*callers)
    spent = sum(after[pid] - before[pid] for pid in pids if pid in before and pid in after)
    return spent / answered / 1_000


class _Load:
    """Callers that each ask again as soon as they are answered."""

    def __init__(self, server: Running, kind: str) -> None:
        self._port = server.unary_port
        self._kind = kind
        self._head, self._rest = request_pieces(
            model=MODEL, stream=False, key=server.key, port=server.unary_port, body_bytes=PROMPT_BYTES
        )
        if kind != "off":
            self._head = self._head.replace(b"\r\n", b"\r\n" + _HEADER, 1)
        self._expected = {"off": b"off", "miss": b"miss", "hit": b"exact"}[kind]
        self.answered = 0
        self.is_over = False

    def _request(self) -> bytes:
        number = 0 if self._kind == "hit" else uuid.uuid4().int
        return self._head + f"{number:0{CANARY_LENGTH}d}"[:CANARY_LENGTH].encode() + self._rest

    async def call(self) -> None:
        """Ask until the window is over."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        while not self.is_over:
            writer.write(self._request())
            head = (await reader.readuntil(_END_OF_HEAD)).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            status = head.partition(b"x-gateway-cache: ")[2].partition(b"\r\n")[0]
            if status != self._expected and self.answered > CALLERS:
                raise SystemExit(f"{self._kind}: the gateway answers with x-gateway-cache: {status.decode()}")
            self.answered += 1
        writer.close()


if __name__ == "__main__":
    sys.exit(main())
