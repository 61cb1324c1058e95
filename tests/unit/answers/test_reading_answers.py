"""Reading what vendors answer: nothing about its shape is believed."""

import math

import pytest

from providers.answers import (
    count,
    error_of_status,
    fields,
    integer,
    objects,
    read_object,
    read_refusal,
    retry_after_s,
    text,
    vector,
)
from providers.errors import (
    BadAnswer,
    ContextTooLong,
    CredentialRefused,
    ProviderOverloaded,
    ProviderRateLimited,
    RequestRefused,
)

GARBAGE = [b"", b"{", b"[]", b"7", b"null", b"\xff\xfe", b"[" * 5000, b'{"a": ' * 5000]


@pytest.mark.parametrize("body", GARBAGE, ids=repr)
def test_garbage_is_no_object(body):
    with pytest.raises(BadAnswer):
        read_object(body)
    assert read_refusal(body) == {}


def test_an_object_is_one():
    assert read_object(b'{"a": 1}') == read_refusal(b'{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("value", "whole", "counted"),
    [
        (7, 7, 7),
        (7.0, 7, 7),
        (7.5, 7, None),
        (-1, -1, None),
        (True, 0, None),
        ("7", 0, None),
        (None, 0, None),
        (10**12, 10**12, None),
        (10**400, 0, None),
        (math.nan, 0, None),
        (math.inf, 0, None),
    ],
)
def test_numbers_are_read_with_care(value, whole, counted):
    assert (integer(value), count(value)) == (whole, counted)


def test_other_shapes_give_way():
    assert objects([{"a": 1}, 7, None]) == [{"a": 1}]
    assert objects({"a": 1}) == []
    assert fields({"a": 1}) == {"a": 1}
    assert fields([1]) == {}
    assert text("x" * 9_999) == "x" * 2_000
    assert text(429) == "429"
    assert [text(odd) for odd in ("", None, True, 1.5, {})] == [None] * 5


def test_a_vector_holds_numbers():
    assert vector([1, 0.5]) == [1.0, 0.5]


@pytest.mark.parametrize("odd", [None, "x", {}, ["1"], [None], [[1]], [10**400]], ids=lambda odd: repr(odd)[:20])
def test_what_is_no_list_of_numbers_is_no_vector(odd):
    with pytest.raises(BadAnswer):
        vector(odd)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "99999"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None),
        ({}, None),
    ],
)
def test_a_wait_is_told_in_seconds(headers, seconds):
    assert retry_after_s(headers) == seconds


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, ContextTooLong),
        (404, ContextTooLong),
        (401, CredentialRefused),
        (402, CredentialRefused),
        (429, ProviderRateLimited),
        (307, BadAnswer),
        (408, ProviderOverloaded),
        (424, ProviderOverloaded),
        (529, ProviderOverloaded),
    ],
)
def test_a_status_is_an_error_of_its_kind(status, kind):
    error = error_of_status(status, {"retry-after": "3"}, message="said", code="c", param="p", refusal=ContextTooLong)
    assert type(error) is kind
    assert error.status == status
    assert (error.message == "said") is (status in {400, 404, 429})
    assert error.param == ("p" if isinstance(error, RequestRefused) else None)
    assert error.retry_after_s == (3.0 if status in {408, 424, 429, 529} else None)
