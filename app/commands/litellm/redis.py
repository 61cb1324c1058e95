"""Which Redis holds the shared state. Law: there is one, so that every other one that the file names is reported."""

from typing import NamedTuple

from app.commands.litellm.reading import Section
from app.commands.litellm.references import ENVIRON, References
from app.commands.litellm.report import Report

_BY_HAND = {
    "redis_startup_nodes": "write `state: redis+cluster://h1,h2` yourself",
    "startup_nodes": "write `state: redis+cluster://h1,h2` yourself",
    "sentinel_nodes": "write `state: redis+sentinel://h1,h2/SERVICE/0` yourself",
    "service_name": "write `state: redis+sentinel://h1,h2/SERVICE/0` yourself",
    "sentinel_password": "sentinels are asked without a password",
}
_PORT = "6379"
_HIDDEN = "***"


class _Server(NamedTuple):
    """A Redis as one place of the file writes it."""

    url: str | None
    host: str | None
    port: str
    database: str
    user: str | None
    password: str | None
    is_tls: bool

    @property
    def key(self) -> str:
        """The key that names it, without the `redis_` that the settings of the router have before it."""
        return "host" if self.url is None else "url"


def state_of(references: References, places: tuple[Section, ...]) -> str | None:
    """Return the URL of Redis, or the variable that has to hold it; `None` where no Redis is named."""
    chosen: _Server | None = None
    state: str | None = None
    for place in places:
        for key, reason in _BY_HAND.items():
            if place.take(key) is not None:
                place.report.lose(place.at(key), reason)
        prefix = "redis_" if place.has("redis_host", "redis_url") else ""
        server = _read(place)
        if server is None:
            continue
        where = place.at(prefix + server.key)
        if chosen is None:
            chosen, state = server, _written(server, references, place.report, where)
        elif server != chosen:
            reason = (
                "is another Redis than the first of the file, which is `state`; that of the cache may be `cache.url`"
            )
            place.report.lose(where, f"`{_address(server)}` {reason}")
    return state


def _read(place: Section) -> _Server | None:
    url, host = place.text("redis_url", "url"), place.text("redis_host", "host")
    further = {
        "redis_port": place.text("redis_port", "port"),
        "redis_db": place.text("redis_db", "db"),
        "redis_username": place.text("redis_username", "username"),
        "redis_password": place.text("redis_password", "password"),
    }
    tls = [place.flag(key) for key in ("redis_ssl", "ssl")]
    if url is not None and host is not None:
        place.report.change(place.at("redis_host"), "is passed over, for `redis_url` is written too")
    if url is None and host is None:
        for key, value in further.items():
            if value is not None:
                place.report.lose(place.at(key), "stands there without a `redis_host`")
        return None
    port, database, user, password = further.values()
    return _Server(url, host, port or _PORT, database or "0", user, password, is_tls=any(tls))


def _written(server: _Server, references: References, report: Report, where: str) -> str:
    """Return what `state` is to be; a secret, or what only a variable knows, is put into a variable."""
    if server.url is not None:
        return references.secret_of(server.url, where, variable="REDIS_URL")
    address = _address(server)
    if server.password is None and server.user is None and "$" not in address and address.isprintable():
        return address
    report.change(where, f"set REDIS_URL to `{address}`")
    return "env:REDIS_URL"


def _address(server: _Server) -> str:
    """Return the address for people: a variable is named, and a secret is not shown."""
    if server.url is not None:
        return _shown(server.url, hides=True)
    scheme = "rediss" if server.is_tls else "redis"
    sign_in = ""
    if server.password is not None or server.user is not None:
        sign_in = f"{_shown(server.user or '')}:{_shown(server.password or '', hides=True)}@"
    return f"{scheme}://{sign_in}{_shown(server.host or '')}:{_shown(server.port)}/{_shown(server.database)}"


def _shown(part: str, *, hides: bool = False) -> str:
    if part.startswith(ENVIRON):
        return f"${part.removeprefix(ENVIRON)}"
    return _HIDDEN if hides and part else part
