"""Where a Redis server is and how to speak to it. Law: TLS verifies, always."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from app.stores.errors import StoreConfigurationError
from app.stores.url import Credentials, StoreUrl, TlsFiles

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)

_KEEPALIVE_IDLE_S = 15
_KEEPALIVE_INTERVAL_S = 5
_KEEPALIVE_PROBES = 3


@dataclass(frozen=True, slots=True)
class Tls:
    """How to verify the server: the context that was made of the files, and the files for clients that make theirs."""

    context: ssl.SSLContext
    files: TlsFiles


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One server: a host and port, or the path of a Unix socket."""

    host: str
    port: int
    path: str | None
    db: int
    credentials: Credentials
    tls: Tls | None


Locate = Callable[[], Awaitable[Endpoint]]
"""Tells where the server is now; asked before each connection attempt. Raises `StoreUnavailable`."""


def fixed(url: StoreUrl) -> Locate:
    """Return a `Locate` that always says what the URL says; reads the TLS files at once."""
    host, port = url.nodes[0] if url.nodes else ("", 0)
    tls = None if url.tls is None else Tls(_context(url.tls), url.tls)
    endpoint = Endpoint(host, port, url.path, url.db, url.credentials, tls)

    async def locate() -> Endpoint:
        return endpoint

    return locate


async def connect(factory: Callable[[], ProtocolT], endpoint: Endpoint) -> ProtocolT:
    """Open a connection to the endpoint; raises `OSError`, of which `ssl.SSLError` is one."""
    loop = asyncio.get_running_loop()
    if endpoint.path is not None:
        _, protocol = await loop.create_unix_connection(factory, endpoint.path)
        return protocol
    context = None if endpoint.tls is None else endpoint.tls.context
    transport, protocol = await loop.create_connection(factory, endpoint.host, endpoint.port, ssl=context)
    _keep_alive(transport)
    return protocol


def _context(files: TlsFiles) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=files.authorities)
        if files.certificate is not None:
            context.load_cert_chain(files.certificate, files.key)
    except OSError as error:
        raise StoreConfigurationError(f"the state URL's TLS files cannot be used: {error}") from error
    return context


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    """Let the kernel notice within 30 s that an idle connection's other end is gone."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_IDLE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_INTERVAL_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _KEEPALIVE_PROBES)
