"""What an answer means, whatever pieces it comes in: one table, over real sockets and at every split of its bytes."""

import asyncio
import gzip
import zlib

import pytest

from providers.errors import ProviderError
from providers.types import Timeouts

LONG_LINE = b"x" * 70_000
GZIPPED = gzip.compress(b"hello hello hello", mtime=0)
BARE_DEFLATE = zlib.compressobj(wbits=-15)
DEFLATED = BARE_DEFLATE.compress(b"hello") + BARE_DEFLATE.flush()


def ok(fields: bytes, body: bytes = b"", *, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return line + b"\r\n" + fields + b"\r\n" + body


def encoded(coding: bytes, body: bytes) -> bytes:
    return ok(b"content-encoding: %b\r\ncontent-length: %d\r\n" % (coding, len(body)), body)


# name: (bytes of the answer, (status, body) or error code, whether the connection is kept)
CASES = {
    "length": (ok(b"content-length: 5\r\n", b"hello"), (200, b"hello"), True),
    "length of zero": (ok(b"content-length: 0\r\n"), (200, b""), True),
    "no reason phrase": (ok(b"content-length: 1\r\n", b"a", line=b"HTTP/1.1 200"), (200, b"a"), True),
    "empty field value": (ok(b"x-empty:\r\ncontent-length: 1\r\n", b"a"), (200, b"a"), True),
    "chunks": (ok(b"transfer-encoding: chunked\r\n", b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), (200, b"abcde"), True),
    "chunks in capitals": (ok(b"Transfer-Encoding: Chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n"), (200, b"abc"), True),
    "chunk extensions": (ok(b"transfer-encoding: chunked\r\n", b'3;a="b"\r\nabc\r\n0;z\r\n\r\n'), (200, b"abc"), True),
    "trailers": (
        ok(b"transfer-encoding: chunked\r\n", b"3\r\nabc\r\n0\r\nx-sum: 1\r\nx-two: 2\r\n\r\n"),
        (200, b"abc"),
        True,
    ),
    "no chunk but the last": (ok(b"transfer-encoding: chunked\r\n", b"0\r\n\r\n"), (200, b""), True),
    "until the connection ends": (ok(b"", b"hello"), (200, b"hello"), False),
    "nothing until the connection ends": (ok(b""), (200, b""), False),
    "close": (ok(b"connection: close\r\ncontent-length: 2\r\n", b"ab"), (200, b"ab"), False),
    "close with chunks": (
        ok(b"connection: close\r\ntransfer-encoding: chunked\r\n", b"1\r\na\r\n0\r\n\r\n"),
        (200, b"a"),
        False,
    ),
    "HTTP/1.0": (ok(b"content-length: 2\r\n", b"ab", line=b"HTTP/1.0 200 OK"), (200, b"ab"), False),
    "HTTP/1.0 kept alive": (
        ok(b"content-length: 2\r\nconnection: keep-alive\r\n", b"ab", line=b"HTTP/1.0 200 OK"),
        (200, b"ab"),
        True,
    ),
    "HTTP/1.0 until the connection ends": (ok(b"", b"ab", line=b"HTTP/1.0 200 OK"), (200, b"ab"), False),
    "204": (ok(b"", line=b"HTTP/1.1 204 No Content"), (204, b""), True),
    "304": (ok(b"", line=b"HTTP/1.1 304 Not Modified"), (304, b""), True),
    "304 with a length": (ok(b"content-length: 9\r\n", line=b"HTTP/1.1 304 Not Modified"), (304, b""), True),
    "404": (ok(b"content-length: 2\r\n", b"no", line=b"HTTP/1.1 404 Not Found"), (404, b"no"), True),
    "307 is not followed": (ok(b"location: /x\r\ncontent-length: 0\r\n", line=b"HTTP/1.1 307 X"), (307, b""), True),
    "529": (ok(b"content-length: 0\r\n", line=b"HTTP/1.1 529 Busy"), (529, b""), True),
    "100 before": (b"HTTP/1.1 100 Continue\r\n\r\n" + ok(b"content-length: 2\r\n", b"ab"), (200, b"ab"), True),
    "103 before": (b"HTTP/1.1 103 Hints\r\nlink: x\r\n\r\n" + ok(b"content-length: 2\r\n", b"ab"), (200, b"ab"), True),
    "sixteen before": (b"HTTP/1.1 102 P\r\n\r\n" * 16 + ok(b"content-length: 1\r\n", b"a"), (200, b"a"), True),
    "seventeen before": (b"HTTP/1.1 102 P\r\n\r\n" * 17, "upstream_bad_response", False),
    "100 with a body": (
        b"HTTP/1.1 100 Continue\r\ncontent-length: 3\r\n\r\nabc" + ok(b"content-length: 0\r\n"),
        "upstream_bad_response",
        False,
    ),
    "101": (
        ok(b"upgrade: x\r\nconnection: upgrade\r\n", line=b"HTTP/1.1 101 Switching"),
        "upstream_bad_response",
        False,
    ),
    "101 without a word": (ok(b"", line=b"HTTP/1.1 101 Switching"), "upstream_bad_response", False),
    "only 100": (b"HTTP/1.1 100 Continue\r\n\r\n", "upstream_interrupted", False),
    "surplus garbage": (ok(b"content-length: 1\r\n", b"aGARBAGE"), (200, b"a"), False),
    "surplus answer": (ok(b"content-length: 1\r\n", b"a") + ok(b"content-length: 1\r\n", b"b"), (200, b"a"), False),
    "surplus after chunks": (ok(b"transfer-encoding: chunked\r\n", b"1\r\na\r\n0\r\n\r\nH"), (200, b"a"), False),
    "gzip": (encoded(b"gzip", GZIPPED), (200, b"hello hello hello"), True),
    "gzip in chunks": (
        ok(
            b"content-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
            b"%x\r\n%b\r\n0\r\n\r\n" % (len(GZIPPED), GZIPPED),
        ),
        (200, b"hello hello hello"),
        True,
    ),
    "gzip of two members": (encoded(b"gzip", GZIPPED + GZIPPED), (200, b"hello hello hello" * 2), True),
    "gzip of nothing": (encoded(b"gzip", gzip.compress(b"", mtime=0)), (200, b""), True),
    "gzip without a byte": (encoded(b"gzip", b""), (200, b""), True),
    "x-gzip": (encoded(b"X-GZip", GZIPPED), (200, b"hello hello hello"), True),
    "deflate": (encoded(b"deflate", zlib.compress(b"hello")), (200, b"hello"), True),
    "deflate without its header": (encoded(b"deflate", DEFLATED), (200, b"hello"), True),
    "deflate of one byte": (encoded(b"deflate", b"\x78"), "upstream_interrupted", None),
    "identity": (encoded(b"identity", b"hello"), (200, b"hello"), True),
    "gzip cut": (encoded(b"gzip", GZIPPED[:-9]), "upstream_interrupted", None),
    "gzip damaged": (encoded(b"gzip", b"not gzip at all"), "upstream_bad_response", None),
    "gzip with garbage behind": (encoded(b"gzip", GZIPPED + b"garbage"), "upstream_bad_response", None),
    "brotli": (encoded(b"br", b"hello"), "upstream_bad_response", False),
    "zstd": (encoded(b"zstd", b"hello"), "upstream_bad_response", False),
    "gzip twice": (encoded(b"gzip, gzip", b"hello"), "upstream_bad_response", False),
    "two encodings": (
        ok(b"content-encoding: gzip\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n", b"a"),
        "upstream_bad_response",
        False,
    ),
    "two lengths": (ok(b"content-length: 1\r\ncontent-length: 2\r\n", b"ab"), "upstream_bad_response", False),
    "a list of lengths": (ok(b"content-length: 1, 1\r\n", b"a"), "upstream_bad_response", False),
    "a negative length": (ok(b"content-length: -1\r\n", b"a"), "upstream_bad_response", False),
    "a signed length": (ok(b"content-length: +1\r\n", b"a"), "upstream_bad_response", False),
    "a length that overflows": (ok(b"content-length: 99999999999999999999\r\n"), "upstream_bad_response", False),
    "length and chunks": (
        ok(b"content-length: 1\r\ntransfer-encoding: chunked\r\n", b"0\r\n\r\n"),
        "upstream_bad_response",
        False,
    ),
    "chunks and length": (
        ok(b"transfer-encoding: chunked\r\ncontent-length: 1\r\n", b"0\r\n\r\n"),
        "upstream_bad_response",
        False,
    ),
    "gzip as transfer encoding": (
        ok(b"transfer-encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
        "upstream_bad_response",
        False,
    ),
    "identity as transfer encoding": (ok(b"transfer-encoding: identity\r\n", b"a"), "upstream_bad_response", False),
    "a chunk size that is none": (
        ok(b"transfer-encoding: chunked\r\n", b"xyz\r\n"),
        (200, b"", "upstream_bad_response"),
        False,
    ),
    "a chunk size that overflows": (
        ok(b"transfer-encoding: chunked\r\n", b"fffffffffffffffff\r\n"),
        (200, b"", "upstream_bad_response"),
        False,
    ),
    "a chunk without its end": (
        ok(b"transfer-encoding: chunked\r\n", b"1\r\nabc\r\n"),
        (200, b"a", "upstream_bad_response"),
        False,
    ),
    "a folded field": (ok(b"a: b\r\n c\r\ncontent-length: 0\r\n"), "upstream_bad_response", False),
    "a field without a name": (ok(b": b\r\n"), "upstream_bad_response", False),
    "a space before the colon": (ok(b"a : b\r\n"), "upstream_bad_response", False),
    "line feeds alone": (b"HTTP/1.1 200 OK\ncontent-length: 0\n\n", "upstream_bad_response", False),
    "not HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", "upstream_bad_response", False),
    "HTML alone": (b"<html>busy</html>", "upstream_bad_response", False),
    "HTTP/3.0": (ok(b"content-length: 0\r\n", line=b"HTTP/3.0 200 OK"), "upstream_bad_response", False),
    "status 099": (ok(b"content-length: 0\r\n", line=b"HTTP/1.1 099 X"), "upstream_bad_response", False),
    "status 600": (ok(b"content-length: 0\r\n", line=b"HTTP/1.1 600 X"), "upstream_bad_response", False),
    "status 20": (ok(b"content-length: 0\r\n", line=b"HTTP/1.1 20 X"), "upstream_bad_response", False),
    "cut in the status line": (b"HTTP/1.1 20", "upstream_interrupted", False),
    "cut in the head": (b"HTTP/1.1 200 OK\r\ncontent-le", "upstream_interrupted", False),
    "cut in the body": (ok(b"content-length: 5\r\n", b"hel"), (200, b"hel", "upstream_interrupted"), False),
    "cut in a chunk": (
        ok(b"transfer-encoding: chunked\r\n", b"5\r\nhel"),
        (200, b"hel", "upstream_interrupted"),
        False,
    ),
    "cut before the last chunk": (
        ok(b"transfer-encoding: chunked\r\n", b"3\r\nhel\r\n"),
        (200, b"hel", "upstream_interrupted"),
        False,
    ),
    "cut in the trailers": (
        ok(b"transfer-encoding: chunked\r\n", b"1\r\na\r\n0\r\nx-su"),
        (200, b"a", "upstream_interrupted"),
        False,
    ),
    "nothing at all": (b"", "upstream_interrupted", False),
}
LARGE = {
    "a head of 70 KB": (ok(b"x-long: " + LONG_LINE + b"\r\ncontent-length: 0\r\n"), "upstream_too_large", False),
    "a head without end": (b"HTTP/1.1 200 OK\r\nx-long: " + LONG_LINE, "upstream_too_large", False),
    "a field name without end": (b"HTTP/1.1 200 OK\r\n" + LONG_LINE, "upstream_too_large", False),
    "a reason without end": (b"HTTP/1.1 200 " + LONG_LINE, "upstream_too_large", False),
    "201 fields": (ok(b"a: b\r\n" * 200 + b"content-length: 0\r\n"), "upstream_too_large", False),
    "200 fields": (ok(b"a: b\r\n" * 199 + b"content-length: 1\r\n", b"x"), (200, b"x"), True),
    "a chunk extension without end": (
        ok(b"transfer-encoding: chunked\r\n", b"1;a=" + LONG_LINE),
        (200, b"", "upstream_too_large"),
        False,
    ),
    "trailers without end": (
        ok(b"transfer-encoding: chunked\r\n", b"1\r\na\r\n0\r\n" + b"x-t: y\r\n" * 30_000),
        (200, b"a", "upstream_too_large"),
        False,
    ),
}


async def outcome(exchange):
    """Return what a caller sees: status and body, an error's code, or all three when the body breaks."""
    try:
        answer = await exchange
    except ProviderError as error:
        return error.code
    body = b""
    try:
        while piece := await answer.read():
            body += piece
        assert answer.at_end
        assert await answer.read() == b""
    except ProviderError as error:
        return error.code if answer.inflater is not None else (answer.status, body, error.code)
    finally:
        answer.close()
    return answer.status, body


@pytest.mark.parametrize("name", CASES | LARGE)
async def test_an_answer_over_a_socket_means_what_the_table_says(name, upstream, pool, post):
    sent, expected, is_kept = (CASES | LARGE)[name]

    async def script(peer):
        await peer.request()
        await peer.send(sent)
        if not is_kept or expected == (200, b""):
            await asyncio.sleep(0.01)
            peer.writer.write_eof()
        await peer.request()

    server = await upstream(script)
    seen = await outcome(pool.send(post(server.url), timeouts=Timeouts(first_token_s=5, idle_s=5)))
    assert seen == expected
    assert pool.stats().active == 0
    if is_kept is False:
        assert pool.stats().idle == 0


@pytest.mark.parametrize("name", CASES)
async def test_every_split_of_the_bytes_gives_the_same_answer(name, bench):
    sent, expected, is_kept = CASES[name]
    splits = [(sent[:cut], sent[cut:]) for cut in range(1, len(sent))]
    for parts in [(sent,), *splits, tuple(sent[n : n + 1] for n in range(len(sent)))]:
        line = bench()
        seen = asyncio.ensure_future(outcome(line.exchange))
        await line.feed(*parts)
        kept = not line.wire.is_cut and line.connection in line.origin.idle
        await line.end()
        assert await seen == expected, parts
        if is_kept is not None:
            assert kept == is_kept, parts
        assert not line.origin.open


@pytest.mark.parametrize("step", [13, 1000, 65_536])
@pytest.mark.parametrize("name", LARGE)
async def test_large_answers_meet_their_bound_whatever_the_pieces(name, step, bench):
    sent, expected, _ = LARGE[name]
    line = bench()
    seen = asyncio.ensure_future(outcome(line.exchange))
    await line.feed(*(sent[n : n + step] for n in range(0, len(sent), step)))
    await line.end()
    assert await seen == expected


BROTLI = b"content-encoding: br\r\ncontent-length: 1\r\n"
REFUSED_HEADS = {
    "an encoding": (ok(BROTLI, b"a"), True),
    "a transfer encoding": (ok(b"transfer-encoding: gzip, chunked\r\n", b"0\r\n\r\n"), True),
    "201 fields": (ok(b"a: b\r\n" * 200 + b"content-length: 0\r\n"), True),
    "a head without end": (b"HTTP/1.1 201 Created\r\nx-long: " + LONG_LINE, True),
    "an encoding of a refusal": (ok(BROTLI, b"a", line=b"HTTP/1.1 404 X"), False),
    "a refusal without end": (b"HTTP/1.1 503 X\r\nx-long: " + LONG_LINE, False),
    "too much before the answer": (b"HTTP/1.1 102 P\r\n\r\n" * 17, False),
    "no status": (ok(b"content-length: 0\r\n", line=b"HTTP/1.1 600 X"), False),
    "no HTTP": (b"SSH-2.0-OpenSSH_9.2\r\n", False),
    "a cut": (b"HTTP/1.1 200 OK\r\ncontent-le", False),
}


@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("name", REFUSED_HEADS)
async def test_a_head_that_is_refused_tells_whether_the_request_was_accepted(name, is_kept, upstream, pool, post):
    """It is what this answer said, not what the one before it on the same connection did."""
    sent, expected = REFUSED_HEADS[name]

    async def script(peer):
        if is_kept:
            await peer.request()
            await peer.ok()
        await peer.request()
        await peer.send(sent)
        peer.writer.write_eof()
        await peer.reader.read()

    server = await upstream(script)
    for _ in range(is_kept):
        assert await (await pool.send(post(server.url), timeouts=Timeouts())).read_all() == b"ok"
    with pytest.raises(ProviderError) as caught:
        await pool.send(post(server.url), timeouts=Timeouts(first_token_s=5, idle_s=5))
    assert caught.value.is_accepted is expected
    assert server.opened == 1


@pytest.mark.parametrize(
    "fields", [b"content-length: 5\r\n", b"transfer-encoding: chunked\r\n", b"", b"content-encoding: br\r\n"]
)
async def test_the_answer_to_a_head_request_has_no_body(fields, bench):
    for extra in (b"", b"hello"):
        line = bench("HEAD")
        seen = asyncio.ensure_future(outcome(line.exchange))
        await line.feed(ok(fields, extra))
        assert line.wire.is_cut  # the parser still waits for what the head describes
        assert await seen == (200, b"")


async def test_fields_are_lower_case_joined_and_kept_apart_from_trailers(bench):
    line = bench()
    sent = ok(
        b"X-A: 1\r\nx-a: 2\r\nX-Empty:\r\nX-Latin: \xe9\r\nTransfer-Encoding: chunked\r\n",
        b"1\r\na\r\n0\r\nx-trailer: 1\r\n\r\n",
    )
    await line.feed(sent)
    answer = await line.exchange
    assert answer.headers == {"x-a": "1, 2", "x-empty": "", "x-latin": "é", "transfer-encoding": "chunked"}
    assert await answer.read_all() == b"a"


async def test_a_decoded_answer_no_longer_claims_its_encoding(bench):
    line = bench()
    await line.feed(encoded(b"gzip", GZIPPED))
    answer = await line.exchange
    assert answer.headers == {}
    assert await answer.read_all() == b"hello hello hello"


async def test_fields_before_an_informational_answer_are_not_the_answers(bench):
    line = bench()
    await line.feed(
        b"HTTP/1.1 103 X\r\nx-early: 1\r\ncontent-encoding: gzip\r\n\r\n" + ok(b"content-length: 1\r\n", b"a")
    )
    answer = await line.exchange
    assert answer.headers == {"content-length": "1"}
    assert await answer.read_all() == b"a"
