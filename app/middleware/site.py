"""The admin plane as browsers see it: its origin, and its cookies.

Law: a cookie is `__Host-`, Secure and HttpOnly everywhere but on a loopback address, where browsers refuse that over
plain http; the session's is never sent by another site. Source: RFC 6265bis section 4.1.3, read 2026-11.
"""

import ipaddress
from collections.abc import Iterable
from typing import Literal
from urllib.parse import urlsplit

from litestar.datastructures import Cookie

from app.kernel.errors import Unauthenticated

SESSION = "sid"
SIGN_IN = "sign-in"
_SECURE_PREFIX = "__Host-"


class Site:
    """Where browsers reach this plane; without a URL wherever they say that it is."""

    def __init__(self, url: str | None = None) -> None:
        self._origin = None if url is None else urlsplit(url.lower())

    def is_own(self, origin: str, *, host: str) -> bool:
        """Whether a page of this origin is ours, in a request to this `Host`."""
        said = urlsplit(origin.lower())
        if said.scheme not in {"http", "https"} or said.path or said.query or said.fragment:
            return False
        if self._origin is not None and (said.scheme, said.netloc) == (self._origin.scheme, self._origin.netloc):
            return True
        is_secure = said.scheme == "https" or not self._is_secure(host)
        return self._origin is None and is_secure and said.netloc == host.lower()

    def cookie_name(self, name: str, *, host: str) -> str:
        """Return what a cookie is called."""
        return f"{_SECURE_PREFIX}{name}" if self._is_secure(host) else name

    def make_cookie(
        self, name: str, value: str, *, host: str, same_site: Literal["lax", "strict"], max_age_s: int
    ) -> Cookie:
        """Return a cookie for an answer; a `max_age_s` of 0 takes it away."""
        return Cookie(
            key=self.cookie_name(name, host=host),
            value=value,
            path="/",
            max_age=max_age_s,
            httponly=True,
            secure=self._is_secure(host),
            samesite=same_site,
        )

    def read_cookie(self, name: str, *, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
        """Return a cookie of ours; raises `Unauthenticated` if there are two, as one is not ours then."""
        headers = list(headers)
        host = next((value.decode("latin-1") for header, value in headers if header == b"host"), "")
        named = self.cookie_name(name, host=host).encode()
        pairs = [pair.strip() for header, value in headers if header == b"cookie" for pair in value.split(b";")]
        values = [value for key, mark, value in (pair.partition(b"=") for pair in pairs) if mark and key == named]
        if len(values) > 1:
            raise Unauthenticated(f"the cookie {named.decode()} was sent twice", code="invalid_session")
        return values[0].decode("latin-1") if values else None

    def _is_secure(self, host: str) -> bool:
        if self._origin is not None:
            return self._origin.scheme == "https"
        return not _is_loopback(host)


def _is_loopback(host: str) -> bool:
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
