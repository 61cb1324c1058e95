"""What a client has sent and what it was sent, as far as that is kept. Law: made only for requests whose bodies are.

It stands between a request and the server's own callables, so that whatever is read and said is in it: a whole answer,
each part of a stream, a keep-alive comment, an error. Headers are not: credentials are among them.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

MOST_BYTES = 65_536
"""How much of a body is kept; a longer one is cut there."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Excerpt:
    """The beginning of a body, and how long all of it is."""

    __slots__ = ("data", "size_bytes")

    def __init__(self) -> None:
        self.data = bytearray()
        self.size_bytes = 0

    def add(self, part: bytes) -> None:
        """Take the next part of the body."""
        self.size_bytes += len(part)
        room = MOST_BYTES - len(self.data)
        if room > 0:
            self.data += part[:room]


class Transcript:
    """Both bodies of one request; `sealed` is what is kept of them, once that has been made: then they are let go."""

    __slots__ = ("_receive", "_send", "answer", "request", "sealed")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.request = Excerpt()
        self.answer = Excerpt()
        self.sealed: bytes | None = None

    @property
    def held_bytes(self) -> int:
        """How much memory the bodies take."""
        return len(self.request.data) + len(self.answer.data) + len(self.sealed or b"")

    def seal(self, sealed: bytes) -> None:
        """Hold what was sealed instead of the bodies."""
        self.sealed = sealed
        self.request, self.answer = Excerpt(), Excerpt()

    async def receive(self) -> Message:
        """Return the server's next message, of which the body is noted."""
        message = await self._receive()
        body = message.get("body")
        if body:
            self.request.add(body)
        return message

    def send(self, message: Message) -> Awaitable[None]:
        """Pass a message on, of which the body is noted."""
        body = message.get("body")
        if body:
            self.answer.add(body)
        return self._send(message)
