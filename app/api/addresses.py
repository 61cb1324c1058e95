"""Addresses that a body asks a provider to fetch from.

Law: the gateway fetches none, and lets none pass that can be told to lead into somebody's own network, whatever the
dialect and wherever it stands.
"""

import ipaddress
import re
from collections.abc import Sequence
from urllib.parse import urlsplit

from app.kernel.errors import InvalidRequest
from app.pipeline.mentions import ADDRESSES, Mention
from app.pipeline.references import is_in_storage

_SCHEMES = frozenset({"http", "https"})
_LONGEST_SCHEME = 32
_LEADS_AWAY = re.compile(r"\s*(?:[a-zA-Z][a-zA-Z0-9+.\-]*:)?[/\\]{2}|\s*file:", re.IGNORECASE)
_TWO_READINGS = re.compile(r"[\x00-\x20\x7f\\]")
"""What some readers of URLs drop, and others take for a slash."""
_ODD_ADDRESS = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_HOST = re.compile(r"[0-9a-z_\-.:]+")
_PRIVATE = frozenset(
    {"", "corp", "home", "internal", "intranet", "lan", "local", "localdomain", "localhost", "private"}
)
"""Last labels of names that only somebody's own network has. Source: https://www.rfc-editor.org/rfc/rfc6762#appendix-G,
read 2026-11."""
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


def check_addresses(mentions: Sequence[Mention]) -> None:
    """Refuse the first address in a body that no provider should be asked to fetch from."""
    for mention in mentions:
        value = mention.value
        is_address = mention.name in ADDRESSES and isinstance(value, str)
        if is_address and _LEADS_AWAY.match(value[:_LONGEST_SCHEME]) and not is_in_storage(value):
            check_media_url(value, mention.path)


def check_media_url(url: str, path: str) -> None:
    """Refuse a URL that no vendor should be asked to fetch: another scheme, or an address that is not public.

    The gateway itself never fetches it.
    """
    if url.startswith("data:"):
        return
    try:
        parts = urlsplit(url)
        host = _plain(parts.hostname or "")
    except ValueError:
        raise _wrong(path, "a valid URL") from None
    if parts.scheme not in _SCHEMES or not host:
        raise _wrong(path, "an http, https or data URL")
    if _TWO_READINGS.search(url):
        raise _wrong(path, "a valid URL, without spaces and backslashes")
    if not _is_public(host.rstrip(".")):
        raise _wrong(path, "a URL with a public host")


def _plain(host: str) -> str:
    """Return a host as resolvers see it: letters, digits and full stops of other scripts are written as in ASCII.

    Raises `ValueError` for what is no host.
    """
    plain = host if host.isascii() else host.encode("idna").decode("ascii").lower()
    if plain and not _HOST.fullmatch(plain):
        raise ValueError(plain)
    return plain


def _is_public(host: str) -> bool:
    """Whether a host may be public: a full name, or an address that is. `127.1` and `0x7f000001` are odd addresses."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        last = host.rpartition(".")[2]
        return "." in host and last not in _PRIVATE and not _ODD_ADDRESS.fullmatch(last)
    return address.is_global if isinstance(address, ipaddress.IPv4Address) else _is_public_6(address)


def _is_public_6(address: ipaddress.IPv6Address) -> bool:
    """Whether an address is public, and the older one that it may hold as well."""
    teredo = address.teredo
    held = [address.ipv4_mapped, address.sixtofour, *(teredo or ())]
    if address in _NAT64:
        held.append(ipaddress.IPv4Address(address.packed[-4:]))
    older = [one for one in held if one is not None]
    return all(one.is_global for one in older) if older else address.is_global


def _wrong(path: str, want: str) -> InvalidRequest:
    return InvalidRequest(f"{path} must be {want}", param=path)


__all__ = ["check_addresses", "check_media_url"]
