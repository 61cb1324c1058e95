"""Logs: one JSON object a line. Law: allow-listed fields; the request line is a struct appended to a buffer."""

import asyncio
import logging
import os
import select
import sys
import traceback
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec

_FLUSH_S = 0.5
_FLUSH_BYTES = 64 * 1024
_MAX_BUFFER_BYTES = 4 << 20
_PIECE_BYTES = 4096
_MAX_FRAMES = 12


class JsonFormatter(logging.Formatter):
    """Formats a record of the standard library; tracebacks come without locals."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0] is not None:
            kind, _, trace = record.exc_info
            frames = traceback.extract_tb(trace)[-_MAX_FRAMES:]
            line["error"] = kind.__name__
            line["stack"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
        return msgspec.json.encode(line).decode()


def configure_logging(level: str) -> None:
    """Send the standard library's logs to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for chatty in ("httpx", "httpcore", "asyncio", "sqlalchemy", "alembic", "aiosqlite"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class RequestLine(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What is logged of one request. Nothing here is a body, a header or a secret."""

    time: datetime
    level: str
    logger: str
    request_id: str
    method: str
    route: str
    status: int
    duration_ms: int
    overhead_ms: float
    key_id: UUID | None = None
    model: str | None = None
    provider: str | None = None
    attempts: int = 0
    stream: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nusd: int | None = None
    error_code: str | None = None


class RequestLog:
    """Request lines on their way out: buffered, written every half second, dropped rather than waited for.

    A reader that is too slow stops nobody: what it has not taken stays in a buffer of 4 MiB, and what does not fit
    there is dropped and counted.
    """

    def __init__(self, *, descriptor: int = 2, enabled: bool = True) -> None:
        """Write to a file descriptor, standard error by default."""
        self._descriptor = descriptor
        self.is_enabled = enabled
        self._buffer = bytearray()
        self._encode = msgspec.json.Encoder().encode_into
        self._timer: asyncio.TimerHandle | None = None
        self._is_held_up = False
        self.dropped = 0

    def add(self, line: RequestLine) -> None:
        """Take a line."""
        if not self.is_enabled:
            return
        if len(self._buffer) > _MAX_BUFFER_BYTES:
            self.dropped += 1
            return
        self._encode(line, self._buffer, -1)
        self._buffer += b"\n"
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._tick)
        elif len(self._buffer) > _FLUSH_BYTES and not self._is_held_up:
            self.flush()

    def _tick(self) -> None:
        self._timer = None
        self.flush()
        if self._buffer:
            self._timer = asyncio.get_running_loop().call_later(_FLUSH_S, self._tick)

    def flush(self) -> None:
        """Write what is buffered, as far as that needs no waiting."""
        try:
            while self._buffer and self._may_write():
                del self._buffer[: os.write(self._descriptor, self._buffer[:_PIECE_BYTES])]
        except BlockingIOError:
            pass
        except OSError:
            self.dropped += self._buffer.count(b"\n")
            self._buffer.clear()
        self._is_held_up = bool(self._buffer)

    def _may_write(self) -> bool:
        """Whether a piece can be written at once: so much room a pipe has if it has any."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLOUT)
        return bool(poll.poll(0))
