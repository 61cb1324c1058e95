"""One cell of the matrix at a time, many at once: a client asks over a socket of its own, and what it heard is kept."""

import asyncio
import json
import re
import socket
import struct
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple

from faults.dialects.clients import Client
from faults.dialects.wires import Wire
from outside.wire import request

AT_ONCE = 64
_WITHIN_S = 25.0
_PROMPT_LENGTH = 150
_RESET = struct.pack("ii", 1, 0)
_HEX = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?7[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_TIMES = re.compile(r'"(created|created_at|completed_at|ttft_ms|duration_ms)": ?[0-9.]+')


class Said(NamedTuple):
    """What a client heard: `is_torn` is whether the connection ended before the body did."""

    status: int
    headers: dict[str, str]
    body: bytes
    raw: bytes
    is_torn: bool

    @property
    def request_id(self) -> str:
        """The id by which the ledger knows the request."""
        return self.headers["x-request-id"]


class Cell(NamedTuple):
    """A client of a provider; `name` is unique in a test, and names the script of what the provider does."""

    wire: Wire
    client: Client
    name: str
    is_quick: bool = False

    @property
    def model(self) -> str:
        """The public name of the model; the quick one has short clocks."""
        return f"{self.wire.name}-quick" if self.is_quick else self.wire.name

    @property
    def is_relayed(self) -> bool:
        """Whether the provider's bytes go to the client as they are."""
        return self.client.name in self.wire.relays and self.wire.settings["adapter"] != "native"

    def bytes(self, key: str, *, stream: bool, headers: Iterable[tuple[str, str]] = ()) -> bytes:
        """Return the request."""
        # As long for every cell, for what a prompt costs may be estimated by its length.
        text = f"Say it again [[script {self.name}]]".ljust(_PROMPT_LENGTH, ".")
        body = self.client.ask(self.model, text, stream)
        pairs = [("authorization", f"Bearer {key}"), ("content-type", "application/json"), ("connection", "close")]
        path = self.client.path(self.model, stream)
        return request("POST", path, [*pairs, *headers], json.dumps(body).encode())


async def ask(port: int, data: bytes) -> Said:
    """Send a request and read until the gateway closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        raw = await asyncio.wait_for(_read_out(reader), _WITHIN_S)
    finally:
        writer.close()
    return read(raw)


async def _read_out(reader: asyncio.StreamReader) -> bytes:
    gathered = b""
    try:
        while piece := await reader.read(1 << 16):
            gathered += piece
    except ConnectionError:
        pass
    return gathered


def read(raw: bytes) -> Said:
    """Read a response, as much of it as came."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = [line.partition(":") for line in lines]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if "chunked" not in headers.get("transfer-encoding", ""):
        return Said(int(first.split()[1]), headers, rest, raw, len(rest) < int(headers.get("content-length", "0")))
    body, is_torn = _dechunked(rest)
    return Said(int(first.split()[1]), headers, body, raw, is_torn)


def _dechunked(rest: bytes) -> tuple[bytes, bool]:
    body = b""
    while True:
        size_text, separator, rest = rest.partition(b"\r\n")
        size = int(size_text, 16) if separator else -1
        if size <= 0:
            return body, size < 0
        body, rest = body + rest[:size], rest[size + 2 :]


async def leave(port: int, data: bytes, *, until: Callable[[bytes], Awaitable[bool]], by_reset: bool) -> float:
    """Ask, read until it is time to leave, and leave; return when that was, in monotonic seconds."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        came = b""
        while not await until(came):
            try:
                came += await asyncio.wait_for(reader.read(1 << 16), 0.02)
            except TimeoutError:
                continue
            assert not reader.at_eof(), f"the gateway left first: {came!r}"
        if by_reset:
            handle: socket.socket = writer.get_extra_info("socket")
            handle.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    finally:
        left_at = time.monotonic()
        writer.close()
    return left_at


def comparable(frames: list[Any]) -> list[Any]:
    """Return frames without what differs from request to request: ids of the gateway's own, and times."""
    text = _HEX.sub("ID", json.dumps(frames))
    found: list[Any] = json.loads(_TIMES.sub(r'"\1": 0', text))
    return found


async def for_all(
    cells: Iterable[Cell], check: Callable[[Cell], Awaitable[Any]], *, at_once: int = AT_ONCE
) -> dict[str, Any]:
    """Check cells, many at once; return what each check did, by the cell's name. A failure names its cells."""
    gate = asyncio.Semaphore(at_once)

    async def checked(cell: Cell) -> Any:
        async with gate:
            return await check(cell)

    known = list(cells)
    assert len({cell.name for cell in known}) == len(known)
    results = await asyncio.gather(*map(checked, known), return_exceptions=True)
    failures = {
        cell.name: f"{type(result).__name__}: {result}"
        for cell, result in zip(known, results, strict=True)
        if isinstance(result, BaseException)
    }
    assert not failures, "\n\n".join(f"{name}\n{text[:1500]}" for name, text in list(failures.items())[:12])
    return dict(zip([cell.name for cell in known], results, strict=True))
