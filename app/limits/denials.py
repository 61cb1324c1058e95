"""What a refused request is told. Law: in one sentence the scope, the limit, what is used and held, and its reset.

A window counts what is used and held as one, so that it is told as one.
"""

from datetime import UTC, datetime

from app.kernel.errors import GatewayError, QuotaExceeded, RateLimited
from app.kernel.money import format_usd
from app.limits.plan import Plan
from app.limits.policy import BudgetRule, InFlight, Rule
from app.stores.accounts import Denied

_Headers = tuple[tuple[str, str], ...]
_MS_PER_S = 1_000
_SLOT_RETRY_S = 1.0
_WORDS = {
    "requests": "requests",
    "tokens": "tokens",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "cost": "USD",
}


class TooMuchAsked(RateLimited):
    """The request is larger than a limit allows at all."""

    def __init__(self, message: str, *, denied: Denied, headers: _Headers) -> None:
        super().__init__(message, code="request_too_large", headers=headers)
        self.denied = denied


class BudgetReached(QuotaExceeded):
    """A budget does not cover the request."""

    def __init__(self, message: str, *, denied: Denied, headers: _Headers) -> None:
        super().__init__(message, headers=headers)
        self.denied = denied


class LimitReached(RateLimited):
    """A limit over time, or of requests at once, is reached.

    `key` is the rule's, the same in every request that it binds. `wait_s` is when asking again may help, 0 if only the
    end of another request does. `counted_as` is its scope and dimension.
    """

    def __init__(
        self,
        message: str,
        *,
        denied: Denied,
        key: str,
        wait_s: float,
        counted_as: tuple[str, str],
        retry_after_s: float,
        headers: _Headers,
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, headers=headers)
        self.denied = denied
        self.key = key
        self.wait_s = wait_s
        self.counted_as = counted_as


def refusal_of(denied: Denied, plan: Plan) -> GatewayError:
    """Return the error for a refusal; its headers are those of an answer, as far as the use of windows is known."""
    headers = tuple((name.decode(), value.decode()) for name, value in plan.headers.headers(denied.windows_used))
    if denied.kind == "budget":
        return _over_budget(plan.policy.budgets[denied.index], denied, headers=headers)
    if denied.kind == "concurrency":
        return _too_many(plan.policy.in_flight[denied.index], denied, headers=headers)
    rule = plan.rules[denied.index]
    if denied.kind == "too_large":
        return TooMuchAsked(
            f"the request is larger than {_named(rule)} allows at all: it takes about {_amount(rule, denied.asked)}, "
            f"{_counts(rule, denied)}; no reset helps",
            denied=denied,
            headers=(*headers, ("x-should-retry", "false")),
        )
    wait_s = (denied.retry_ms or 0) / _MS_PER_S
    return LimitReached(
        f"{_named(rule)} is exhausted: {_counts(rule, denied)}; reset in {wait_s:.3f} s",
        denied=denied,
        key=rule.key,
        wait_s=wait_s,
        counted_as=(rule.scope, rule.dimension),
        retry_after_s=wait_s,
        headers=headers,
    )


Denial = LimitReached | TooMuchAsked | BudgetReached
"""What is refused because of a rule: `denied` is what the store said."""


def scope_of(denied: Denied, plan: Plan) -> tuple[str, str]:
    """Return whose rule refused, and of which dimension, for the metric."""
    if denied.kind == "budget":
        return plan.policy.budgets[denied.index].scope, "budget"
    if denied.kind == "concurrency":
        return plan.policy.in_flight[denied.index].scope, "concurrency"
    return plan.rules[denied.index].scope, plan.rules[denied.index].dimension


def _over_budget(budget: BudgetRule, denied: Denied, *, headers: _Headers) -> QuotaExceeded:
    ends_ms = budget.account(denied.at_ms).end_ms
    when = f"reset at {_time(ends_ms)}" if ends_ms else "no reset"
    every = "in total" if budget.period == "total" else f"per {budget.period}"
    return BudgetReached(
        f"the budget of the scope {budget.scope} does not cover this request: limit {format_usd(budget.amount_nusd)} "
        f"USD {every}, used {format_usd(denied.used)}, held {format_usd(denied.held)}; {when}",
        denied=denied,
        headers=headers,
    )


def _too_many(limit: InFlight, denied: Denied, *, headers: _Headers) -> RateLimited:
    return LimitReached(
        f"the limit of the scope {limit.scope} for requests at once is reached: limit {limit.slots.limit}, "
        f"used {denied.used}, held {denied.held}; reset when one of them ends",
        denied=denied,
        key=limit.slots.key,
        wait_s=0.0,
        counted_as=(limit.scope, "concurrency"),
        retry_after_s=_SLOT_RETRY_S,
        headers=headers,
    )


def _named(rule: Rule) -> str:
    model = f" for the model {rule.model!r}" if rule.model is not None else ""
    return f"the limit of the scope {rule.scope}{model}"


def _counts(rule: Rule, denied: Denied) -> str:
    limit = f"limit {_amount(rule, rule.limit)} {_WORDS[rule.dimension]} per {_window(rule)}"
    return f"{limit}, used or held {_amount(rule, denied.used)}"


def _amount(rule: Rule, amount: int) -> str:
    return format_usd(amount) if rule.dimension == "cost" else str(amount)


def _window(rule: Rule) -> str:
    seconds = rule.window_ms // _MS_PER_S
    return {60: "minute", 3_600: "hour", 86_400: "day"}.get(seconds, f"{seconds} s")


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // _MS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
