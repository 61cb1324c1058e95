"""The listening sockets. Law: the parent binds, before anything else starts; only a worker that is ready listens.

On Linux each worker has a socket of its own on the shared port (SO_REUSEPORT), because the kernel then spreads
connections evenly; one socket shared by two busy workers gave them 20 % and 80 %. The parent keeps a copy of each, so
connections that a killed worker had not accepted wait for the next worker instead of being reset. Elsewhere one socket
is shared.
"""

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Sequence

from app.server.plan import Address

_HAS_FAIR_REUSE = sys.platform == "linux"


class AddressUnavailable(Exception):
    """An address cannot be bound."""


class Ports:
    """The addresses of one plan, held by the parent."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        """Claim the addresses; raises `AddressUnavailable` with a text for the operator.

        With SO_REUSEPORT a second gateway of the same user would bind without an error and take half of the
        connections, so each address is first bound without it. Port 0 becomes the port that the system chose.
        """
        self._held: dict[str, socket.socket] = {}
        self.addresses: dict[str, Address] = {}
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for address in addresses:
                self._claim(address)
            undo.pop_all()

    def _claim(self, address: Address) -> None:
        probe = _bind(address, is_shared=False)
        port = probe.getsockname()[1]
        self.addresses[address.plane] = Address(plane=address.plane, host=address.host, port=port)
        if _HAS_FAIR_REUSE:
            probe.close()
            probe = _bind(self.addresses[address.plane], is_shared=True)
        self._held[address.plane] = probe

    def open(self, plane: str) -> socket.socket:
        """Return a bound socket for one more worker, which does not listen yet."""
        if _HAS_FAIR_REUSE:
            return _bind(self.addresses[plane], is_shared=True)
        return self._held[plane].dup()

    def close(self) -> None:
        """Let go of the addresses; the sockets that were opened for workers are theirs."""
        for sock in self._held.values():
            sock.close()
        self._held.clear()


def _bind(address: Address, *, is_shared: bool) -> socket.socket:
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise AddressUnavailable(f"{address.plane}.host: {address.host!r} is not an address ({error})") from None
    family, kind, protocol, _, where = found[0]
    sock = socket.socket(family, kind, protocol)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Accepted connections inherit it; without it a stream's first chunk waits 40 ms for the head's acknowledgement.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if is_shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            sock.bind(where)
        except OSError as error:
            raise AddressUnavailable(_explain(address, error)) from None
        sock.settimeout(0)
        undo.pop_all()
    return sock


def _explain(address: Address, error: OSError) -> str:
    """Return what is wrong with the address and which setting to change."""
    if error.errno == errno.EADDRINUSE:
        return (
            f"{address.authority} is in use by another process; stop it, or set {address.plane}.port "
            f"(GATEWAY_{address.plane.upper()}__PORT) to a free port"
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"cannot listen on {address.authority}: {reason} (see {address.plane}.host and {address.plane}.port)"
