"""What a provider's wire is to the tests of faults, and how its streams are cut into frames."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from providers.testing import Script

CREDENTIAL = "sk-canary-of-the-provider-9f3b"
"""What the gateway asks with; no client may ever see it."""
SSE, LINES, BINARY = "text/event-stream", "application/x-ndjson", "application/vnd.amazon.eventstream"
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class Wire(NamedTuple):
    """One provider's wire.

    `settings` are the provider's in the file, with `base_url` below the fake's origin; `relays` are the client dialects
    whose bytes it takes unchanged, `unasked` those that go to it by another wire. `kind` is the type of its streams;
    `streams` are the recorded ones, frame by frame, by name, and `whole` is a recorded answer. `said` is how many
    frames of the first stream it takes until there is content.

    `breaks`, `limits` and `refuses` are frames that say an error: of its own, of a limit, and of a request that is too
    long; their words quote the credential. `garbage` and `torn` are frames that cannot be read, and `huge` begins one
    that is larger than any may be. `noise` are frames that say nothing. `refusal` makes the body of an error.

    `spares` are frames, named by a part of them, without which a stream that ends is complete all the same; `trailers`
    are those that follow the end of the answer, so that nothing matters that happens to them.
    """

    name: str
    settings: dict[str, Any]
    model: str
    kind: str
    streams: dict[str, list[bytes]]
    whole: bytes
    breaks: bytes
    limits: bytes | None
    refuses: bytes | None
    garbage: bytes
    torn: bytes
    noise: tuple[bytes, ...]
    huge: bytes
    said: int
    refusal: Callable[[int, str], Any]
    relays: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()
    spares: tuple[bytes, ...] = ()
    trailers: tuple[bytes, ...] = ()
    has_terminator: bool = True

    @property
    def frames(self) -> list[bytes]:
        """The stream that most faults are tried on."""
        return next(iter(self.streams.values()))

    def script(self, frames: list[bytes], **more: Any) -> Script:
        """Return what sends these frames as a stream of this wire."""
        encoded = [base64.b64encode(frame).decode() for frame in frames]
        return Script(**{"frames_base64": encoded, "content_type": self.kind, **more})

    def refused(self, status: int, message: str, *, wait_s: int | None = None) -> Script:
        """Return what refuses a request in this wire's words."""
        body = self.refusal(status, message)
        if wait_s is None:
            return Script(status=status, body=json.dumps(body))
        if self.settings["adapter"] == "native":
            body["error"]["retry_after_s"] = wait_s
        return Script(status=status, body=json.dumps(body), headers={"retry-after": str(wait_s)})


def split(stream: bytes, kind: str) -> list[bytes]:
    """Return the frames of a recorded stream, blank lines and comments with the frame that they come before."""
    return list({SSE: _split_events, LINES: _split_lines, BINARY: _split_binary}[kind](stream))


def _split_events(stream: bytes) -> Iterator[bytes]:
    start = 0
    for end in _EVENT_END.finditer(stream):
        yield stream[start : end.end()]
        start = end.end()


def _split_lines(stream: bytes) -> Iterator[bytes]:
    yield from (line for line in stream.splitlines(keepends=True) if line.strip())


def _split_binary(stream: bytes) -> Iterator[bytes]:
    while stream:
        length = int.from_bytes(stream[:4])
        yield stream[:length]
        stream = stream[length:]
