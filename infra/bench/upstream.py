"""A fake OpenAI-compatible upstream that costs next to nothing: raw bytes on an asyncio protocol, answers built once.

It answers `POST` with the unary or the streamed answer of `traffic`, by `"stream": true` in the body. A stream is
written back to back, one `write(2)` per chunk, as a busy vendor's server does; for the models `bench-paced` and
`bench-crowd` the first chunk leaves after 50 ms and then one each 10 ms or 50 ms, stamped. It prints its port on its
first line and ends at SIGTERM.
"""

import asyncio
import gc
import os
import re
import time
from typing import Final, cast

import uvloop
from traffic import (
    CANARY_LENGTH,
    CANARY_MARK,
    CHUNK_GAPS_MS,
    CHUNKS,
    FIRST_CHUNK_MS,
    answer,
    paced_frame,
    stream_frames,
)

_STREAM: Final = re.compile(rb'"stream"\s*:\s*true')
_PACED: Final = [(f'"{model}"'.encode(), gap_ms) for model, gap_ms in CHUNK_GAPS_MS.items()]
_LENGTH: Final = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:\s*chunked", re.IGNORECASE)
_UNARY_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: req_bench\r\nContent-Length: %d\r\n\r\n"
)
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nX-Request-Id: req_bench\r\n"
    b"Cache-Control: no-cache\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_END: Final = b"0\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection: cuts requests out of the bytes and answers each; one request at a time, keep-alive."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport
        self._fd = -1
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and its descriptor for the writes that must not be merged."""
        self._transport = cast("asyncio.Transport", transport)
        self._fd = transport.get_extra_info("socket").fileno()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        """Stop a paced stream whose reader has left."""
        self._fd = -1
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer as soon as a request is whole."""
        self._buffer = self._buffer + data if self._buffer else data
        while self._buffer and (cut := cut_request(self._buffer)) is not None:
            body, self._buffer = cut
            self._answer(body)

    def _answer(self, body: bytes) -> None:
        start = body.find(CANARY_MARK) + len(CANARY_MARK)
        canary = body[start : start + CANARY_LENGTH]
        if not _STREAM.search(body):
            content = answer(canary)
            self._transport.write(_UNARY_HEAD % len(content) + content)
        elif gap_ms := next((gap_ms for name, gap_ms in _PACED if name in body), 0):
            self._pace(canary, gap_ms)
        else:
            self._blast(canary)

    def _blast(self, canary: bytes) -> None:
        """Write a stream with one system call per chunk; the event loop would merge them into one."""
        pieces = [_http_chunk(frame) for frame in stream_frames(canary)]
        pieces[0] = _STREAM_HEAD + pieces[0]
        pieces[-1] += _END
        for number, piece in enumerate(pieces):
            written = self._write_now(piece)
            if written < len(piece):
                self._transport.write(piece[written:] + b"".join(pieces[number + 1 :]))
                return

    def _write_now(self, piece: bytes) -> int:
        """Write past the loop and return how much was taken; nothing is, while the loop itself holds bytes."""
        if self._fd < 0 or self._transport.get_write_buffer_size():
            return 0
        try:
            return os.write(self._fd, piece)
        except BlockingIOError:
            return 0
        except ConnectionError:
            self._transport.abort()
            return len(piece)

    def _pace(self, canary: bytes, gap_ms: int) -> None:
        loop = asyncio.get_running_loop()
        asked_ns = time.monotonic_ns()
        start = loop.time()
        self._transport.write(_STREAM_HEAD)

        def step(number: int) -> None:
            now_ns = time.monotonic_ns()
            frame = paced_frame(number, canary=canary, sent_ns=now_ns, after_ns=now_ns - asked_ns)
            self._transport.write(_http_chunk(frame))
            if number + 1 < CHUNKS:
                due = start + (FIRST_CHUNK_MS + gap_ms * (number + 1)) / 1000
                self._timer = loop.call_at(due, step, number + 1)
                return
            usage, done = stream_frames(canary)[CHUNKS:]
            self._transport.write(_http_chunk(usage) + _http_chunk(done) + _END)

        self._timer = loop.call_at(start + FIRST_CHUNK_MS / 1000, step, 0)


def cut_request(buffer: bytes) -> tuple[bytes, bytes] | None:
    """Return the body of the first request and what follows it, or None while it is not whole."""
    head_end = buffer.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    start = head_end + 4
    if match := _LENGTH.search(buffer, 0, start):
        end = start + int(match[1])
        return (buffer[start:end], buffer[end:]) if len(buffer) >= end else None
    if _CHUNKED.search(buffer, 0, start):
        return _cut_chunked(buffer, start)
    return b"", buffer[start:]


def _cut_chunked(buffer: bytes, start: int) -> tuple[bytes, bytes] | None:
    """Return a chunked body (no trailers) and what follows it, or None while it is not whole."""
    pieces: list[bytes] = []
    while (line_end := buffer.find(b"\r\n", start)) >= 0:
        size = int(buffer[start:line_end].split(b";")[0], 16)
        start = line_end + 2
        if len(buffer) < start + size + 2:
            return None
        if size == 0:
            return b"".join(pieces), buffer[start + 2 :]
        pieces.append(buffer[start : start + size])
        start += size + 2
    return None


def _http_chunk(frame: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(frame), frame)


async def serve() -> None:
    """Listen on a free port of the loopback interface until the process is ended."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Upstream, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.freeze()
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
