"""What a refused request is told. Law: it names the scope, the limit, what is used and held, and when that changes."""

from datetime import UTC, datetime

from app.kernel.errors import GatewayError, QuotaExceeded, RateLimited
from app.kernel.money import format_usd
from app.limits.headers import headers_of
from app.limits.policy import BudgetRule, InFlight, Policy, Rule
from app.stores.accounts import Denied

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

    def __init__(self, message: str, *, denied: Denied, asked: int, headers: tuple[tuple[str, str], ...]) -> None:
        super().__init__(message, code="request_too_large", headers=headers)
        self.denied = denied
        self.asked = asked


class BudgetReached(QuotaExceeded):
    """A budget does not cover the request."""

    def __init__(self, message: str, *, denied: Denied) -> None:
        super().__init__(message)
        self.denied = denied
        self.asked = 0


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
        asked: int,
        key: str,
        wait_s: float,
        counted_as: tuple[str, str],
        retry_after_s: float,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, headers=headers)
        self.denied = denied
        self.asked = asked
        self.key = key
        self.wait_s = wait_s
        self.counted_as = counted_as


def refusal_of(denied: Denied, policy: Policy, rules: tuple[Rule, ...], *, asked: int) -> GatewayError:
    """Return the error for a refusal; `asked` is how much the request asked of a rule that it is too large for."""
    if denied.kind == "budget":
        return _over_budget(policy.budgets[denied.index], denied)
    if denied.kind == "concurrency":
        return _too_many(policy.in_flight[denied.index], denied)
    rule = rules[denied.index]
    headers = tuple((name.decode(), value.decode()) for name, value in headers_of(rule, denied.used))
    if denied.kind == "too_large":
        return TooMuchAsked(
            f"the request is larger than the {_named(rule)} allows at all: it takes about {_amount(rule, asked)} of "
            f"{_amount(rule, rule.limit)} {_WORDS[rule.dimension]} per {_window(rule)}",
            denied=denied,
            asked=asked,
            headers=(*headers, ("x-should-retry", "false")),
        )
    wait_s = (denied.retry_ms or 0) / _MS_PER_S
    return LimitReached(
        f"the {_named(rule)} is exhausted: {_amount(rule, rule.limit)} {_WORDS[rule.dimension]} per {_window(rule)}, "
        f"used {_amount(rule, denied.used)}, held 0; try again in {wait_s:.3f} s",
        denied=denied,
        asked=asked,
        key=rule.key,
        wait_s=wait_s,
        counted_as=(rule.scope, rule.dimension),
        retry_after_s=wait_s,
        headers=headers,
    )


Denial = LimitReached | TooMuchAsked | BudgetReached
"""What is refused because of a rule: `denied` is what the store said, `asked` what was asked of the rule."""


def scope_of(denied: Denied, policy: Policy, rules: tuple[Rule, ...]) -> tuple[str, str]:
    """Return whose rule refused, and of which dimension, for the metric."""
    if denied.kind == "budget":
        return policy.budgets[denied.index].scope, "budget"
    if denied.kind == "concurrency":
        return policy.in_flight[denied.index].scope, "concurrency"
    return rules[denied.index].scope, rules[denied.index].dimension


def _over_budget(budget: BudgetRule, denied: Denied) -> QuotaExceeded:
    ends_ms = budget.account(denied.at_ms).end_ms
    when = f"it resets at {_time(ends_ms)}" if ends_ms else "it does not reset"
    every = "in total" if budget.period == "total" else f"per {budget.period}"
    return BudgetReached(
        f"the {budget.scope}'s budget does not cover this request: {format_usd(budget.amount_nusd)} USD {every}, "
        f"used {format_usd(denied.used)}, held {format_usd(denied.held)}; {when}",
        denied=denied,
    )


def _too_many(limit: InFlight, denied: Denied) -> RateLimited:
    return LimitReached(
        f"the {limit.scope}'s limit of requests at once is reached: limit {limit.slots.limit}, used {denied.used}, "
        f"held {denied.held}; it resets when one of them ends",
        denied=denied,
        asked=1,
        key=limit.slots.key,
        wait_s=0.0,
        counted_as=(limit.scope, "concurrency"),
        retry_after_s=_SLOT_RETRY_S,
    )


def _named(rule: Rule) -> str:
    model = f" for the model {rule.model!r}" if rule.model is not None else ""
    return f"{rule.scope}'s limit{model}"


def _amount(rule: Rule, amount: int) -> str:
    return format_usd(amount) if rule.dimension == "cost" else str(amount)


def _window(rule: Rule) -> str:
    seconds = rule.window_ms // _MS_PER_S
    return {60: "minute", 3_600: "hour", 86_400: "day"}.get(seconds, f"{seconds} s")


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // _MS_PER_S, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
