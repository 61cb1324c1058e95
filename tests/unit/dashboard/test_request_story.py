"""What the page of a request says of it: who answered and why, and where its time lies in the drawing."""

from typing import Any
from uuid import uuid4

import pytest
from accounting.records import kept, record

from app.api.dashboard.pages import say_milliseconds
from app.api.dashboard.request_story import Story
from app.cache.wishes import CachePolicy
from app.gateway.retelling import retold
from app.pipeline.notes import LayerStep
from app.pipeline.records import AttemptRecord, CacheRecord, FanoutRecord, Whose, encode_record

WHOSE = Whose(str(uuid4()), None, str(uuid4()))
MS = 1_000_000


def attempt(number: int, **more: Any) -> AttemptRecord:
    said = {
        "model": "m",
        "provider": f"p{number}",
        "upstream_model": "u",
        "why": "first" if number == 1 else "retry",
        "after": None if number == 1 else "upstream_error",
        "started_ns": number * MS,
        "ended_ns": (number + 1) * MS,
        "outcome": "ok",
        "leg": None,
    } | more
    plain = {"credential": 0, "waited_ns": 0, "first_ns": None, "status": 200, "error_code": None}
    unused = {"usage": None, "usage_source": "none", "cost_nusd": None, "price": None}
    return AttemptRecord(number=number, **said, **plain, **unused)


def story(**more: Any) -> Story:
    made = record(WHOSE, **({"began_ns": 0, "took_ns": 10 * MS} | more))
    return Story(retold(kept(WHOSE, at_ms=1_790_000_000_000)._replace(trace=encode_record(made))))


def test_a_retry_that_answered_is_named_with_what_failed_before():
    told = story(attempts=[attempt(1, outcome="error"), attempt(2)])
    assert told.why == "p2/u answered: asked as a retry after upstream_error."
    assert told.provider == "p2"


@pytest.mark.parametrize(
    ("legs", "who"),
    [
        (["lost", "won", "failed"], "p2/u answered: asked first, and it won."),
        (["won", "judge", "fuser"], "p3/u answered: asked first, and it made one answer of all."),
    ],
)
def test_of_a_fan_out_the_leg_whose_answer_was_given_is_named(legs, who):
    attempts = [attempt(number, leg=leg, why="first", after=None) for number, leg in enumerate(legs, 1)]
    told = story(attempts=attempts, fanout=FanoutRecord("careful", "race", [], None, None, None))
    assert told.why == who


def test_an_answer_from_the_cache_asked_nobody():
    policy = CachePolicy(mode="exact")
    told = story(cache=CacheRecord(policy, "config", "exact", None))
    assert told.is_from_cache
    assert told.why == "It was answered from the cache: no provider was asked."
    assert told.provider is None


def test_an_answer_that_was_given_before_says_so():
    told = story(steps=[LayerStep("idempotency", "replayed", 0, MS)])
    assert "idempotency key" in told.why


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"status": 429, "error_code": "rate_limit_exceeded"}, "refused before any provider"),
        ({"status": 502, "error_code": "x", "attempts": [attempt(1, outcome="error")]}, "none that was asked"),
        ({"status": 499}, "client left"),
    ],
)
def test_why_nobody_answered(more, said):
    assert said in story(**more).why


def test_a_stretch_of_time_has_its_place_and_is_never_too_short_to_be_seen():
    told = story()
    assert told.bar(0, 10) == (0, 1000)
    assert told.bar(5, 2.5) == (500, 250)
    assert told.bar(10, 0.001) == (996, 4)
    for at_ms, took_ms in ((-5, 1), (9.99, 50), (400, 1), (0, 0)):
        bar = told.bar(at_ms, took_ms)
        assert bar.x >= 0
        assert 4 <= bar.width <= 1000 - bar.x


def test_what_ends_after_the_answer_lies_in_the_drawing():
    told = story(attempts=[attempt(1, leg="won"), attempt(2, leg="lost", ended_ns=20 * MS)])
    assert told.bar(20, 0).x == 996
    assert told.bar(10, 10) == (500, 500)


@pytest.mark.parametrize(
    ("number", "said"), [(0.0124, "0.0124 ms"), (0, "0 ms"), (12.34, "12.3 ms"), (12345.6, "12,346 ms"), (None, "none")]
)
def test_times_are_as_exact_as_they_are_short(number, said):
    assert say_milliseconds(number) == said
