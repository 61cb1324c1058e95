import asyncio
import contextlib
import json
import time

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api import body as bodies
from app.api.body import MAX_DEPTH, MAX_FIELDS, MAX_ITEMS, MAX_LISTS, MAX_MEMBERS, JsonReader, check_head, decode_object
from app.kernel.errors import ExpectationFailed, GatewayError, InvalidRequest, TooLarge, UnsupportedMediaType


def nested(depth, *, inner=b"1"):
    return (
        b'{"a":' * (depth // 2)
        + b"[" * (depth - depth // 2)
        + inner
        + b"]" * (depth - depth // 2)
        + b"}" * (depth // 2)
    )


TRICKY = rb'"[{[{ \" ]}\\\" [[[[ \\"'

GOOD = {
    "an empty object": b"{}",
    "spaces around": b' \r\n\t{"a": 1} \n',
    "exactly as deep as allowed": nested(MAX_DEPTH),
    "brackets in strings": b'{"a":' + json.dumps("[{" * 5_000).encode() + b"}",
    "escaped quotes and backslashes": b'{"a":[' + b",".join([TRICKY] * 200) + b"]}",
    "as many members as allowed": b'{"a":{' + b",".join(b'"%d":1' % i for i in range(MAX_MEMBERS - 1)) + b"}}",
    "as many fields as allowed": b"{" + b", ".join(b'"%d": 1' % i for i in range(MAX_FIELDS)) + b"}",
    "colons in strings": b'{"a":"' + b":" * 100_000 + b'"}',
    "many items": b'{"a":[' + b"1," * (MAX_ITEMS - 10) + b"1]}",
    "a whole number beyond 64 bits": b'{"a":' + b"9" * 400 + b"}",
    "a surrogate pair": rb'{"a":"\ud83d\ude00"}',
    "one name in two objects": b'{"a":[{"b":1}, {"b":1.0}]}',
    "a name in other letters": b'{"model":"a","Model":"b"}',
    "names beyond ASCII": '{"é":1,"é":2}'.encode(),
}
BROKEN = {
    "nothing": b"",
    "spaces": b"  ",
    "a list": b"[1]",
    "a number": b"1",
    "a text": b'"a"',
    "null": b"null",
    "invalid UTF-8 in a value": b'{"a":"\xff"}',
    "invalid UTF-8 in a name": b'{"\xc3\x28":1}',
    "an overlong form": b'{"a":"\xc0\xaf"}',
    "a surrogate as UTF-8": b'{"a":"\xed\xa0\x80"}',
    "a byte order mark": b'\xef\xbb\xbf{"a":1}',
    "UTF-16": '{"a":1}'.encode("utf-16"),
    "NaN": b'{"a":NaN}',
    "Infinity": b'{"a":-Infinity}',
    "1e400": b'{"a":1e400}',
    "5,000 digits": b'{"a":' + b"9" * 5_000 + b"}",
    "a second object": b'{"a":1}{"a":2}',
    "a second object behind a line": b'{"a":1}\n{"a":2}',
    "trailing text": b'{"a":1}x',
    "a lone surrogate": rb'{"a":"\ud800"}',
    "a trailing comma": b'{"a":1,}',
    "no end": b'{"a":',
    "single quotes": b"{'a':1}",
    "a control character": b'{"a":"\x00"}',
    "a comment": b'{"a":1}//',
    "one level too deep": nested(MAX_DEPTH + 1),
    "2,000 levels": nested(2_000),
    "100,000 levels": nested(100_000),
    "open brackets only": b'{"a":' + b"[" * 200_000,
    "closing brackets only": b"]" * 200_000,
    "deep behind an escaped quote": b'{"a":"' + rb"\"" * 40 + b'","b":' + nested(MAX_DEPTH) + b"}",
    "deep behind a backslash": rb'{"a":"\\","b":' + nested(MAX_DEPTH) + b"}",
    "a name that stands twice inside": b'{"a":{"b":1,"b":2}}',
    "a name that stands twice deep inside": b'{"a":[{"b":[{"c":":","c":null}]}]}',
    "a name that stands twice, made up for in length": b'{"a":{"b":1,"b":2},"c":[1e2,1e2,1e2]}',
    "a field that stands twice": b'{"model":"a","model":"b"}',
    "a field that stands twice with one value": b'{"model":"a","model":"a"}',
    "a field that stands twice among spaces": b'{ "model": "a", "n": 1, "model": "b" }',
    "a field that stands twice behind an escape": b'{"model":"a","mode\\u006c":"b"}',
    "a long field that stands twice": b'{"%b":1,"%b":2}' % (b"x" * 9_000, b"x" * 9_000),
    "one field too many": b"{" + b",".join(b'"%d":1' % i for i in range(MAX_FIELDS + 1)) + b"}",
    "one member too many": b"{" + b",".join(b'"%d":1' % i for i in range(MAX_MEMBERS + 1)) + b"}",
    "members spread over objects": b'{"a":[' + b",".join([b'{"a":1,"b":2}'] * (MAX_MEMBERS // 2 + 1)) + b"]}",
    "too many items": b'{"a":[' + b"1," * (MAX_ITEMS + 1) + b"1]}",
    "too many lists": b'{"a":[' + b"[]," * (MAX_LISTS + 1) + b"1]}",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_body_is_read(name):
    assert decode_object(GOOD[name]) == json.loads(GOOD[name])


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_body_is_the_clients_fault(name):
    with pytest.raises(InvalidRequest) as caught:
        decode_object(BROKEN[name])
    assert caught.value.code == "invalid_json"
    assert len(caught.value.message) < 200


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data):
    with contextlib.suppress(InvalidRequest):
        assert isinstance(decode_object(data), dict)


def measure(value):
    """Return the depth and the number of members of a decoded value."""
    if isinstance(value, dict):
        below = [measure(each) for each in value.values()]
        return 1 + max((depth for depth, _ in below), default=0), len(value) + sum(count for _, count in below)
    if isinstance(value, list):
        below = [measure(each) for each in value]
        return 1 + max((depth for depth, _ in below), default=0), sum(count for _, count in below)
    return 0, 0


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('ab"\\[]{}:,é\n'), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.sampled_from('k"\\[{:'), max_size=4), inner, max_size=4)
    ),
    max_leaves=40,
)


@settings(max_examples=300, deadline=None)
@given(
    value=st.dictionaries(st.text(max_size=3), values, max_size=6), slice_bytes=st.integers(1, 64), indent=st.booleans()
)
def test_the_bounds_agree_with_a_parser(value, slice_bytes, indent):
    body = json.dumps(value, ensure_ascii=False, indent=1 if indent else None).encode()
    depth, members = measure(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bodies, "_SLICE_BYTES", slice_bytes)
        patch.setattr(bodies, "_SMALLEST_MEMBER_BYTES", 0)
        outside = b"".join(bodies._outside_strings(body))
        for limit, is_fine in ((depth, True), (depth - 1, False)):
            patch.setattr(bodies, "MAX_DEPTH", limit)
            assert is_checked(body) == is_fine
        patch.setattr(bodies, "MAX_DEPTH", depth)
        patch.setattr(bodies, "MAX_MEMBERS", members)
        assert is_checked(body)
        patch.setattr(bodies, "MAX_MEMBERS", members - 1)
        assert not members or not is_checked(body)
    assert outside.count(b":") == members
    assert b'"' not in outside


def is_checked(body):
    try:
        bodies._check_size(body)
    except InvalidRequest:
        return False
    return True


async def test_a_hostile_body_does_not_stall_the_loop():
    body = b"{" + b",".join(b'"k%06d":1' % i for i in range(700_000)) + b"}"
    stalls = []

    async def watch():
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            stalls.append(time.perf_counter() - before)

    watcher = asyncio.create_task(watch())
    with pytest.raises(InvalidRequest):
        await JsonReader().read(body)
    await asyncio.sleep(0.01)
    watcher.cancel()
    assert sorted(stalls)[len(stalls) // 2] < 0.05


async def test_large_bodies_are_read_two_at_a_time(monkeypatch):
    running = most = 0

    def count(body):
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.02)
        running -= 1
        return {}

    monkeypatch.setattr(bodies, "_LARGE_BYTES", 1)
    monkeypatch.setattr(bodies, "decode_object", count)
    reader = JsonReader()
    assert await asyncio.gather(*(reader.read(b"{}") for _ in range(6))) == [{}] * 6
    assert most == 2


async def test_a_large_and_a_small_body_are_read_alike():
    text = json.dumps({"a": "x" * (1 << 20)}).encode()
    assert await JsonReader().read(text) == msgspec.json.decode(text)
    assert await JsonReader().read(b'{"a":1}') == {"a": 1}


JSON = {b"content-type": b"application/json"}


@pytest.mark.parametrize(
    "headers",
    [
        JSON,
        {b"content-type": b"Application/JSON; charset=utf-8"},
        JSON | {b"content-length": b"100"},
        JSON | {b"content-length": b"0"},
        JSON | {b"expect": b"100-Continue"},
        JSON | {b"content-encoding": b"Identity"},
    ],
)
def test_a_good_head_passes(headers):
    assert check_head(headers, limit_bytes=100) is None


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({}, UnsupportedMediaType),
        ({b"content-type": b""}, UnsupportedMediaType),
        ({b"content-type": b"text/plain"}, UnsupportedMediaType),
        ({b"content-type": b"application/x-www-form-urlencoded"}, UnsupportedMediaType),
        ({b"content-type": b"multipart/form-data; boundary=x"}, UnsupportedMediaType),
        ({b"content-type": b"application/msgpack"}, UnsupportedMediaType),
        ({b"content-type": b"application/jsonx"}, UnsupportedMediaType),
        (JSON | {b"content-encoding": b"gzip"}, UnsupportedMediaType),
        (JSON | {b"content-encoding": b"identity, br"}, UnsupportedMediaType),
        (JSON | {b"content-length": b"101"}, TooLarge),
        (JSON | {b"content-length": b"9" * 5_000}, TooLarge),
        (JSON | {b"content-length": b"-1"}, TooLarge),
        (JSON | {b"content-length": b"+4"}, TooLarge),
        (JSON | {b"content-length": b"1e2"}, TooLarge),
        (JSON | {b"expect": b"200-ok"}, ExpectationFailed),
    ],
)
def test_a_bad_head_is_refused(headers, kind):
    with pytest.raises(GatewayError) as caught:
        check_head(headers, limit_bytes=100)
    assert type(caught.value) is kind
