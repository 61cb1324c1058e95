"""What limits and budgets said to a request, as data: beforehand from a preview, afterwards from its grant.

Law: pure; `used` is without the request itself.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from app.kernel.money import format_usd
from app.limits.plan import Plan
from app.limits.policy import BudgetRule, Rule
from app.limits.preview import InUse
from app.pipeline.explanation import ExplainedBudget, ExplainedConcurrency, ExplainedLimit
from app.pipeline.notes import Refusal
from app.pipeline.records import GrantRecord, RefusalRecord, read_plan
from app.stores.accounts import MONEY, SLOTS, Balance

_MS_PER_S = 1_000
_DIGITS = 4


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What all rules that bind a request said to it."""

    limits: list[ExplainedLimit] = []
    concurrency: list[ExplainedConcurrency] = []
    budgets: list[ExplainedBudget] = []


NOTHING_SAID = Said()


def said_beforehand(plan: Plan, use: InUse, *, asked: Mapping[str, int], refused: Refusal | None) -> Said:
    """Return what rules would say now; `asked` is what the request takes of each window, by its key."""
    windows = use.windows
    kind, place = _place(refused)
    return Said(
        limits=[
            _limit(
                rule,
                limit=rule.limit,
                asked=refused.denied.asked if refused is not None and is_it else asked.get(rule.key, 0),
                used=None if windows is None else windows[index].used,
                reset_ms=None if windows is None else windows[index].reset_ms,
                is_refused=is_it,
            )
            for index, rule in enumerate(plan.rules)
            for is_it in [kind in {"window", "too_large"} and place == index]
        ],
        concurrency=[
            ExplainedConcurrency(
                scope=each.scope,
                limit=each.slots.limit,
                in_flight=None if use.in_flight is None else use.in_flight[index],
                refused=kind == "concurrency" and place == index,
            )
            for index, each in enumerate(plan.policy.in_flight)
        ],
        budgets=[
            _budget(
                budget,
                balance,
                at_ms=use.at_ms,
                knows_held=windows is not None,
                is_refused=kind == "budget" and place == index,
            )
            for index, (budget, balance) in enumerate(zip(plan.budgets, use.balances, strict=True))
        ],
    )


def said_of_grant(grant: GrantRecord) -> Said:
    """Return what the rules said that granted a reservation."""
    plan, is_local = read_plan(grant.plan), grant.limits is not None
    limits = []
    for index, rule in enumerate(plan.rules):
        limit = rule.limit if grant.limits is None else grant.limits[index]
        asked = grant.held_nusd if grant.amounts[index] == MONEY else grant.amounts[index]
        used = grant.used[index] - asked if grant.used else None
        reset_ms = rule.window_ms + rule.window_ms // SLOTS
        if rule.algorithm == "token_bucket":
            reset_ms = 0 if used is None else (used + asked) * rule.window_ms // limit
        limits.append(_limit(rule, limit=limit, asked=asked, used=used, reset_ms=reset_ms))
    return Said(
        limits=limits,
        concurrency=[
            ExplainedConcurrency(scope=each.scope, limit=each.slots.limit, in_flight=None) for each in plan.in_flight
        ],
        budgets=[
            _budget(
                budget,
                grant.balances[index] if grant.balances else None,
                at_ms=grant.at_ms,
                reserved_nusd=None if is_local else grant.held_nusd,
            )
            for index, budget in enumerate(plan.budgets[: grant.budgets])
        ],
    )


def said_of_refusal(refusal: RefusalRecord) -> Said:
    """Return what the rule said that refused a reservation; of the others nobody knows."""
    plan, denied = read_plan(refusal.plan), refusal.denied
    kind, place = denied.kind, denied.index
    return Said(
        limits=[
            _limit(
                rule,
                limit=rule.limit,
                asked=denied.asked if is_it else None,
                used=denied.used if is_it else None,
                reset_ms=denied.retry_ms if is_it else None,
                is_refused=is_it,
            )
            for index, rule in enumerate(plan.rules)
            for is_it in [kind in {"window", "too_large"} and place == index]
        ],
        concurrency=[
            ExplainedConcurrency(
                scope=each.scope,
                limit=each.slots.limit,
                in_flight=denied.used if is_it else None,
                refused=is_it,
            )
            for index, each in enumerate(plan.in_flight)
            for is_it in [kind == "concurrency" and place == index]
        ],
        budgets=[
            _budget(budget, Balance(denied.used, denied.held) if is_it else None, at_ms=denied.at_ms, is_refused=is_it)
            for index, budget in enumerate(plan.budgets)
            for is_it in [kind == "budget" and place == index]
        ],
    )


def _place(refusal: Refusal | None) -> tuple[str, int]:
    return ("", -1) if refusal is None else (refusal.denied.kind, refusal.denied.index)


def _limit(
    rule: Rule, *, limit: int, asked: int | None, used: int | None, reset_ms: int | None, is_refused: bool = False
) -> ExplainedLimit:
    asked = asked or 0
    remaining, share = None, None
    if used is not None:
        remaining = max(0, limit - used - (0 if is_refused else asked))
        share = round((used + asked) / limit, _DIGITS) if limit else 1.0
    is_money = rule.dimension == "cost"
    return ExplainedLimit(
        scope=rule.scope,
        dimension=rule.dimension,
        window_s=rule.window_ms // _MS_PER_S,
        model=rule.model,
        algorithm=rule.algorithm,
        limit=format_usd(limit) if is_money else limit,
        asked=format_usd(asked) if is_money else asked,
        used=format_usd(used) if is_money and used is not None else used,
        remaining=format_usd(remaining) if is_money and remaining is not None else remaining,
        share=share,
        resets_in_s=None if reset_ms is None else reset_ms / _MS_PER_S,
        refused=is_refused,
    )


def _budget(
    budget: BudgetRule,
    balance: Balance | None,
    *,
    at_ms: int,
    knows_held: bool = True,
    reserved_nusd: int | None = None,
    is_refused: bool = False,
) -> ExplainedBudget:
    ends_ms = budget.account(at_ms).end_ms
    return ExplainedBudget(
        scope=budget.scope,
        amount=format_usd(budget.amount_nusd),
        period=budget.period,
        used=None if balance is None else format_usd(balance.used_nusd),
        held=format_usd(balance.held_nusd) if knows_held and balance is not None else None,
        reserved=None if reserved_nusd is None else format_usd(reserved_nusd),
        resets_at=datetime.fromtimestamp(ends_ms // _MS_PER_S, UTC) if ends_ms else None,
        refused=is_refused,
    )
