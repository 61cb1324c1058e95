"""A request's head, encoded once and used many times.

Law: nothing that could end a line or a field early reaches the wire; what cannot be sent is refused, never repaired.
"""

import re
from urllib.parse import SplitResult, urlsplit

from providers.errors import ConnectFailed, RequestRefused
from providers.types import UpstreamRequest

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"[0-9A-Za-z._:\-%]+")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_OURS = frozenset(
    {"host", "content-length", "connection", "transfer-encoding", "upgrade", "te", "trailer", "keep-alive"}
)
_BODILESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS"})

OriginKey = tuple[str, str, int]
"""Scheme, host and port: what a connection can be shared by."""


class RequestHead:
    """The bytes before a body: `framed` ends where the body's length goes, `chunked` and `bare` are whole."""

    __slots__ = ("bare", "chunked", "framed", "is_head", "is_sent_bare", "lines", "method")

    def __init__(self, lines: bytes, *, method: str) -> None:
        self.lines = lines
        self.method = method
        self.framed = lines + b"content-length: "
        self.chunked = lines + b"transfer-encoding: chunked\r\n\r\n"
        self.bare = lines + b"\r\n"
        self.is_head = method == "HEAD"
        self.is_sent_bare = method in _BODILESS

    def with_fields(self, fields: tuple[tuple[str, str], ...]) -> "RequestHead":
        """Return the head with further fields; raises `RequestRefused` for what cannot be sent."""
        added = "".join(_field_line(name, value) for name, value in fields).encode("latin-1")
        return RequestHead(self.lines + added, method=self.method)

    def for_body(self, length_bytes: int) -> bytes:
        """Return the whole head for a body of `length_bytes`."""
        if length_bytes == 0 and self.is_sent_bare:
            return self.bare
        return b"%b%d\r\n\r\n" % (self.framed, length_bytes)


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        raise ConnectFailed("The provider's URL is invalid.") from None


def _host_of(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            host = ""
    if not _HOST.fullmatch(host):
        raise ConnectFailed("The provider's URL names no valid host.")
    return host


def origin_of(url: str) -> OriginKey:
    """Return the origin of an absolute URL; raises `ConnectFailed` for anything but plain http and https."""
    parts = _split(url)
    if parts.scheme not in _DEFAULT_PORTS:
        raise ConnectFailed("The provider's URL is neither http nor https.")
    if parts.username is not None or parts.password is not None:
        raise ConnectFailed("The provider's URL must not hold credentials.")
    try:
        port = parts.port
    except ValueError:
        raise ConnectFailed("The provider's URL has an invalid port.") from None
    return parts.scheme, _host_of(parts), _DEFAULT_PORTS[parts.scheme] if port is None else port


def host_field(origin: OriginKey) -> str:
    """Return the value of the `host` field for an origin; a default port is left out."""
    scheme, host, port = origin
    name = f"[{host}]" if ":" in host else host
    return name if port == _DEFAULT_PORTS[scheme] else f"{name}:{port}"


def _target_of(url: str) -> str:
    parts = _split(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _TARGET.fullmatch(target):
        raise RequestRefused("The request cannot be sent: its URL is not percent-encoded.")
    return target


def _field_line(name: str, value: str) -> str:
    if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
        raise RequestRefused("The request cannot be sent: a header field holds a character that HTTP forbids.")
    if name.lower() in _OURS:
        raise RequestRefused(
            f"The request cannot be sent: the transport writes the header field {name.lower()} itself."
        )
    return f"{name}: {value}\r\n"


def encode_head(request: UpstreamRequest, *, origin: OriginKey) -> RequestHead:
    """Return the encoded head of `request`; raises `RequestRefused` for what cannot be sent as it is."""
    if not _TOKEN.fullmatch(request.method):
        raise RequestRefused("The request cannot be sent: its method is not a word.")
    lines = [f"{request.method} {_target_of(request.url)} HTTP/1.1\r\n", f"host: {host_field(origin)}\r\n"]
    fields = [(name, value) for name, value in request.headers if name.lower() != "accept-encoding"]
    lines += [_field_line(name, value) for name, value in fields]
    lines.append("accept-encoding: identity\r\n")
    return RequestHead("".join(lines).encode("latin-1"), method=request.method)
