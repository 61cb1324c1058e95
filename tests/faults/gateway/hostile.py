"""Clients who mean harm: run in a process of its own with a port and how many they are."""

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from outside.wire import request

CHAT = "/v1/chat/completions"
BOMBS = [
    request("GET", "/v1/models", [(f"x-{number}", "a" * 60) for number in range(400)]),
    request("GET", "/v1/models", [("x-a", "a" * 90_000)]),
]


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def silent(port: int) -> None:
    """Connect, and say nothing until thrown out."""
    async with connected(port) as (reader, _):
        await reader.read()


async def slow_head(port: int) -> None:
    """Say a header, a byte at a time."""
    async with connected(port) as (_, writer):
        for byte in itertools.cycle(b"GET /v1/models HTTP/1.1\r\nHost: h\r\n" + b"X-A: b\r\n" * 100):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.5)


async def slow_body(port: int) -> None:
    """Promise a body, and say a byte of it at a time."""
    pairs = [("Authorization", "Bearer sk-gw-none"), ("Content-Type", "application/json"), ("Content-Length", "9000")]
    async with connected(port) as (_, writer):
        writer.write(request("POST", CHAT, pairs))
        while True:
            writer.write(b"{")
            await writer.drain()
            await asyncio.sleep(0.5)


async def header_bomb(port: int) -> None:
    """Say more headers than anybody reads, or one that is longer."""
    for bomb in BOMBS:
        async with connected(port) as (reader, writer):
            writer.write(bomb)
            await reader.read()
        await asyncio.sleep(1)


KINDS = (silent, slow_head, slow_body, header_bomb)


async def attack(port: int, clients: int) -> None:
    """Let so many clients of every kind come, and come again whenever they are thrown out, until this process ends."""

    async def one(number: int) -> None:
        await asyncio.sleep(number / clients)  # not all in one moment
        while True:
            with suppress(OSError, asyncio.IncompleteReadError):
                await KINDS[number % len(KINDS)](port)
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one(number) for number in range(clients)))


if __name__ == "__main__":
    asyncio.run(attack(int(sys.argv[1]), int(sys.argv[2])))
