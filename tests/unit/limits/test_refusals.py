"""What a client is told: headers in OpenAI's words, and refusals that name the scope, the limit, and what is taken."""

import pytest

from app.kernel.errors import QuotaExceeded, RateLimited
from app.limits.allowance import Allowances
from app.limits.denials import refusal_of, scope_of
from app.limits.headers import HeaderPlan, duration
from app.limits.plan import Plan
from app.limits.policy import BudgetRule, InFlight, Policy, Rule
from app.stores.accounts import AccountScope, BudgetAccount, Denied, Money, Reservation, Slots, WindowUse

AT_MS = 1_800_000_000_000


def rule(dimension="requests", limit=10, *, window_ms=60_000, algorithm="sliding_window", scope="key", model=None):
    return Rule(
        scope=scope, key=f":w:{dimension}", dimension=dimension, limit=limit, window_ms=window_ms, algorithm=algorithm,
        model=model,
    )  # fmt: skip


def budget(period="month", *, scope="team", allowed=None):
    return BudgetRule(
        scope=scope, account_scope=AccountScope(1, "ab"), amount_nusd=2_500_000_000, period=period, timezone="UTC",
        allowed_nusd=allowed,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0ms"), (12, "12ms"), (999, "999ms"), (1_000, "1s"), (6_000, "6s"), (6_050, "6.05s"), (59_999, "59.999s"),
        (60_000, "1m0s"), (60_600, "1m0.6s"), (90_500, "1m30.5s"), (3_600_000, "1h0m0s"), (7_200_000, "2h0m0s"),
        (3_661_001, "1h1m1.001s"), (90_000_000, "25h0m0s"),
    ],
)  # fmt: skip
def test_durations_are_as_openai_writes_them(milliseconds, text):
    assert duration(milliseconds) == text


def test_headers_are_of_the_tightest_of_all_scopes():
    rules = [rule(limit=100, scope="organization"), rule(limit=20), rule("tokens", 5_000), rule("cost", 9)]
    assert dict(HeaderPlan(rules).headers([85, 3, 4_000, 1])) == {
        b"x-ratelimit-limit-requests": b"100",
        b"x-ratelimit-remaining-requests": b"15",
        b"x-ratelimit-reset-requests": b"1m0.6s",
        b"x-ratelimit-limit-tokens": b"5000",
        b"x-ratelimit-remaining-tokens": b"1000",
        b"x-ratelimit-reset-tokens": b"1m0.6s",
    }


def test_headers_of_a_bucket_say_when_it_is_full():
    headers = dict(HeaderPlan([rule(limit=60, algorithm="token_bucket")]).headers([7]))
    assert headers[b"x-ratelimit-reset-requests"] == b"7s"


def test_less_than_nothing_is_never_left():
    assert dict(HeaderPlan([rule(limit=5)]).headers([9]))[b"x-ratelimit-remaining-requests"] == b"0"


def test_headers_of_what_was_only_looked_at_say_when_it_is_free():
    rules = [rule(limit=100, scope="organization"), rule(limit=20), rule("tokens", 5_000, algorithm="token_bucket")]
    seen = dict(HeaderPlan(rules).seen([WindowUse(85, 9_000), WindowUse(3, 8_000), WindowUse(0, 0)]))
    assert seen == {
        b"x-ratelimit-limit-requests": b"100",
        b"x-ratelimit-remaining-requests": b"15",
        b"x-ratelimit-reset-requests": b"9s",
        b"x-ratelimit-limit-tokens": b"5000",
        b"x-ratelimit-remaining-tokens": b"5000",
        b"x-ratelimit-reset-tokens": b"0ms",
    }


@pytest.mark.parametrize("algorithm", ["sliding_window", "token_bucket"])
def test_a_window_that_nothing_was_taken_of_is_as_at_first(algorithm):
    headers = dict(HeaderPlan([rule(limit=20, algorithm=algorithm)]).headers([0]))
    assert (headers[b"x-ratelimit-remaining-requests"], headers[b"x-ratelimit-reset-requests"]) == (b"20", b"0ms")


def test_no_headers_of_what_is_not_known_or_not_limited():
    assert HeaderPlan([rule()]).headers([]) == ()
    assert HeaderPlan([rule("cost")]).headers([3]) == ()


def refuse(denied, *, rules=(), budgets=(), in_flight=()):
    plan = Plan(Policy(partition=0, rules=rules, budgets=budgets, in_flight=in_flight), "gpt")
    return refusal_of(denied, plan), scope_of(denied, plan)


def told(error):
    """Return what of limits a refusal says in its headers, but for when they are free again."""
    return {
        name.removeprefix("x-ratelimit-"): value
        for name, value in error.headers
        if name.startswith("x-ratelimit-") and "reset" not in name
    }


def test_an_exhausted_window():
    denied = Denied(kind="window", index=1, at_ms=AT_MS, used=4_990, retry_ms=12_345, windows_used=(3, 4_990))
    error, scope = refuse(denied, rules=(rule(), rule("tokens", 5_000, scope="team", model="gpt")))
    assert isinstance(error, RateLimited)
    assert (error.code, error.retry_after_s, scope) == ("rate_limit_exceeded", 12.345, ("team", "tokens"))
    assert error.message == (
        "the limit of the scope team for the model 'gpt' is exhausted: limit 5000 tokens per minute, "
        "used or held 4990; reset in 12.345 s"
    )
    assert told(error) == {
        "limit-requests": "10", "remaining-requests": "7", "limit-tokens": "5000", "remaining-tokens": "10",
    }  # fmt: skip


def test_an_exhausted_window_of_money():
    denied = Denied(kind="window", index=0, at_ms=AT_MS, used=1_400_000_000, retry_ms=1_000)
    error, scope = refuse(denied, rules=(rule("cost", 1_500_000_000, window_ms=3_600_000),))
    assert "limit 1.500000000 USD per hour, used or held 1.400000000; reset in" in error.message
    assert scope == ("key", "cost")


@pytest.mark.parametrize(
    "denied",
    [
        Denied(kind="window", index=1, at_ms=AT_MS, used=5, retry_ms=1_000, windows_used=(4, 5)),
        Denied(kind="too_large", index=1, at_ms=AT_MS, used=5, asked=9, windows_used=(4, 5)),
        Denied(kind="budget", index=0, at_ms=AT_MS, used=5, windows_used=(4, 5)),
        Denied(kind="concurrency", index=0, at_ms=AT_MS, used=3, held=3, windows_used=(4, 5)),
    ],
    ids=lambda denied: denied.kind,
)
def test_whatever_refuses_the_client_is_told_of_requests(denied):
    more = {"budgets": (budget(),), "in_flight": (InFlight(scope="key", slots=Slots(":c:k", 3)),)}
    error, _ = refuse(denied, rules=(rule(), rule("cost", 8)), **more)
    assert all(word in error.message.split() for word in ("scope", "limit", "used", "held", "reset")), error.message
    assert told(error) == {"limit-requests": "10", "remaining-requests": "6"}


def test_what_is_too_large_is_not_to_be_tried_again():
    denied = Denied(kind="too_large", index=0, at_ms=AT_MS, used=0, asked=700)
    error, _ = refuse(denied, rules=(rule("tokens", 500, window_ms=90_000),))
    assert isinstance(error, RateLimited)
    assert (error.code, error.retry_after_s) == ("request_too_large", None)
    assert error.message == (
        "the request is larger than the limit of the scope key allows at all: it takes about 700, "
        "limit 500 tokens per 90 s, used or held 0; no reset helps"
    )
    assert ("x-should-retry", "false") in error.headers


@pytest.mark.parametrize(
    ("period", "words"),
    [
        ("month", "per month, used 2.400000000, held 0.050000000; reset at 2027-02-01T00:00:00Z"),
        ("day", "per day, used 2.400000000, held 0.050000000; reset at 2027-01-16T00:00:00Z"),
        ("total", "in total, used 2.400000000, held 0.050000000; no reset"),
    ],
)
def test_an_exhausted_budget(period, words):
    denied = Denied(kind="budget", index=0, at_ms=AT_MS, used=2_400_000_000, held=50_000_000)
    error, scope = refuse(denied, budgets=(budget(period),))
    assert isinstance(error, QuotaExceeded)
    assert error.retry_after_s is None
    assert error.message.endswith(words)
    assert error.message.startswith("the budget of the scope team does not cover this request: limit 2.500000000 USD")
    assert scope == ("team", "budget")


def test_too_many_at_once():
    denied = Denied(kind="concurrency", index=0, at_ms=AT_MS, used=3, held=3)
    error, scope = refuse(denied, in_flight=(InFlight(scope="organization", slots=Slots(":c:o", 3)),))
    assert isinstance(error, RateLimited)
    assert error.message == (
        "the limit of the scope organization for requests at once is reached: limit 3, used 3, held 3; "
        "reset when one of them ends"
    )
    assert error.retry_after_s == 1.0
    assert scope == ("organization", "concurrency")


# -- what may be spent while nobody can count -------------------------------------------------------------------------


def asked(nusd, *keys):
    accounts = tuple(BudgetAccount(key, 0, 0, 0) for key in keys)
    return Reservation(partition=0, id="r", budgets=accounts, money=Money(nusd, 0, 0, 0))


def test_never_more_is_allowed_than_every_budget_allows():
    allowances, budgets = Allowances(), (budget(allowed=100), budget(allowed=70))
    assert allowances.take(asked(60, "a", "b"), budgets)
    assert not allowances.take(asked(11, "a", "b"), budgets)
    assert allowances.take(asked(40, "a"), budgets[:1])
    assert not allowances.take(asked(1, "a"), budgets[:1])


def test_a_refusal_takes_nothing_of_the_other_budget():
    allowances, budgets = Allowances(), (budget(allowed=100), budget(allowed=10))
    assert not allowances.take(asked(60, "a", "b"), budgets)
    assert allowances.take(asked(100, "a"), budgets[:1])


def test_what_was_held_becomes_what_was_spent():
    allowances, budgets = Allowances(), (budget(allowed=100),)
    assert allowances.take(asked(100, "a"), budgets)
    allowances.spend(asked(100, "a"), 30)
    assert not allowances.take(asked(71, "a"), budgets)
    assert allowances.take(asked(70, "a"), budgets)
    allowances.spend(asked(70, "a"), 0)
    allowances.forget("a")
    assert allowances.take(asked(100, "a"), budgets)


def test_a_budget_that_allows_nothing_and_no_budget_at_all():
    assert not Allowances().take(asked(1, "a"), (budget(),))
    assert Allowances().take(asked(10**12), ())
