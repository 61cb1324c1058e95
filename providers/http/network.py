"""Connecting: names, the address policy, TLS.

Law: a connection goes to an address that the policy has just allowed, under the name that was asked for; TLS is always
verified; no proxy is ever taken from the environment.
"""

import asyncio
import ssl
from collections.abc import Callable, Mapping

from providers.errors import ConnectFailed, ProviderTimedOut
from providers.http.addresses import Address, AddressPolicy, anything
from providers.http.connection import Connection
from providers.http.request import OriginKey, origin_of
from providers.http.resolver import Resolver

_SHUTDOWN_S = 1.0
_TLS_ERROR = "upstream_tls_error"
_BLOCKED = "upstream_address_blocked"


def _system_context() -> ssl.SSLContext:
    """Return a verifying context with the system's authorities, or certifi's on a system that has none."""
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath):
        import certifi  # noqa: PLC0415 - needed only where the system has no store; comes with httpx

        return ssl.create_default_context(cafile=certifi.where())
    return ssl.create_default_context()


class Network:
    """Opens connections. Make one per pool, inside the running loop.

    `allow` judges every resolved address; `on_blocked` is told of a host and of an address of its that was refused.
    `ca_files` maps a base URL to a PEM file of authorities that replaces the system's for that origin.
    """

    def __init__(
        self,
        *,
        allow: AddressPolicy = anything,
        on_blocked: Callable[[str, Address], None] | None = None,
        ca_files: Mapping[str, str] | None = None,
        resolver: Resolver | None = None,
    ) -> None:
        self._allow = allow
        self._on_blocked = on_blocked
        self._ca_files = {origin_of(url): path for url, path in (ca_files or {}).items()}
        self._resolver = resolver or Resolver()
        self._contexts: dict[str | None, ssl.SSLContext] = {}

    async def connect(self, make: Callable[[], Connection], *, origin: OriginKey, timeout_s: float) -> Connection:
        """Return a connection from `make`, connected to `origin`, TLS included.

        Raises `ConnectFailed` (codes `upstream_unreachable`, `upstream_tls_error`, `upstream_address_blocked`) and
        `ProviderTimedOut` (phase `connect`). A cancelled or failed connect leaves nothing open.
        """
        try:
            async with asyncio.timeout(timeout_s) as clock:
                context = self._context(origin)
                addresses = await self._allowed(origin[1])
                return await self._connect_any(make, addresses, origin, context, clock.when() or 0.0)
        except TimeoutError:
            raise ProviderTimedOut("The connection to the provider took too long.", phase="connect") from None

    def close(self) -> None:
        """Give up the name lookups in flight."""
        self._resolver.close()

    async def _allowed(self, host: str) -> tuple[Address, ...]:
        """Return the addresses of `host`; raises `ConnectFailed` if a single one is not allowed."""
        addresses = await self._resolver.addresses(host)
        refused = next((address for address in addresses if not self._allow(address)), None)
        if refused is not None:
            if self._on_blocked is not None:
                self._on_blocked(host, refused)
            raise ConnectFailed("The provider's address is not one that the gateway may connect to.", code=_BLOCKED)
        return addresses

    async def _connect_any(
        self,
        make: Callable[[], Connection],
        addresses: tuple[Address, ...],
        origin: OriginKey,
        context: ssl.SSLContext | None,
        deadline_s: float,
    ) -> Connection:
        """Try the addresses in order; all but the last get half of the time that is left."""
        loop = asyncio.get_running_loop()
        failure: OSError | None = None
        for left, address in zip(range(len(addresses) - 1, -1, -1), addresses, strict=True):
            now_s = loop.time()
            until_s = deadline_s if left == 0 else now_s + (deadline_s - now_s) / 2
            try:
                async with asyncio.timeout_at(until_s if left else None):
                    return await _connect_one(make, str(address), origin, context)
            except ssl.SSLError as error:
                raise ConnectFailed("The provider's TLS certificate or handshake failed.", code=_TLS_ERROR) from error
            except OSError as error:  # a TimeoutError is one too: this address does not answer
                failure = error
        raise ConnectFailed("The provider cannot be reached.") from failure

    def _context(self, origin: OriginKey) -> ssl.SSLContext | None:
        """Return the origin's TLS context, loaded at its first use; none for plain http."""
        if origin[0] != "https":
            return None
        ca_file = self._ca_files.get(origin)
        context = self._contexts.get(ca_file)
        if context is None:
            try:
                context = _system_context() if ca_file is None else ssl.create_default_context(cafile=ca_file)
            except OSError as error:
                raise ConnectFailed("The certificate authorities cannot be loaded.", code=_TLS_ERROR) from error
            context.set_alpn_protocols(["http/1.1"])
            self._contexts[ca_file] = context
        return context


async def _connect_one(
    make: Callable[[], Connection], address: str, origin: OriginKey, context: ssl.SSLContext | None
) -> Connection:
    """Connect to one address, with the name in SNI and in the certificate check."""
    connection = make()
    loop = asyncio.get_running_loop()
    _, host, port = origin
    try:
        if context is None:
            await loop.create_connection(lambda: connection, address, port)
        else:
            name = host.rstrip(".")
            await loop.create_connection(
                lambda: connection, address, port, ssl=context, server_hostname=name, ssl_shutdown_timeout=_SHUTDOWN_S
            )
    except BaseException:
        connection.abort()
        raise
    return connection
