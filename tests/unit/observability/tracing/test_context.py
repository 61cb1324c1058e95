import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.observability.tracing.context import headers_under, read_parent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"


def read(parent, state=b""):
    return read_parent({b"traceparent": parent.encode("latin-1"), b"tracestate": state})


def test_a_parent_is_read():
    found = read(GOOD, b"congo=t61rcWkgMzE,rojo=00f067aa0ba902b7")
    assert found is not None
    assert (found.trace_id, found.span_id) == (int(TRACE, 16), int(SPAN, 16))
    assert found.is_sampled
    assert found.state == "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)]
)
def test_only_the_lowest_flag_says_sampled(flags, is_sampled):
    found = read(f"00-{TRACE}-{SPAN}-{flags}")
    assert found is not None
    assert found.is_sampled is is_sampled


@pytest.mark.parametrize(
    "parent",
    [
        "",
        "garbage",
        GOOD.upper(),
        GOOD[:-1],
        GOOD + "-more",
        GOOD.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"00_{TRACE}_{SPAN}_01",
    ],
)
def test_what_the_standard_refuses_is_not_read(parent):
    assert read(parent) is None
    assert read_parent({}) is None


def test_a_later_version_may_say_more():
    assert read(f"cc-{TRACE}-{SPAN}-01-what the future brings") is not None
    assert read(f"cc-{TRACE}-{SPAN}-01.what") is None


@pytest.mark.parametrize(
    "state", [b"=,=", b"a=" + b"x" * 600, b",".join(b"k%d=v" % n for n in range(33)), b"a=\r\nx: y", b"a=\xff", b"A=1"]
)
def test_a_state_that_is_not_one_is_left_out(state):
    found = read(GOOD, state)
    assert found is not None
    assert found.state == ""


def test_empty_members_of_a_state_are_dropped():
    found = read(GOOD, b"a=1,, b=2 ,")
    assert found is not None
    assert found.state == "a=1,b=2"


@given(st.binary(max_size=80), st.binary(max_size=600))
def test_whatever_is_sent_never_fails(parent, state):
    found = read_parent({b"traceparent": parent, b"tracestate": state})
    for name, value in headers_under(1, 2, is_sampled=True, state=found.state if found else ""):
        assert re.fullmatch(r"[a-z]+", name)
        assert re.fullmatch(r"[\x20-\x7e]+", value)


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.booleans())
def test_what_is_written_is_read_again(trace_id, span_id, is_sampled):
    ((_, parent),) = headers_under(trace_id, span_id, is_sampled=is_sampled, state="")
    assert read(parent)[:3] == (trace_id, span_id, is_sampled)
