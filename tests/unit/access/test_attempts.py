"""How often one address may fail."""

import pytest

from app.domain.access import attempts
from app.domain.access.attempts import Attempts
from app.kernel.clock import ManualClock
from app.kernel.errors import RateLimited


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def fail(throttle: Attempts, address: str, *, times: int) -> None:
    for _ in range(times):
        throttle.admit(address)
        throttle.count(address)


def test_an_address_is_refused_until_its_minute_is_over(clock):
    throttle = Attempts(clock, limit=3)
    fail(throttle, "192.0.2.1", times=3)
    clock.advance(20)
    with pytest.raises(RateLimited) as caught:
        throttle.admit("192.0.2.1")
    assert caught.value.retry_after_s == 40
    throttle.admit("192.0.2.2")
    clock.advance(40)
    fail(throttle, "192.0.2.1", times=3)


@pytest.mark.parametrize(("other", "is_same"), [("2001:db8::ffff", True), ("2001:db8:0:1::1", False)])
def test_a_network_of_ipv6_is_one_address(clock, other, is_same):
    throttle = Attempts(clock, limit=1)
    fail(throttle, "2001:db8::1", times=1)
    if is_same:
        with pytest.raises(RateLimited):
            throttle.admit(other)
    else:
        throttle.admit(other)


def test_strangers_fill_no_memory(clock, monkeypatch):
    monkeypatch.setattr(attempts, "_MAX_ADDRESSES", 5)
    throttle = Attempts(clock, limit=1)
    for number in range(20):
        throttle.count(f"192.0.2.{number}")
    assert len(throttle._windows) == 5
    throttle.admit("192.0.2.0")
    with pytest.raises(RateLimited):
        throttle.admit("192.0.2.19")


@pytest.mark.parametrize("address", ["", "not an address", "x" * 10_000])
def test_any_text_is_an_address(clock, address):
    throttle = Attempts(clock, limit=1)
    fail(throttle, address, times=1)
    with pytest.raises(RateLimited):
        throttle.admit(address)
