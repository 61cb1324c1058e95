"""Clients that ask the same at the same time, each on a socket of its own, and hear when what came."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import uuid4

from faults.dialects.asking import Said, read
from outside.caller import Caller
from outside.forms import CHAT, CHAT_STREAM, Form
from outside.wire import request
from servers.caching import Stand

from providers.testing import Script

MODEL = "fake-model"
_RESET = struct.pack("ii", 1, 0)
_WITHIN_S = 20.0


class Told(NamedTuple):
    """What a client heard, and when its answer began and ended (monotonic seconds)."""

    said: Said
    first_s: float
    last_s: float

    @property
    def cache(self) -> str:
        """What the answer says of the cache."""
        return self.said.headers.get("x-gateway-cache", "")

    @property
    def text(self) -> str:
        """The body."""
        return self.said.body.decode()


class Client:
    """One client of one request: it may listen, dawdle or leave."""

    def __init__(
        self,
        caller: Caller,
        form: Form,
        prompt: str,
        *,
        model: str = MODEL,
        headers: Iterable[tuple[str, str]] = (),
        window_bytes: int = 0,
        **more: Any,
    ) -> None:
        """Make one; `more` goes into the body.

        `window_bytes` is how much may be under way to it, if it is to be felt that it does not read.
        """
        pairs = [
            ("authorization", f"Bearer {caller.key}"),
            ("content-type", "application/json"),
            ("connection", "close"),
            *headers,
        ]
        body = json.dumps(form.body(model, prompt) | more).encode()
        self._data = request("POST", form.path(model), pairs, body)
        self._port = caller.gateway.port
        self._window_bytes = window_bytes
        self.form = form
        self.raw = b""
        self.first_s = 0.0

    async def send(self) -> "Client":
        """Ask."""
        sock = socket.socket()
        sock.setblocking(False)
        if self._window_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._window_bytes)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self._port))
        self._reader, self._writer = await asyncio.open_connection(sock=sock, limit=self._window_bytes or 1 << 16)
        self._writer.write(self._data)
        return self

    async def hear(self, part: bytes) -> None:
        """Read until something has come."""
        async with asyncio.timeout(_WITHIN_S):
            while part not in self.raw:
                piece = await self._reader.read(1 << 16)
                assert piece, f"the gateway left first: {self.raw!r}"
                self._take(piece)

    async def listen(self) -> Told:
        """Read to the end."""
        try:
            async with asyncio.timeout(_WITHIN_S):
                while piece := await self._reader.read(1 << 16):
                    self._take(piece)
        finally:
            self._writer.close()
        return Told(read(self.raw), self.first_s, time.monotonic())

    def leave(self) -> None:
        """Hang up."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._writer.close()

    def _take(self, piece: bytes) -> None:
        self.raw += piece
        if not self.first_s and b"\r\n\r\n" in self.raw:
            self.first_s = time.monotonic()


async def ask(caller: Caller, form: Form, prompt: str, **more: Any) -> Told:
    """Ask and listen."""
    client = Client(caller, form, prompt, **more)
    return await (await client.send()).listen()


def prompt_of(stand: Stand, *scripts: Script) -> str:
    """Return a prompt of its own, to which the provider answers by these scripts in turn, the last one for good."""
    name = f"s{uuid4().hex}"
    stand.provider.script(*scripts, model=name)
    return f"[[script {name}]] say it"


def calls_of(stand: Stand, prompt: str) -> int:
    """Return how often the provider was asked."""
    name = prompt.partition("script ")[2].partition("]]")[0]
    return len(stand.provider.journal.for_script(name))


async def called(stand: Stand, prompt: str, times: int = 1) -> None:
    """Wait until the provider has been asked so often."""
    async with asyncio.timeout(_WITHIN_S):
        while calls_of(stand, prompt) < times:  # noqa: ASYNC110 - it happens in another thread
            await asyncio.sleep(0.005)


__all__ = ["CHAT", "CHAT_STREAM", "Client", "Told", "ask", "called", "calls_of", "prompt_of"]
