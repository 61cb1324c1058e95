"""What the ledger says of the calls of a fan-out: each leg once, by the attempt that served or its last."""

import pytest
from scripted_pipeline import FakeAdapter

from app.api.openai.paths import CHAT_WIRE
from app.fanout.spec import FanoutSpec
from app.pipeline.attempt import Attempt
from app.pipeline.events import events_of, so_far
from app.pipeline.exchange import Exchange
from app.pipeline.fanout import Fanout

AT_MS = 1_700_000_000_000


@pytest.fixture
def exchange(pipeline):
    found = pipeline.exchange(CHAT_WIRE.operation, FakeAdapter())
    spec = FanoutSpec(strategy="race", models=("m", "m"))
    found.fanout = Fanout(name="careful", spec=spec, said=None, legs=(found.route, found.route))
    return found


def tried(leg: Exchange) -> Attempt:
    """Return an attempt of a leg that has begun."""
    attempt = Attempt(len(leg.attempts) + 1, route=leg.route, choice=leg.route.targets[0], price=None, started_ns=0)
    leg.begin(attempt)
    return attempt


def said(exchange: Exchange) -> list[tuple[str | None, str | None]]:
    return [(event.fanout, event.leg) for event in events_of(exchange, at_ms=AT_MS, now_ns=1)]


def test_a_leg_is_said_by_the_attempt_that_served(exchange):
    first, second = (exchange.leg(exchange.route) for _ in range(2))
    tried(first)
    other = tried(second)
    first.adopt(tried(first))
    first.assign("won")
    second.assign("lost")
    assert said(exchange) == [("careful", None), ("careful", "lost"), ("careful", "won")]
    assert exchange.attempts[1] is other


def test_a_leg_without_an_answer_is_said_by_its_last_attempt(exchange):
    leg = exchange.leg(exchange.route)
    for _ in range(3):
        tried(leg)
    leg.assign("failed")
    assert said(exchange) == [("careful", None), ("careful", None), ("careful", "failed")]


def test_a_leg_that_reached_nobody_is_not_said(exchange):
    exchange.leg(exchange.route).assign("failed")
    assert said(exchange) == []


def test_what_is_known_so_far_names_the_fan_out(exchange):
    tried(exchange.leg(exchange.route))
    (event,) = so_far(exchange, at_ms=AT_MS, now_ns=1)
    assert (event.fanout, event.leg) == ("careful", None)


def test_a_request_of_one_model_is_part_of_nothing(pipeline):
    exchange = pipeline.exchange(CHAT_WIRE.operation, FakeAdapter())
    tried(exchange)
    assert said(exchange) == [(None, None)]
