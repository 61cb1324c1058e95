"""How often one address may fail to sign in. Law: what strangers send costs bounded memory.

The keys have 256 random bits, so this is no defence of theirs: it keeps guesses from costing queries and log lines.
It counts in this process only, and by who is at the other end of the connection: headers that say otherwise are not
believed, as no setting says whose could be. Behind a proxy all visitors are one address; the proxy should limit them.
"""

import ipaddress

from app.kernel.clock import Clock
from app.kernel.errors import RateLimited

_NS = 1_000_000_000
_WINDOW_NS = 60 * _NS
_MAX_FAILURES = 10
_MAX_ADDRESSES = 10_000
_V6_NETWORK = 64


class Attempts:
    """Counts failures by address, in windows of a minute."""

    def __init__(self, clock: Clock, *, limit: int = _MAX_FAILURES) -> None:
        """Allow `limit` failures a minute."""
        self._clock = clock
        self._limit = limit
        self._windows: dict[str, tuple[int, int]] = {}

    def admit(self, address: str) -> None:
        """Raise `RateLimited` for an address that has failed too often in this minute."""
        began_ns, failures = self._window(_network_of(address))
        if failures >= self._limit:
            left_ns = began_ns + _WINDOW_NS - self._clock.monotonic_ns()
            raise RateLimited(
                "too many failed sign-ins from this address", code="sign_in_throttled", retry_after_s=left_ns / _NS
            )

    def count(self, address: str) -> None:
        """Count a failure."""
        network = _network_of(address)
        began_ns, failures = self._window(network)
        self._windows.pop(network, None)
        if len(self._windows) >= _MAX_ADDRESSES:
            del self._windows[next(iter(self._windows))]
        self._windows[network] = (began_ns, failures + 1)

    def _window(self, network: str) -> tuple[int, int]:
        now_ns = self._clock.monotonic_ns()
        began_ns, failures = self._windows.get(network, (now_ns, 0))
        return (now_ns, 0) if now_ns - began_ns >= _WINDOW_NS else (began_ns, failures)


def _network_of(address: str) -> str:
    """Return what one customer of a network provider has of its addresses."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(parsed) >> _V6_NETWORK << _V6_NETWORK, _V6_NETWORK)))
    return str(parsed)
