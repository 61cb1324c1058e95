"""The file's limits and budget in the words of the admin API: they bind each organisation."""

from typing import Literal

from app.domain.tenants.policies import Allowance, Budget, LimitRule, Limits
from app.kernel.money import format_usd
from app.settings.policy import BudgetSettings, LimitSettings, OnAccountingDown
from app.settings.policy import LimitRule as RuleSettings


def limits_of_file(settings: LimitSettings) -> Limits:
    """Return the limits that the file sets; a default one limits nothing."""
    return Limits(
        requests_per_minute=settings.requests_per_minute,
        tokens_per_minute=settings.tokens_per_minute,
        concurrency=settings.concurrency,
        max_output_tokens=settings.max_output_tokens,
        fanout_width=settings.fanout_width,
        algorithm=settings.algorithm,
        rules=[_rule(rule) for rule in settings.rules],
    )


def budget_of_file(settings: BudgetSettings) -> Budget:
    """Return the budget that the file sets."""
    return Budget(
        amount=format_usd(settings.amount_nusd),
        period=settings.period,
        timezone=settings.timezone,
        on_accounting_down=_on_down(settings.on_accounting_down),
    )


def _rule(rule: RuleSettings) -> LimitRule:
    limit = format_usd(rule.limit) if rule.dimension == "cost" else rule.limit
    return LimitRule(dimension=rule.dimension, limit=limit, window_s=rule.window_s, model=rule.model)


def _on_down(settings: OnAccountingDown) -> Literal["deny"] | Allowance:
    return "deny" if settings.allow_nusd is None else Allowance(format_usd(settings.allow_nusd))
