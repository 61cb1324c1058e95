"""Clients by the hundred: raw HTTP/1.1 on connections of their own, in a thread of their own.

Law: a client writes down what it was told and whether it was told all of it; it never tries again.
"""

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, TypeVar

from outside.caller import CHAT, is_done, user
from outside.wire import Reply, parse, request

T = TypeVar("T")

_READ_BYTES = 1 << 16
_PATIENCE_S = 60.0
_tags = itertools.count(1)


class Question(NamedTuple):
    """A chat request with a key. Its `tag` is in the ledger's tags and at the front of what the provider is asked.

    `leaves_after_bytes` is how much of the answer's body the client reads before it goes away.
    """

    key: str
    tag: str
    model: str = "plain"
    words: int = 3
    stream: bool = False
    max_tokens: int | None = None
    leaves_after_bytes: int | None = None

    def bytes(self) -> bytes:
        """Return the request as it goes over the wire."""
        text = " ".join([self.tag, *["a"] * (self.words - 1)])
        body: dict[str, Any] = {"model": self.model, "messages": user(text), "stream": self.stream}
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        pairs = [
            ("Authorization", f"Bearer {self.key}"),
            ("Content-Type", "application/json"),
            ("X-Gateway-Tags", f"n={self.tag}"),
            ("Connection", "close"),
        ]
        return request("POST", CHAT, pairs, json.dumps(body).encode())


class Told(NamedTuple):
    """What a client was told. `status` is 0 if nothing came; times are monotonic, in seconds."""

    question: Question
    reply: Reply | None
    partial: bytes
    began_s: float
    ended_s: float

    @property
    def status(self) -> int:
        """The status of a whole answer; 0 for none."""
        return 0 if self.reply is None else self.reply.status

    @property
    def is_whole(self) -> bool:
        """Whether the client has got all of a good answer, its stream's terminator included."""
        if self.reply is None or self.reply.status != 200:
            return False
        return not self.question.stream or is_done(self.reply.body.decode())

    @property
    def request_id(self) -> str:
        """The gateway's id of the request, if its head came."""
        for line in self.partial.partition(b"\r\n\r\n")[0].split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"x-request-id":
                return value.strip().decode()
        return ""

    @property
    def took_ms(self) -> float:
        """From the first byte sent to the last byte read."""
        return (self.ended_s - self.began_s) * 1000

    @property
    def error(self) -> dict[str, Any]:
        """The error that a refusal names."""
        assert self.reply is not None
        found: dict[str, Any] = self.reply.json["error"]
        return found


def new_tag() -> str:
    """Return a tag that no other question of this session has."""
    return f"n{next(_tags)}"


class Crowd:
    """Asks a gateway on `port`; made by `gathered`."""

    def __init__(self, port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.port = port
        self._loop = loop

    def begin(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        """Run a coroutine among the clients."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def ask(self, *questions: Question) -> list[Told]:
        """Ask all at once; return when all are answered, or are not."""
        return self.begin(self.ask_all(questions)).result(timeout=_PATIENCE_S * 2)

    async def ask_all(self, questions: Iterable[Question]) -> list[Told]:
        """Ask all at once."""
        return list(await asyncio.gather(*(self.one(question) for question in questions)))

    async def at_rate(self, per_s: float, *, seconds: float, make: Callable[[int], Question]) -> list[Told]:
        """Ask so many a second for so long, whatever becomes of those before."""
        began, asked = time.monotonic(), []
        for number in range(int(per_s * seconds)):
            await asyncio.sleep(max(0.0, began + number / per_s - time.monotonic()))
            asked.append(asyncio.ensure_future(self.one(make(number))))
        return list(await asyncio.gather(*asked))

    async def busy(self, clients: int, *, until: Callable[[], bool], make: Callable[[int], Question]) -> list[Told]:
        """Let so many clients ask one thing after the other until it is time to end."""
        told: list[Told] = []
        numbers = itertools.count()

        async def client() -> None:
            while not until():
                answer = await self.one(make(next(numbers)))
                told.append(answer)
                if answer.reply is None:
                    # A dead worker's place is taken in a moment; asking without pause would only heat the machine.
                    await asyncio.sleep(0.02)

        await asyncio.gather(*(client() for _ in range(clients)))
        return told

    async def one(self, question: Question) -> Told:
        """Ask one thing."""
        began_s = time.monotonic()
        came = bytearray()
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_PATIENCE_S):
                await self._talk(question, came)
        replies, _ = parse(bytes(came)) if question.leaves_after_bytes is None else ([], b"")
        return Told(question, replies[0] if replies else None, bytes(came), began_s, time.monotonic())

    async def _talk(self, question: Question, came: bytearray) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(question.bytes())
            while data := await reader.read(_READ_BYTES):
                came += data
                head = came.find(b"\r\n\r\n")
                most = question.leaves_after_bytes
                if most is not None and head >= 0 and len(came) - head >= most:
                    return
        finally:
            writer.transport.abort()


@contextmanager
def gathered(port: int) -> Iterator[Crowd]:
    """Gather clients of the gateway on a port, on a loop of their own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="crowd", daemon=True)
    thread.start()
    try:
        yield Crowd(port, loop)
    finally:
        asyncio.run_coroutine_threadsafe(_dismiss(), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _dismiss() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
