"""Which addresses the gateway may connect to.

Law: a policy judges the resolved address, never the name, and is asked again at each connect, so rebinding a name gains
nothing.
"""

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

Address = IPv4Address | IPv6Address
AddressPolicy = Callable[[Address], bool]
"""Says whether a connection to an address is allowed."""

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""All that has been allocated for global use; mapped, compatible, NAT64, unique local, link local lie outside."""

_REFUSED: tuple[IPv4Network | IPv6Network, ...] = (
    IPv4Network("100.64.0.0/10"),  # carrier-grade NAT, where clouds keep metadata services
    IPv4Network("168.63.129.16/32"),  # Azure's host agent, on an address that looks public
    IPv4Network("169.254.0.0/16"),  # link local: the usual metadata service
    IPv4Network("192.0.0.0/24"),  # protocol assignments; Python's releases differ on which of them are global
    IPv4Network("192.88.99.0/24"),  # the 6to4 relay
    IPv4Network("240.0.0.0/4"),  # reserved, and broadcast
    IPv6Network("2001::/32"),  # Teredo embeds an IPv4 address
    IPv6Network("2002::/16"),  # 6to4 does too
)


def anything(_address: Address) -> bool:
    """Allow every address: for providers that the operator wrote into the configuration file."""
    return True


class PublicOnly:
    """Allows public addresses, and the private ranges that the operator names.

    `allowed_private_cidrs` are networks such as `10.2.0.0/16`; a bad one raises `ValueError`.
    """

    def __init__(self, allowed_private_cidrs: Iterable[str] = ()) -> None:
        self._allowed = tuple(ip_network(cidr) for cidr in allowed_private_cidrs)

    def __call__(self, address: Address) -> bool:
        """Return whether a connection to `address` is allowed."""
        if any(address in network for network in self._allowed):
            return True
        if address.version == _GLOBAL_UNICAST.version and address not in _GLOBAL_UNICAST:
            return False
        if any(address in network for network in _REFUSED):
            return False
        return address.is_global and not address.is_multicast


class WithinOnly:
    """Allows addresses in the networks named, and no other: for what must not leave them, such as plain http."""

    def __init__(self, cidrs: Iterable[str]) -> None:
        self._allowed = tuple(ip_network(cidr) for cidr in cidrs)

    def __call__(self, address: Address) -> bool:
        """Return whether a connection to `address` is allowed."""
        return any(address in network for network in self._allowed)
