"""Which requests are the same under an idempotency key, and what a repeated answer says."""

from types import SimpleNamespace
from uuid import UUID

import pytest

from app.api.once import hash_of, headers_of_who_served, replayed_headers, slot_of
from app.kernel.errors import InvalidRequest
from app.pipeline.options import Options

PATH = "/v1/chat/completions"


def an_exchange(body=b"{}", *, content_type="application/json", passed=(), **options):
    return SimpleNamespace(
        principal=SimpleNamespace(key_id=UUID(int=1)),
        body=body,
        content_type=content_type,
        passed_headers=passed,
        options=Options(**options),
    )


def a_form(boundary, value=b"hello"):
    body = b"--%b\r\ncontent-disposition: form-data; name=file\r\n\r\n%b\r\n--%b--\r\n" % (boundary, value, boundary)
    return an_exchange(body, content_type=f"Multipart/Form-Data; boundary={boundary.decode()}")


@pytest.mark.parametrize("given", [b"k", b"a key of 'many' ~words~", b"x" * 255])
def test_a_printable_key_is_taken_as_it_is(given):
    assert slot_of(given, an_exchange(), PATH) == (UUID(int=1), PATH, given.decode())


@pytest.mark.parametrize("given", [b"", b"x" * 256, b"a\tb", b"\xe9", b"a\x7fb", "ключ".encode()])
def test_another_key_is_refused_by_name(given):
    with pytest.raises(InvalidRequest) as caught:
        slot_of(given, an_exchange(), PATH)
    assert caught.value.param == "Idempotency-Key"
    assert "Idempotency-Key" in caught.value.message


@pytest.mark.parametrize("path", ["/v1beta/models/" + "x" * 600, "/v1beta/models/\0:generateContent", "/\x85"])
def test_a_path_that_no_column_holds_is_its_hash(path):
    slot = slot_of(b"k", an_exchange(), path)
    assert len(slot.path) == len("sha256:") + 64
    assert slot.path.isascii()
    assert slot != slot_of(b"k", an_exchange(), path + "x")


async def test_the_same_request_has_the_same_hash_whatever_does_not_make_the_answer():
    first = await hash_of(an_exchange(), "")
    assert len(first) == 32
    assert first == await hash_of(an_exchange(), "")
    assert first == await hash_of(an_exchange(timeout_s=5.0, tags={"run": "2"}), "")


async def test_whatever_makes_another_answer_makes_another_hash():
    others = [
        (an_exchange(b"{ }"), ""),
        (an_exchange(), "alt=sse"),
        (an_exchange(passed=(("anthropic-beta", "x"),)), ""),
        (an_exchange(max_cost_nusd=1), ""),
        (an_exchange(includes_cost=True), ""),
        (an_exchange(route=("p", "m")), ""),
        (an_exchange(cache="off"), ""),
    ]
    hashes = [await hash_of(exchange, query) for exchange, query in others]
    assert len({*hashes, await hash_of(an_exchange(), "")}) == len(others) + 1


async def test_what_stands_before_the_body_cannot_be_moved_into_it():
    assert await hash_of(an_exchange(b'x"{}'), "") != await hash_of(an_exchange(b"{}"), 'x"')


async def test_the_boundary_of_a_form_does_not_make_another_request():
    assert await hash_of(a_form(b"one"), "") == await hash_of(a_form(b"another"), "")
    assert await hash_of(a_form(b"one"), "") != await hash_of(a_form(b"one", b"other"), "")


async def test_a_large_body_is_hashed_alike():
    large = b"x" * (2 << 20)
    assert await hash_of(an_exchange(large), "") == await hash_of(an_exchange(large), "")
    assert await hash_of(an_exchange(large), "") != await hash_of(an_exchange(large + b"x"), "")


def test_a_repeated_answer_says_who_served_the_first_and_is_otherwise_itself():
    first = [
        (b"x-request-id", b"first"),
        (b"x-gateway-provider", b"p"),
        (b"x-gateway-attempts", b"2"),
        (b"x-gateway-cost", b"0.1"),
        (b"x-gateway-overhead-ms", b"9"),
    ]
    own = [(b"x-request-id", b"own"), (b"x-gateway-attempts", b"0"), (b"x-gateway-overhead-ms", b"1")]
    assert replayed_headers(own, headers_of_who_served(first)) == [
        (b"x-request-id", b"own"),
        (b"x-gateway-overhead-ms", b"1"),
        (b"x-gateway-provider", b"p"),
        (b"x-gateway-attempts", b"2"),
        (b"x-gateway-cost", b"0.1"),
        (b"idempotent-replayed", b"true"),
    ]


async def test_where_an_option_was_said_makes_no_other_hash():
    said = an_exchange(max_cost_nusd=5), an_exchange(max_cost_nusd=5, in_body=frozenset({"max_cost"}))
    assert await hash_of(said[0], "") == await hash_of(said[1], "")
