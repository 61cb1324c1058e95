"""Store URLs, parsed. Law: an unknown part is an error, and no error repeats a password.

- `memory://`
- `redis://[user:password@]host[:port][/db]`
- `rediss://` as `redis://`, over TLS, with the options `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile`
- `unix://[user:password@]/path/to/socket[?db=0]`
- `redis+sentinel://[user:password@]host[:port][,host[:port]…]/service[/db]`
- `redis+cluster://[user:password@]host[:port][,host[:port]…]`
"""

from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from app.stores.errors import StoreConfigurationError

_REDIS_PORT = 6379
_SENTINEL_PORT = 26379
_MAX_PORT = 65535
_SCHEMES = {
    "memory": "memory",
    "redis": "redis",
    "rediss": "redis",
    "unix": "redis",
    "redis+sentinel": "sentinel",
    "redis+cluster": "cluster",
}
_OPTIONS = {"unix": {"db"}, "rediss": {"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}}


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are to the store; both absent when it asks for nobody."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files; an absent authority means the system's."""

    authorities: str | None = None
    certificate: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class StoreUrl:
    """What a store URL says.

    `nodes` are the servers (one for plain Redis, none for a socket), `path` the Unix socket, `service` the name that
    Sentinel watches, `tls` is absent for plain text.
    """

    kind: Literal["memory", "redis", "sentinel", "cluster"]
    nodes: tuple[tuple[str, int], ...] = ()
    path: str | None = None
    service: str | None = None
    db: int = 0
    credentials: Credentials = Credentials()
    tls: TlsFiles | None = None


def parse_url(url: str) -> StoreUrl:
    """Return what the URL says, or raise `StoreConfigurationError`."""
    parts = urlsplit(url)
    kind = _SCHEMES.get(parts.scheme)
    if kind is None:
        raise StoreConfigurationError(
            f"a state URL begins with one of {', '.join(f'{name}://' for name in _SCHEMES)}, not {parts.scheme[:20]!r}"
        )
    if parts.fragment:
        raise StoreConfigurationError("a state URL has no #fragment; write # in a password as %23")
    options = _options(parts)
    if kind == "memory":
        return _memory(parts)
    if parts.scheme == "unix":
        return _socket(parts, options)
    if kind == "sentinel":
        return _sentinel(parts)
    return _servers(parts, options)


def _memory(parts: SplitResult) -> StoreUrl:
    if parts.netloc or parts.path:
        raise StoreConfigurationError("the in-process store is exactly memory://")
    return StoreUrl(kind="memory")


def _socket(parts: SplitResult, options: dict[str, str]) -> StoreUrl:
    credentials, host = _credentials(parts.netloc)
    if host or not parts.path:
        raise StoreConfigurationError("a socket is written unix:///absolute/path")
    return StoreUrl(
        kind="redis", path=unquote(parts.path), db=_database(options.get("db", "0")), credentials=credentials
    )


def _sentinel(parts: SplitResult) -> StoreUrl:
    credentials, hosts = _credentials(parts.netloc)
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise StoreConfigurationError(
            "redis+sentinel:// needs the service's name: redis+sentinel://host,host/service/0"
        )
    return StoreUrl(
        kind="sentinel",
        nodes=_nodes(hosts, _SENTINEL_PORT),
        service=unquote(service),
        db=_database(db or "0"),
        credentials=credentials,
    )


def _servers(parts: SplitResult, options: dict[str, str]) -> StoreUrl:
    credentials, hosts = _credentials(parts.netloc)
    nodes = _nodes(hosts, _REDIS_PORT)
    is_cluster = parts.scheme == "redis+cluster"
    if len(nodes) > 1 and not is_cluster:
        raise StoreConfigurationError("several hosts need redis+cluster:// or redis+sentinel://")
    db = _database(parts.path.strip("/") or "0")
    if is_cluster and db:
        raise StoreConfigurationError("a cluster has the database /0 alone")
    tls = TlsFiles(options.get("ssl_ca_certs"), options.get("ssl_certfile"), options.get("ssl_keyfile"))
    return StoreUrl(
        kind="cluster" if is_cluster else "redis",
        nodes=nodes,
        db=db,
        credentials=credentials,
        tls=tls if parts.scheme == "rediss" else None,
    )


def _options(parts: SplitResult) -> dict[str, str]:
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in _OPTIONS.get(parts.scheme, ()):
            raise StoreConfigurationError(f"{parts.scheme}:// has no option {name[:40]!r}")
    return options


def _credentials(netloc: str) -> tuple[Credentials, str]:
    """Split `user:password@hosts`; a password without a user belongs to Redis's user `default`."""
    userinfo, at, hosts = netloc.rpartition("@")
    if not at:
        return Credentials(), hosts
    username, _, password = userinfo.partition(":")
    if not password:
        raise StoreConfigurationError("credentials are written user:password@ or :password@")
    return Credentials(unquote(username) or None, unquote(password)), hosts


def _nodes(hosts: str, default_port: int) -> tuple[tuple[str, int], ...]:
    return tuple(_node(host, default_port) for host in hosts.split(","))


def _node(text: str, default_port: int) -> tuple[str, int]:
    host, port = _split_port(text)
    if not host:
        raise StoreConfigurationError("a state URL needs a host")
    _check_name(host)
    if not port:
        return host, default_port
    if not (port.isascii() and port.isdigit() and 0 < int(port) <= _MAX_PORT):
        raise StoreConfigurationError("the port of a state URL is a number from 1 to 65535")
    return host, int(port)


def _check_name(host: str) -> None:
    """Refuse what the resolver would choke on."""
    try:
        host.encode("idna")
    except UnicodeError:
        raise StoreConfigurationError(f"{host[:40]!r} is not the name of a host") from None


def _split_port(text: str) -> tuple[str, str]:
    """Split `host:port`; an IPv6 address stands in brackets, which are taken off."""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    host, _, port = text.partition(":")
    return host, port


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise StoreConfigurationError("the database of a state URL is a number such as /0")
    return int(text)
