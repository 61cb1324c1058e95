"""What is written for a request, and what is refused before it is."""

import msgspec
import pytest

from providers.errors import ConnectFailed, RequestRefused
from providers.http.request import encode_head, origin_of
from providers.types import Timeouts, UpstreamRequest


def encoded(url="http://api.test/v1", *, method="POST", headers=(), length=2):
    request = UpstreamRequest(method=method, url=url, headers=tuple(headers))
    return encode_head(request, origin=origin_of(url)).for_body(length)


def test_a_head_is_written_in_full():
    assert encoded(
        "http://api.test:8000/v1/chat?x=1#part", headers=[("authorization", "Bearer k"), ("x-a", "\té")]
    ) == (
        b"POST /v1/chat?x=1 HTTP/1.1\r\nhost: api.test:8000\r\nauthorization: Bearer k\r\nx-a: \t\xe9\r\n"
        b"accept-encoding: identity\r\ncontent-length: 2\r\n\r\n"
    )


def test_a_request_without_a_body_declares_none_unless_it_could_have_one():
    assert b"content-length" not in encoded(method="GET", length=0)
    assert b"content-length: 0\r\n" in encoded(method="POST", length=0)
    assert b"content-length: 3\r\n" in encoded(method="DELETE", length=3)


def test_no_other_encoding_is_ever_asked_for():
    assert encoded(headers=[("Accept-Encoding", "gzip, br")]).count(b"ccept-") == 1


@pytest.mark.parametrize(
    ("url", "origin", "host"),
    [
        ("http://api.test", ("http", "api.test", 80), b"api.test"),
        ("https://API.test/", ("https", "api.test", 443), b"api.test"),
        ("https://api.test:443/", ("https", "api.test", 443), b"api.test"),
        ("http://api.test:443/", ("http", "api.test", 443), b"api.test:443"),
        ("http://[::1]:8080/", ("http", "::1", 8080), b"[::1]:8080"),
        ("http://127.0.0.1/", ("http", "127.0.0.1", 80), b"127.0.0.1"),
        ("http://bücher.test/", ("http", "xn--bcher-kva.test", 80), b"xn--bcher-kva.test"),
    ],
)
def test_a_url_has_an_origin_and_a_host_field(url, origin, host):
    assert origin_of(url) == origin
    assert encoded(url).split(b"\r\n")[1] == b"host: " + host


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/v1",
        "api.test/v1",
        "ftp://api.test/",
        "file:///etc/passwd",
        "unix:///run/docker.sock",
        "http://",
        "http:///v1",
        "http://user@api.test/",
        "http://user:secret@api.test/",
        "http://api.test:99999/",
        "http://api.test:x/",
        "http://api test/",
        "http://api.test\\@evil.test/",
        "http://[::1/",
        "http://" + "ü" * 70 + ".test/",
    ],
)
def test_a_url_that_is_not_plain_http_is_refused_without_being_repeated(url):
    with pytest.raises(ConnectFailed) as caught:
        origin_of(url)
    assert "secret" not in caught.value.message
    assert "user" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-a", "1\r\nx-b: 2"),
        ("x-a", "1\nx-b: 2"),
        ("x-a", "1\x00"),
        ("x-a", "\x7f"),
        ("x-a", "€"),
        ("x a", "1"),
        ("x-a:", "1"),
        ("x-a\r\n", "1"),
        ("", "1"),
        ("é", "1"),
        ("Host", "evil.test"),
        ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "close"),
        ("upgrade", "h2c"),
    ],
)
def test_a_field_that_could_break_out_is_refused(name, value):
    with pytest.raises(RequestRefused):
        encoded(headers=[(name, value)])


@pytest.mark.parametrize("url", ["http://api.test/a b", "http://api.test/ü", "http://api.test/\x7f"])
def test_a_target_that_is_not_encoded_is_refused(url):
    with pytest.raises(RequestRefused):
        encoded(url)


def test_line_breaks_in_a_url_never_reach_the_wire():
    with pytest.raises(RequestRefused):
        encoded("http://api.test/a\r\nx-evil: 1\r\n\r\nGET /b")
    assert encoded("http://api.test/a\r\nb").startswith(b"POST /ab HTTP/1.1\r\n")  # urlsplit drops them


@pytest.mark.parametrize("method", ["", "PO ST", "GET\r\n", "GÉT"])
def test_a_method_that_is_no_word_is_refused(method):
    with pytest.raises(RequestRefused):
        encoded(method=method)


async def test_a_refused_request_uses_no_connection(pool, post):
    with pytest.raises(RequestRefused):
        await pool.send(post("http://127.0.0.1:1/", headers=[("x", "\n")]), timeouts=Timeouts())
    assert pool.stats().active == 0


async def test_a_head_is_encoded_once(upstream, pool, post):
    async def script(peer):
        while True:
            await peer.ok(await peer.request())

    server = await upstream(script)
    for number in range(700):
        answer = await pool.send(post(server.url, headers=[("x-id", str(number % 600))]), timeouts=Timeouts())
        await answer.read_all()
    assert len(pool._heads) <= 512
    before = dict(pool._heads)
    answer = await pool.send(post(server.url, headers=[("x-id", "99")]), timeouts=Timeouts())
    await answer.read_all()
    assert pool._heads == before


async def test_headers_of_one_call_are_sent_and_not_remembered(upstream, pool, post):
    heads = []

    async def script(peer):
        while True:
            heads.append(await peer.reader.readuntil(b"\r\n\r\n"))
            await peer.ok()

    server = await upstream(script)
    plain = post(server.url, headers=[("x-id", "1")], body=b"")
    for number in range(3):
        request = msgspec.structs.replace(plain, call_headers=(("traceparent", f"00-{number}"),))
        await (await pool.send(request, timeouts=Timeouts())).read_all()
    await (await pool.send(plain, timeouts=Timeouts())).read_all()
    assert len(pool._heads) == 1
    sent = [str(head).lower() for head in heads]
    assert ["traceparent" in head for head in sent] == [True, True, True, False]
    assert all(f"00-{number}" in sent[number] for number in range(3))


async def test_a_header_of_one_call_that_could_break_out_is_refused(pool, post):
    request = msgspec.structs.replace(post("http://127.0.0.1:1/"), call_headers=(("tracestate", "a=1\r\nx: y"),))
    with pytest.raises(RequestRefused):
        await pool.send(request, timeouts=Timeouts())
