"""Where a provider may live that somebody made through an API: a table of attacks, and of what is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.http import Place, UrlRefused, check_public_url, place_of
from providers.http.request import origin_of

TAKEN = {
    "https://api.example.com": "https://api.example.com",
    "https://api.example.com/": "https://api.example.com",
    "https://api.example.com/v1": "https://api.example.com/v1",
    "https://api.example.com/v1/": "https://api.example.com/v1",
    "HTTPS://API.Example.COM/V1": "https://api.example.com/V1",
    "https://api.example.com:443/v1": "https://api.example.com/v1",
    "https://api.example.com:00443/v1": "https://api.example.com/v1",
    "https://bücher.example/v1": "https://xn--bcher-kva.example/v1",
    "https://xn--bcher-kva.example/v1": "https://xn--bcher-kva.example/v1",
    "https://api\u3002example\uff0ecom/v1": "https://api.example.com/v1",
    "https://\uff41\uff50\uff49.example.com/v1": "https://api.example.com/v1",
    "https://api.example.com/a@b/%2e%2e/v1": "https://api.example.com/a@b/%2e%2e/v1",
    "https://1password.com": "https://1password.com",
    "https://0x.example.com": "https://0x.example.com",
    "https://a-b.3.example.com": "https://a-b.3.example.com",
    "https://localhost.example.com": "https://localhost.example.com",
    "https://internal.example.com": "https://internal.example.com",
}
NAME, PRIVATE, NUMBER, SCHEME = "must be a name", "one network only", "is a number", "https://"
SPACE, USER, PORT, INVALID = "white space", "user name", "port", "no valid name"
REFUSED = {
    # Another scheme, or none.
    "http://api.example.com": SCHEME,
    "ftp://api.example.com": SCHEME,
    "file:///etc/passwd": SCHEME,
    "gopher://api.example.com": SCHEME,
    "//api.example.com": SCHEME,
    "api.example.com": SCHEME,
    "https:api.example.com": SCHEME,
    "https:/api.example.com": SCHEME,
    "http\u0455://api.example.com": SCHEME,
    "": SCHEME,
    # No host.
    "https://": "no host",
    "https:///api.example.com": "no host",
    "https://:443": "no host",
    "https://?": "query",
    # Somebody else's host behind what looks like one.
    "https://api.example.com@127.0.0.1": USER,
    "https://api.example.com:secret@127.0.0.1": USER,
    "https://@api.example.com": USER,
    "https://api.example.com%40127.0.0.1": "percent-encoded",
    "https://api.example.com#@127.0.0.1": "fragment",
    "https://api.example.com#": "fragment",
    "https://127.0.0.1#.example.com": "fragment",
    "https://127.0.0.1?.example.com": "query",
    "https://api.example.com?x=1": "query",
    "https://api.example.com\\@127.0.0.1": "backslash",
    "https:\\\\api.example.com": "backslash",
    "https://127.0.0.1\\.example.com": "backslash",
    "https://127.0.0.1\u2100.example.com": INVALID,
    "https://api.example.com\uff0fevil.com": INVALID,
    "https://api.example.com\uff20evil.com": INVALID,
    "https://api.example.com\uff1a22": INVALID,
    "https://127.0.0.1\uff1f.example.com": INVALID,
    # What readers of URLs leave out, or end at.
    " https://api.example.com": SPACE,
    "https://api.example.com ": SPACE,
    "https://api.example.com\n": SPACE,
    "https://api.exa\tmple.com": SPACE,
    "https://api.example.com/v1\r\nx: y": SPACE,
    "https://api.example.com\x00.evil.com": SPACE,
    "https://api.example.com\x7f": SPACE,
    "https://api.exa\u00admple.com": SPACE,
    "https://api.exa\u200bmple.com": SPACE,
    "https://api.exa\u202emple.com": SPACE,
    "https://api.example.com\u2028": SPACE,
    "https://api.example.com\u00a0": SPACE,
    "https://api.example.com/ü": "percent-encoded",
    # Ports.
    "https://api.example.com:80": PORT,
    "https://api.example.com:8443": PORT,
    "https://api.example.com:22": PORT,
    "https://api.example.com:0": PORT,
    "https://api.example.com:65979": PORT,
    "https://api.example.com:": PORT,
    "https://api.example.com:-1": PORT,
    "https://api.example.com:+443": PORT,
    "https://api.example.com:443:80": PORT,
    "https://api.example.com:4\uff143": PORT,
    "https://api.example.com:https": PORT,
    # IPv4, in all its forms.
    "https://127.0.0.1": NAME,
    "https://8.8.8.8": NAME,
    "https://10.0.0.1/v1": NAME,
    "https://169.254.169.254/latest/meta-data": NAME,
    "https://100.100.100.200": NAME,
    "https://2130706433": NUMBER,
    "https://017700000001": NUMBER,
    "https://0177.0.0.1": NUMBER,
    "https://127.0.0.01": NUMBER,
    "https://0x7f000001": NUMBER,
    "https://0x7F.0.0.1": NUMBER,
    "https://127.0.0.0x1": NUMBER,
    "https://0x7f.1": NUMBER,
    "https://127.1": NUMBER,
    "https://127.0.1": NUMBER,
    "https://0": NUMBER,
    "https://0x": NUMBER,
    "https://256.256.256.256": NUMBER,
    "https://1.2.3.4.5": NUMBER,
    "https://example.com.1": NUMBER,
    "https://127\u30020\u30020\u30021": NAME,
    "https://127\uff0e0\uff0e0\uff0e1": NAME,
    "https://127\uff610\uff610\uff611": NAME,
    "https://\uff11\uff12\uff17.0.0.1": NAME,
    "https://\u2460\u2461\u2466.0.0.1": NAME,
    "https://0\uff587f.1": NUMBER,
    # IPv6, and IPv4 within it.
    "https://[::1]": NAME,
    "https://[::]": NAME,
    "https://[0:0:0:0:0:0:0:1]:443/v1": NAME,
    "https://[::ffff:127.0.0.1]": NAME,
    "https://[::ffff:7f00:1]": NAME,
    "https://[::127.0.0.1]": NAME,
    "https://[64:ff9b::7f00:1]": NAME,
    "https://[64:ff9b::169.254.169.254]": NAME,
    "https://[2002:7f00:1::]": NAME,
    "https://[fd00:ec2::254]": NAME,
    "https://[2606:4700::6812:7c0]": NAME,
    "https://[fe80::1%25eth0]": "no address",
    "https://[fe80::1%eth0]": "no address",
    "https://[::1%25lo].example.com": PORT,
    "https://[127.0.0.1]": "no address",
    "https://[v1.fe80]": NUMBER,
    "https://[::1": PORT,
    "https://::1": PORT,
    "https://::1]": PORT,
    "https://[::1]443": PORT,
    "https://[]": NUMBER,
    "https://[[::1]]": NUMBER,
    # Names that are not for everybody.
    "https://localhost": PRIVATE,
    "https://LOCALHOST": PRIVATE,
    "https://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54": PRIVATE,
    "https://api.localhost": PRIVATE,
    "https://metadata": PRIVATE,
    "https://metadata.google.internal": PRIVATE,
    "https://redis.default.svc.cluster.local": PRIVATE,
    "https://printer.local": PRIVATE,
    "https://gateway.lan": PRIVATE,
    "https://1.0.0.127.in-addr.arpa": PRIVATE,
    "https://localhost.": "end with a dot",
    "https://api.example.com.": "end with a dot",
    "https://127.0.0.1.": "end with a dot",
    "https://api.example.com\u3002": "end with a dot",
    # No names at all.
    "https://.example.com": INVALID,
    "https://api..example.com": INVALID,
    "https://-api.example.com": INVALID,
    "https://api-.example.com": INVALID,
    "https://api_x.example.com": INVALID,
    "https://*.example.com": INVALID,
    "https://api.example.com,evil.com": INVALID,
    "https://api.example.com;evil.com": INVALID,
    "https://api.example.com'": INVALID,
    "https://" + "a" * 64 + ".example.com": INVALID,
    "https://" + ".".join(["a" * 60] * 5) + ".com": INVALID,
    "https://api.%65xample.com": "percent-encoded",
    "https://api.example.com/" + "a" * 2_048: "longer than",
}


@pytest.mark.parametrize("url", TAKEN, ids=ascii)
def test_what_is_taken_is_said_plainly(url: str):
    assert check_public_url(url) == TAKEN[url]
    assert check_public_url(TAKEN[url]) == TAKEN[url]


@pytest.mark.parametrize("url", REFUSED, ids=lambda url: ascii(url)[:60])
def test_what_is_refused_is_told_why(url: str):
    with pytest.raises(UrlRefused) as caught:
        check_public_url(url)
    assert REFUSED[url] in str(caught.value)


@pytest.mark.parametrize(
    ("url", "plain"),
    [
        ("https://10.2.3.4/v1", "https://10.2.3.4/v1"),
        ("https://[FD12:0::1]/v1", "https://[fd12::1]/v1"),
        ("https://\uff11\uff10.2.3.4", "https://10.2.3.4"),
        ("https://vllm.default.svc.cluster.local", "https://vllm.default.svc.cluster.local"),
        ("https://vllm", "https://vllm"),
        ("https://api.example.com:8443", "https://api.example.com:8443"),
    ],
)
def test_what_the_operator_has_opened_is_taken(url: str, plain: str):
    opened = {"allowed_private_cidrs": ["10.2.0.0/16", "fd12::/32"], "allowed_ports": {443, 8443}}
    assert check_public_url(url, **opened) == plain


@pytest.mark.parametrize(
    "url",
    [
        "https://10.3.0.1",
        "https://10.2.3.04",
        "https://167904004",
        "https://0xa.2.3.4",
        "https://10.515",
        "https://[::ffff:10.2.3.4]",
        "https://[fd13::1]",
        "https://[fd12::1%25eth0]",
        "https://8.8.8.8",
        "https://api.example.com:8080",
        "http://10.2.3.4",
    ],
)
def test_and_no_more_than_that(url: str):
    with pytest.raises(UrlRefused):
        check_public_url(url, allowed_private_cidrs=["10.2.0.0/16", "fd12::/32"], allowed_ports={443, 8443})


@given(st.text(alphabet=st.sampled_from("ahtps:/.@#?%[]0x17f \\\u3002\uff11\uff4c-_\u00ad\n"), max_size=24))
def test_what_is_taken_is_read_alike_by_the_transport(text: str):
    """No text is both taken and something else to whoever connects."""
    try:
        plain = check_public_url("https://" + text)
    except UrlRefused:
        return
    scheme, host, port = origin_of(plain)
    assert (scheme, port) == ("https", 443)
    assert plain == f"https://{host}" or plain.startswith(f"https://{host}/")
    assert not host.rpartition(".")[2].isdigit()
    assert check_public_url(plain) == plain


@pytest.mark.parametrize(
    ("url", "expected", "is_private"),
    [
        ("https://API.Example.com:443/v1/", "https://api.example.com/v1", False),
        ("https://10.1.2.3:8000/v1", "https://10.1.2.3:8000/v1", True),
        ("http://10.1.2.3/v1", "http://10.1.2.3/v1", True),
        ("HTTP://vllm:8000", "http://vllm:8000", True),
        ("http://api.example.com:80/v1", "http://api.example.com/v1", True),
        ("https://llm.corp:8443", "https://llm.corp:8443", True),
        ("http://[fd00::1]:8000/v1", "http://[fd00::1]:8000/v1", True),
    ],
)
def test_a_place_within_opened_networks(url: str, expected: str, is_private: bool):
    assert place_of(url, allowed_private_cidrs=["10.0.0.0/8", "fd00::/8"]) == Place(expected, is_private)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com:8443/v1",
        "http://192.168.0.1/v1",
        "https://192.168.0.1/v1",
        "http://10.1.2.3:0/v1",
        "http://10.1.2.3:70000/v1",
        "ftp://10.1.2.3/",
        "http://user@10.1.2.3/",
        "http://10.1.2.3/#x",
        "http://169.254.169.254/latest",
    ],
)
def test_no_place_outside_of_opened_networks(url: str):
    with pytest.raises(UrlRefused):
        place_of(url, allowed_private_cidrs=["10.0.0.0/8"])


@pytest.mark.parametrize("url", ["http://10.1.2.3/v1", "http://api.example.com/v1", "https://10.1.2.3", "https://vllm"])
def test_without_opened_networks_every_place_is_public(url: str):
    with pytest.raises(UrlRefused):
        place_of(url)
