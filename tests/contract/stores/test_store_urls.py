import pytest

from app.stores.errors import StoreConfigurationError
from app.stores.url import Credentials, StoreUrl, TlsFiles, parse_url

GOOD = [
    ("memory://", StoreUrl("memory")),
    ("redis://h", StoreUrl("redis", (("h", 6379),))),
    ("redis://h:6380/3", StoreUrl("redis", (("h", 6380),), db=3)),
    ("redis://[::1]:6380/", StoreUrl("redis", (("::1", 6380),))),
    ("redis://[::1]", StoreUrl("redis", (("::1", 6379),))),
    ("redis://:p%40ss@h", StoreUrl("redis", (("h", 6379),), credentials=Credentials(None, "p@ss"))),
    ("redis://u:p@h", StoreUrl("redis", (("h", 6379),), credentials=Credentials("u", "p"))),
    ("rediss://h", StoreUrl("redis", (("h", 6379),), tls=TlsFiles())),
    ("rediss://h?ssl_ca_certs=/ca.pem", StoreUrl("redis", (("h", 6379),), tls=TlsFiles("/ca.pem"))),
    ("unix:///run/redis.sock", StoreUrl("redis", path="/run/redis.sock")),
    ("unix://:p@/run/r.sock?db=2", StoreUrl("redis", path="/run/r.sock", db=2, credentials=Credentials(None, "p"))),
    ("redis+sentinel://h1,h2:1/main/2", StoreUrl("sentinel", (("h1", 26379), ("h2", 1)), service="main", db=2)),
    ("redis+sentinel://h1/main", StoreUrl("sentinel", (("h1", 26379),), service="main")),
    ("redis+cluster://h1,h2:7000", StoreUrl("cluster", (("h1", 6379), ("h2", 7000)))),
    ("redis+cluster://u:p@h1/0", StoreUrl("cluster", (("h1", 6379),), credentials=Credentials("u", "p"))),
]

BAD = [
    ("", "begins with one of"),
    ("http://h", "begins with one of"),
    ("localhost:6379", "begins with one of"),
    ("memory://h", "exactly memory://"),
    ("redis://", "needs a host"),
    ("redis://a..b", "not the name of a host"),
    (f"redis://{'a' * 64}.de", "not the name of a host"),
    ("redis://h:0", "from 1 to 65535"),
    ("redis://h:65536", "from 1 to 65535"),
    ("redis://h:x", "from 1 to 65535"),
    ("redis://h/x", "database"),
    ("redis://h/-1", "database"),
    ("redis://h/²", "database"),
    ("redis://h1,h2", "several hosts"),
    ("redis://h?db=1", "no option 'db'"),
    ("redis://h?ssl_ca_certs=/x", "no option"),
    ("rediss://h?ssl_cert_reqs=none", "no option"),
    ("redis://h#x", "fragment"),
    ("redis://user@h", "user:password@"),
    ("unix://h/path", "unix:///absolute/path"),
    ("unix://", "unix:///absolute/path"),
    ("redis+sentinel://h1", "service"),
    ("redis+cluster://", "needs a host"),
    ("redis+cluster://h1,h2/1", "/0 alone"),
]


@pytest.mark.parametrize(("url", "expected"), GOOD)
def test_a_url_says(url, expected):
    assert parse_url(url) == expected


@pytest.mark.parametrize(("url", "message"), BAD)
def test_a_wrong_url_is_refused(url, message):
    with pytest.raises(StoreConfigurationError, match=message):
        parse_url(url)


@pytest.mark.parametrize(
    "url", ["redis://u:hunter2@h:x", "redis://u:hunter2@h/x", "rediss://u:hunter2@h?a=b", "redis://u:hunter2@h#"]
)
def test_no_error_repeats_a_password(url):
    with pytest.raises(StoreConfigurationError) as caught:
        parse_url(url + "x")
    assert "hunter2" not in str(caught.value)


def test_no_repr_shows_a_password():
    assert "hunter2" not in repr(parse_url("redis://u:hunter2@h"))
