"""Addresses of stores. Law: the user and password in one are never shown."""

from urllib.parse import urlsplit


class StoreUrl:
    """Holds the URL of a database or of shared state; its credentials leave only through `reveal`.

    `str` and `repr` show the URL with its password, and the values of its query, as `***`. msgspec cannot encode it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the URL with its credentials, for the driver."""
        return self._text

    @property
    def scheme(self) -> str:
        """The URL's scheme, in lower case, such as `redis+sentinel`; empty if there is none."""
        scheme, mark, _ = self._text.partition("://")
        return scheme.lower() if mark else ""

    @property
    def is_readable(self) -> bool:
        """Whether the URL can be taken apart and its ports are numbers."""
        try:
            urlsplit(self._text)
        except ValueError:
            return False
        return self._text.isprintable() and " " not in self._text and all(map(_has_good_port, self.hosts))

    @property
    def hosts(self) -> tuple[str, ...]:
        """The hosts with their ports, as written: clusters and sentinels have several."""
        return tuple(host for host in self._authority.rpartition("@")[2].split(",") if host)

    @property
    def path_parts(self) -> tuple[str, ...]:
        """The path's parts between slashes."""
        path = self._text.partition("://")[2].partition("?")[0].partition("/")[2]
        return tuple(part for part in path.split("/") if part)

    @property
    def has_password(self) -> bool:
        """Whether the URL carries a password."""
        return bool(self._userinfo.partition(":")[2]) or "password=" in self._text.partition("?")[2]

    @property
    def _authority(self) -> str:
        return self._text.partition("://")[2].partition("?")[0].partition("/")[0]

    @property
    def _userinfo(self) -> str:
        return self._authority.rpartition("@")[0]

    def __str__(self) -> str:
        address, mark, query = self._text.partition("?")
        names = "&".join(f"{pair.partition('=')[0]}=***" for pair in query.split("&"))
        userinfo = self._userinfo
        if userinfo:
            user, colon, _ = userinfo.partition(":")
            address = address.replace(f"//{userinfo}@", f"//{user}:***@" if colon else f"//{user}@", 1)
        return f"{address}{mark}{names}" if mark else address

    def __repr__(self) -> str:
        return f"StoreUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoreUrl) and self._text == other._text

    def __hash__(self) -> int:
        return hash((StoreUrl, self._text))


def _has_good_port(host: str) -> bool:
    after_bracket = host.rpartition("]")[2]
    _, colon, port = after_bracket.rpartition(":")
    return not colon or (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= 65_535)  # noqa: PLR2004 - TCP


def is_web_url(text: str) -> bool:
    """Tell whether `text` is an absolute http or https URL with a host, and without credentials in it."""
    try:
        parts = urlsplit(text)
        is_web = parts.scheme.lower() in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return is_web and "@" not in parts.netloc and text.isprintable() and " " not in text
