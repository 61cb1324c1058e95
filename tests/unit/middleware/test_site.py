"""The admin plane as browsers see it."""

import pytest

from app.kernel.errors import Unauthenticated
from app.middleware.site import SESSION, Site


@pytest.mark.parametrize(
    ("url", "origin", "host", "is_own"),
    [
        (None, "https://admin.example.com", "admin.example.com", True),
        (None, "https://admin.example.com:8443", "admin.example.com:8443", True),
        (None, "https://ADMIN.example.com", "admin.example.com", True),
        (None, "http://127.0.0.1:3040", "127.0.0.1:3040", True),
        (None, "http://[::1]:3040", "[::1]:3040", True),
        (None, "http://admin.example.com", "admin.example.com", False),
        (None, "http://127.0.0.1:3041", "127.0.0.1:3040", False),
        (None, "http://localhost:3040", "127.0.0.1:3040", False),
        (None, "https://evil.example", "admin.example.com", False),
        (None, "null", "null", False),
        (None, "", "", False),
        (None, "chrome-extension://admin.example.com", "admin.example.com", False),
        (None, "https://admin.example.com/path", "admin.example.com", False),
        ("https://admin.example.com", "https://admin.example.com", "10.0.0.7:3040", True),
        ("https://admin.example.com", "http://admin.example.com", "admin.example.com", False),
        ("https://admin.example.com", "https://10.0.0.7:3040", "10.0.0.7:3040", False),
        ("http://127.0.0.1:3040", "http://127.0.0.1:3040", "127.0.0.1:3040", True),
    ],
)
def test_whose_page_it_is(url, origin, host, is_own):
    assert Site(url).is_own(origin, host=host) == is_own


@pytest.mark.parametrize(
    ("url", "host", "name"),
    [
        (None, "admin.example.com", "__Host-sid"),
        (None, "127.0.0.1:3040", "sid"),
        (None, "[::1]:3040", "sid"),
        (None, "localhost", "sid"),
        (None, "", "__Host-sid"),
        (None, "127.0.0.1.evil.example", "__Host-sid"),
        ("https://admin.example.com", "127.0.0.1:3040", "__Host-sid"),
        ("http://127.0.0.1:3040", "127.0.0.1:3040", "sid"),
    ],
)
def test_what_the_cookie_is_called(url, host, name):
    site = Site(url)
    cookie = site.make_cookie(SESSION, "x", host=host, same_site="strict", max_age_s=5)
    assert (cookie.key, cookie.secure, cookie.httponly, cookie.domain) == (name, name != "sid", True, None)
    headers = [(b"host", host.encode()), (b"cookie", b"a=1; " + name.encode() + b"=x; b=2")]
    assert site.read_cookie(SESSION, headers=headers) == "x"


@pytest.mark.parametrize("cookies", [[b"__Host-sid=a; __Host-sid=b"], [b"__Host-sid=a", b"__Host-sid=a"]])
def test_two_are_none(cookies):
    headers = [(b"host", b"admin"), *((b"cookie", value) for value in cookies)]
    with pytest.raises(Unauthenticated):
        Site().read_cookie(SESSION, headers=headers)


@pytest.mark.parametrize("cookie", [b"", b"sid=a", b"__Host-sid", b"x__Host-sid=a", b"__host-sid=a"])
def test_others_are_not_ours(cookie):
    assert Site().read_cookie(SESSION, headers=[(b"host", b"admin"), (b"cookie", cookie)]) is None
