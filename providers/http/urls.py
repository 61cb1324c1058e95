"""Where a provider may live that somebody made through an API.

Law: pure, and no more than the first of two walls: it judges the text of a URL, and the address policy judges, at each
connect, what its name resolves to. What is read here is what is returned, so that nobody reads it another way later.
"""

import re
from collections.abc import Collection, Iterable
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple
from unicodedata import category

HTTPS_PORT = 443
_SCHEME = "https://"
_PLAIN_SCHEME = "http://"
_PLAIN_PORT = 80
_LENGTH_MAX = 2_048
_NAME_LENGTH_MAX = 253
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)
_PORT_MAX = 65_535
_PATH = re.compile(r"[\x21-\x7e]*")
_PRIVATE_SUFFIXES = frozenset(
    {"localhost", "local", "localdomain", "internal", "intranet", "private", "corp", "home", "lan", "arpa"}
)
"""Last labels of names that mean something within one network only, and of names for addresses."""


class UrlRefused(ValueError):
    """A URL where no provider may live; the message says what is wrong, to whoever wrote it."""


def check_public_url(
    url: str, *, allowed_private_cidrs: Iterable[str] = (), allowed_ports: Collection[int] = (HTTPS_PORT,)
) -> str:
    """Return a provider's base URL in its plain form: lower case, the host in ASCII, no port where it is 443.

    An address in place of a name must lie in `allowed_private_cidrs`, such as `10.2.0.0/16`; names that are known
    within one network only are taken where there are any. Raises `UrlRefused`.
    """
    authority, path = _split(url, _SCHEME)
    host, port = _host_and_port(authority, HTTPS_PORT)
    _check_port(port, allowed_ports)
    name, _ = _named(host, [ip_network(cidr) for cidr in allowed_private_cidrs])
    return f"{_SCHEME}{name}{'' if port == HTTPS_PORT else f':{port}'}{path}".rstrip("/")


class Place(NamedTuple):
    """Where a base URL points: its plain form, and whether that is within a private network."""

    url: str
    is_private: bool


def place_of(url: str, *, allowed_private_cidrs: Iterable[str] = ()) -> Place:
    """Return where a provider's base URL points; raises `UrlRefused`.

    It is private if its host is an address in `allowed_private_cidrs`, or a name that only one network knows, or if it
    is plain http, which is allowed within private networks only; such places may have any port. What a name resolves to
    is judged at each connect.
    """
    networks = [ip_network(cidr) for cidr in allowed_private_cidrs]
    is_plain = bool(networks) and url[: len(_PLAIN_SCHEME)].lower() == _PLAIN_SCHEME
    scheme, usual_port = (_PLAIN_SCHEME, _PLAIN_PORT) if is_plain else (_SCHEME, HTTPS_PORT)
    authority, path = _split(url, scheme)
    host, port = _host_and_port(authority, usual_port)
    name, is_private = _named(host, networks)
    is_private = is_private or is_plain
    _check_port(port, range(1, _PORT_MAX + 1) if is_private else (HTTPS_PORT,))
    return Place(f"{scheme}{name}{'' if port == usual_port else f':{port}'}{path}".rstrip("/"), is_private)


def _named(host: str, networks: Collection[IPv4Network | IPv6Network]) -> tuple[str, bool]:
    """Return a host in its plain form, and whether one can see that it is private."""
    if host.startswith("["):
        return f"[{_checked_address(host[1:-1], networks, is_bracketed=True)}]", True
    name = _ascii(host)
    if _NUMBER.fullmatch(name.rpartition(".")[2]):
        return _checked_address(name, networks), True
    _check_name(name, knows_private=bool(networks))
    return name, _is_private_name(name)


def _split(url: str, scheme: str) -> tuple[str, str]:
    """Return what stands between the scheme and the path, and the path."""
    if len(url) > _LENGTH_MAX:
        raise UrlRefused(f"the URL is longer than {_LENGTH_MAX} characters")
    if any(category(character)[0] in "ZC" for character in url):
        raise UrlRefused("the URL holds white space, or a character that cannot be seen")
    if "\\" in url:
        raise UrlRefused("the URL holds a backslash")
    if url[: len(scheme)].lower() != scheme:
        raise UrlRefused("the URL must begin with https://")
    if "#" in url:
        raise UrlRefused("the URL must not have a fragment")
    if "?" in url:
        raise UrlRefused("the URL must not have a query")
    authority, slash, path = url[len(scheme) :].partition("/")
    if not _PATH.fullmatch(path):
        raise UrlRefused("the path of the URL is not percent-encoded")
    if "@" in authority:
        raise UrlRefused("the URL must not hold a user name or a password")
    return authority, slash + path


def _host_and_port(authority: str, usual_port: int) -> tuple[str, int]:
    """Return the host, an IPv6 address with its brackets, and the port."""
    host, closing, rest = authority.rpartition("]")
    if closing and host.startswith("["):
        host, colon, port = host + closing, rest[:1], rest[1:]
        is_split = colon in {"", ":"}
    else:
        host, colon, port = authority.partition(":")
        is_split = True
    if not is_split or (colon and not _PORT.fullmatch(port)):
        raise UrlRefused("the port of the URL is not a number")
    if not host:
        raise UrlRefused("the URL names no host")
    return host, int(port) if colon else usual_port


def _check_port(port: int, allowed_ports: Collection[int]) -> None:
    if not 0 < port <= _PORT_MAX or port not in allowed_ports:
        is_any = isinstance(allowed_ports, range)
        allowed = "1 to 65535" if is_any else ", ".join(map(str, sorted(allowed_ports)))
        raise UrlRefused(f"port {port} is not one that providers may have: {allowed}")


def _ascii(host: str) -> str:
    """Return a host in the letters that DNS knows; what only looks like a dot or a letter becomes one."""
    if "%" in host:
        raise UrlRefused("the host must not be percent-encoded")
    try:
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise UrlRefused("the host is no valid name") from None
    if name.endswith("."):
        raise UrlRefused("the host must not end with a dot")
    return name


def _checked_address(text: str, networks: Iterable[IPv4Network | IPv6Network], *, is_bracketed: bool = False) -> str:
    """Return an address in its usual form, if it is written in one and lies in a network that was opened."""
    try:
        address = ip_address(text)
    except ValueError:
        raise UrlRefused("the host is a number, and no address in its usual form") from None
    if isinstance(address, IPv6Address) != is_bracketed or "%" in text:
        raise UrlRefused("the host is no address that a URL can have")
    if not any(address in network for network in networks):
        raise UrlRefused("the host must be a name: addresses are allowed only in `network.allowed_private_cidrs`")
    return str(address)


def _check_name(name: str, *, knows_private: bool) -> None:
    labels = name.split(".")
    if len(name) > _NAME_LENGTH_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise UrlRefused("the host is no valid name")
    if _is_private_name(name) and not knows_private:
        raise UrlRefused("the host is a name that is known within one network only")


def _is_private_name(name: str) -> bool:
    return "." not in name or name.rpartition(".")[2] in _PRIVATE_SUFFIXES
