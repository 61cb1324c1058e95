"""A policy made ready for the requests of one model. Law: whatever is the same for all of them is made once."""

from app.limits.headers import HeaderPlan
from app.limits.policy import BudgetRule, Policy, Rule
from app.stores.accounts import MONEY, Slots, Window


class Plan:
    """The rules that bind a model's requests, with what can be said of them beforehand."""

    __slots__ = (
        "_models",
        "_of_hits",
        "_ready",
        "budgets",
        "counts_money",
        "headers",
        "policy",
        "record",
        "rules",
        "slots",
    )

    def __init__(self, policy: Policy, *models: str, is_of_hits: bool = False) -> None:
        """Make one; `is_of_hits` is whether it binds requests that use neither tokens nor money.

        What is asked of several models together is bound by the rules of each.
        """
        rules = (rule for rule in policy.rules if rule.model is None or rule.model in models)
        self.policy = policy
        self.rules: tuple[Rule, ...] = tuple(r for r in rules if not is_of_hits or r.dimension == "requests")
        self.slots: tuple[Slots, ...] = tuple(limit.slots for limit in policy.in_flight)
        self.budgets: tuple[BudgetRule, ...] = () if is_of_hits else policy.budgets
        self._models = models
        self._of_hits: Plan | None = self if is_of_hits else None
        self.counts_money = bool(self.budgets) or any(rule.dimension == "cost" for rule in self.rules)
        self.headers = HeaderPlan(self.rules)
        self.record: bytes | None = None
        """What is kept of it with requests that it bound, once there was one."""
        self._ready = [_ready_window(rule) for rule in self.rules]

    @property
    def of_hits(self) -> "Plan":
        """The rules that bind requests which are answered from the cache."""
        if self._of_hits is None:
            self._of_hits = Plan(self.policy, *self._models, is_of_hits=True)
        return self._of_hits

    @property
    def is_empty(self) -> bool:
        """Whether nothing must be reserved."""
        return not (self.rules or self.slots or self.budgets)

    def windows(self, *, input_tokens: int, output_tokens: int) -> tuple[Window, ...]:
        """Return the windows with what a request of that size takes of them."""
        if not self.rules:
            return ()
        amounts = {
            "tokens": input_tokens + output_tokens,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
        }
        return tuple(
            [
                Window(rule.key, rule.limit, rule.window_ms, rule.algorithm, amounts[rule.dimension])
                if ready is None
                else ready
                for rule, ready in zip(self.rules, self._ready, strict=True)
            ]
        )


def _ready_window(rule: Rule) -> Window | None:
    """Return the window of a rule of which every request takes the same: itself, or what it holds in money."""
    if rule.dimension not in {"requests", "cost"}:
        return None
    amount = 1 if rule.dimension == "requests" else MONEY
    return Window(rule.key, rule.limit, rule.window_ms, rule.algorithm, amount)
