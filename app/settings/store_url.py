"""Addresses of stores. Law: the user and password in one are never shown."""

from urllib.parse import urlsplit


class StoreUrl:
    """Holds the URL of a database or of shared state; its credentials leave only through `reveal`.

    `str` and `repr` show the URL with its password as `***`. msgspec cannot encode it.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the URL with its credentials, for the driver."""
        return self._text

    @property
    def scheme(self) -> str:
        """The URL's scheme, in lower case, such as `redis+sentinel`."""
        return self._text.partition("://")[0].lower()

    @property
    def has_password(self) -> bool:
        """Whether the URL carries a password."""
        return ":" in self._userinfo()

    def _userinfo(self) -> str:
        authority = self._text.partition("://")[2].partition("/")[0]
        return authority.rpartition("@")[0]

    def __str__(self) -> str:
        userinfo = self._userinfo()
        if not userinfo:
            return self._text
        user, colon, _ = userinfo.partition(":")
        shown = f"{user}:***" if colon else user
        return self._text.replace(f"//{userinfo}@", f"//{shown}@", 1)

    def __repr__(self) -> str:
        return f"StoreUrl({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoreUrl) and self._text == other._text

    def __hash__(self) -> int:
        return hash((StoreUrl, self._text))


def is_url_of(text: str, *, schemes: tuple[str, ...]) -> bool:
    """Tell whether `text` is a URL of one of the `schemes` that names a host."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return parts.scheme.lower() in schemes and bool(parts.hostname)
