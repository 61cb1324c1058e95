"""Raw HTTP/1.1 over a socket, for requests that no client library would send."""

import json
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

_READ_BYTES = 1 << 16


@dataclass(frozen=True)
class Reply:
    """One response; header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header's value; `None` if it is absent."""
        return next((value for found, value in self.headers if found == name), None)

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Talk:
    """What came back on one connection. `is_closed` is whether the server ended it; `rest` could not be parsed."""

    replies: tuple[Reply, ...]
    rest: bytes
    is_closed: bool
    took_s: float


def request(
    method: str, target: str, headers: Iterable[tuple[str, str | bytes]] = (), body: bytes = b"", *, host: str = "h"
) -> bytes:
    """Return the bytes of a request; `host` empty sends none, and Content-Length is added unless it is given."""
    pairs = [*([("Host", host)] if host else []), *headers]
    names = {name.lower() for name, _ in pairs}
    if body and not names & {"content-length", "transfer-encoding"}:
        pairs.append(("Content-Length", str(len(body))))
    lines = [f"{method} {target} HTTP/1.1".encode("latin-1")]
    lines += [name.encode() + b": " + (v if isinstance(v, bytes) else v.encode("latin-1")) for name, v in pairs]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(body: bytes, *, extension: bytes = b"") -> bytes:
    """Return a body as one chunk and the end."""
    return b"%x" % len(body) + extension + b"\r\n" + body + b"\r\n0\r\n\r\n"


def talk(port: int, data: bytes, *, replies: int = 1, half_closes: bool = False, within_s: float = 15) -> Talk:
    """Send bytes on a new connection; return when so many replies came, the server closed, or the time is over.

    `half_closes` ends our side after the bytes.
    """
    began = time.monotonic()
    gathered, is_closed = b"", False
    with socket.create_connection(("127.0.0.1", port), timeout=within_s) as connection:
        _send(connection, data, half_closes=half_closes)
        while len(parse(gathered)[0]) < replies and not is_closed:
            left_s = began + within_s - time.monotonic()
            if left_s <= 0:
                break
            connection.settimeout(left_s)
            try:
                piece = connection.recv(_READ_BYTES)
            except TimeoutError:
                break
            except ConnectionError:
                piece = b""
            gathered += piece
            is_closed = not piece
    parsed, rest = parse(gathered)
    return Talk(tuple(parsed), rest, is_closed, time.monotonic() - began)


def _send(connection: socket.socket, data: bytes, *, half_closes: bool) -> None:
    """Send what the server takes: it may refuse, and close, before it has read everything."""
    try:
        connection.sendall(data)
        if half_closes:
            connection.shutdown(socket.SHUT_WR)
    except ConnectionError:
        return


def parse(data: bytes) -> tuple[list[Reply], bytes]:
    """Return the complete replies at the beginning of `data`, and what follows them."""
    found: list[Reply] = []
    while True:
        head, separator, rest = data.partition(b"\r\n\r\n")
        if not separator:
            return found, data
        status_line, *lines = head.decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines]
        headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
        status = int(status_line.split()[1])
        body, after = _body(dict(headers), rest)
        if body is None:
            return found, data
        data = after
        if status >= 200:
            found.append(Reply(status, headers, body))


def _body(headers: dict[str, str], rest: bytes) -> tuple[bytes | None, bytes]:
    """Return a body and what follows it; `None` if it is not complete."""
    if headers.get("transfer-encoding") == "chunked":
        return _dechunk(rest)
    length = int(headers.get("content-length", 0))
    return (rest[:length], rest[length:]) if len(rest) >= length else (None, b"")


def _dechunk(rest: bytes) -> tuple[bytes | None, bytes]:
    body = b""
    while True:
        size_text, separator, rest = rest.partition(b"\r\n")
        size = int(size_text, 16) if separator else 0
        if not separator or len(rest) < size + 2:
            return None, b""
        body += rest[:size]
        rest = rest[size + 2 :]
        if size == 0:
            return body, rest
