"""What binds a request: every limit and budget of every scope, as one list. Law: pure; made once for each principal.

What several settings say of the same thing (the file and the admin API, or two rules) is one rule, the lowest.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, cast

import msgspec

from app.domain.keys.principal import Principal
from app.domain.tenants.policies import Allowance, Budget, Limits, ScopeKind
from app.domain.usage.entries import Scopes, partition_of, scopes_of
from app.limits.periods import bounds_of
from app.settings.policy import Algorithm, Dimension, Period
from app.stores.accounts import AccountScope, BudgetAccount, Slots

_MINUTE_S = 60
_MS_PER_S = 1_000
_POSITIONS: dict[str, int] = {"organization": 0, "team": 1, "key": 2}
_LETTERS: dict[str, str] = {"organization": "o", "team": "t", "key": "k"}


class Rule(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A limit over time; of all models if `model` is absent."""

    scope: ScopeKind
    key: str
    dimension: Dimension
    limit: int
    window_ms: int
    algorithm: Algorithm
    model: str | None = None


class InFlight(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A limit on requests in flight."""

    scope: ScopeKind
    slots: Slots


class BudgetRule(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A budget; `allowed_nusd` is what each worker may spend while nobody can count, absent if nothing."""

    scope: ScopeKind
    account_scope: AccountScope
    amount_nusd: int
    period: Period
    timezone: str
    allowed_nusd: int | None = None

    def account(self, at_ms: int) -> BudgetAccount:
        """Return the account of the period that holds a moment of the store's time."""
        bounds = bounds_of(self.period, timezone=self.timezone, at_ms=at_ms)
        kind = self.period if self.period == "total" else f"{self.period}:{self.timezone}:{bounds.start_ms}"
        key = f":b:{_LETTERS[self.scope]}{self.account_scope.id}:{kind}"
        return BudgetAccount(key, self.amount_nusd, bounds.start_ms, bounds.end_ms)


class Policy(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All rules of one principal, whose `scopes` are as entries say them.

    `output_cap` is the most output tokens that any scope allows.
    """

    partition: int
    scopes: Scopes = ("", "", "")
    rules: tuple[Rule, ...] = ()
    in_flight: tuple[InFlight, ...] = ()
    budgets: tuple[BudgetRule, ...] = ()
    output_cap: int | None = None


class _Scope(NamedTuple):
    kind: ScopeKind
    id: str


def policy_of(principal: Principal, *, limits: Limits, budget: Budget | None) -> Policy:
    """Return what binds a principal: `limits` and `budget` are the file's, which bind each organisation."""
    organization = _Scope("organization", principal.organization_id.hex)
    rules = list(_rules(organization, limits))
    in_flight = _slots(organization, limits.concurrency)
    budgets = [] if budget is None else [_budget(organization, budget)]
    caps = [limits.max_output_tokens]
    for policy in principal.policies:
        scope = _Scope(policy.kind, policy.id.hex)
        if policy.limits is not None:
            rules += _rules(scope, policy.limits)
            in_flight += _slots(scope, policy.limits.concurrency)
            caps.append(policy.limits.max_output_tokens)
        if policy.budget is not None:
            budgets.append(_budget(scope, policy.budget))
    return Policy(
        partition=partition_of(principal.organization_id),
        scopes=scopes_of(principal.organization_id, principal.team_id, principal.key_id),
        rules=_lowest(rules),
        in_flight=_lowest_slots(in_flight),
        budgets=_lowest_budgets(budgets),
        output_cap=min((cap for cap in caps if cap is not None), default=None),
    )


def budget_rule(kind: ScopeKind, scope_id: str, budget: Budget) -> BudgetRule:
    """Return a budget that sits on one scope; its id is in hexadecimal."""
    return _budget(_Scope(kind, scope_id), budget)


def rule_of_account(account: BudgetAccount) -> BudgetRule:
    """Return a budget with this account, as far as the account's key says: its scope and its period."""
    _, _, owner, period = account.key.split(":", 3)
    kind = next(kind for kind, letter in _LETTERS.items() if owner.startswith(letter))
    return BudgetRule(
        scope=cast("ScopeKind", kind),
        account_scope=AccountScope(_POSITIONS[kind], owner[1:]),
        amount_nusd=account.limit_nusd,
        period=cast("Period", period.partition(":")[0]),
        timezone="UTC",
    )


def slots_key(kind: ScopeKind, scope_id: str) -> str:
    """Return under which key a scope's requests in flight are kept."""
    return f":c:{_LETTERS[kind]}{scope_id}"


def window_key(
    kind: ScopeKind, scope_id: str, *, dimension: Dimension, window_s: int, algorithm: Algorithm, model: str | None
) -> str:
    """Return under which key a scope's window is kept: its limit is not part of it, so that a new one goes on."""
    letter = "w" if algorithm == "sliding_window" else "tb"
    return f":{letter}:{_LETTERS[kind]}{scope_id}:{dimension}:{window_s}:{model or ''}"


def _rules(scope: _Scope, limits: Limits) -> Iterator[Rule]:
    yield from _per_minute(scope, limits)
    for rule in limits.rules:
        yield _rule(
            scope, rule.dimension, rule.quantity, window_s=rule.window_s, algorithm=limits.algorithm, model=rule.model
        )


def _per_minute(scope: _Scope, limits: Limits) -> Iterator[Rule]:
    if limits.requests_per_minute is not None:
        yield _rule(scope, "requests", limits.requests_per_minute, window_s=_MINUTE_S, algorithm=limits.algorithm)
    if limits.tokens_per_minute is not None:
        yield _rule(scope, "tokens", limits.tokens_per_minute, window_s=_MINUTE_S, algorithm=limits.algorithm)


def _rule(
    scope: _Scope, dimension: Dimension, limit: int, *, window_s: int, algorithm: Algorithm, model: str | None = None
) -> Rule:
    return Rule(
        scope=scope.kind,
        key=window_key(scope.kind, scope.id, dimension=dimension, window_s=window_s, algorithm=algorithm, model=model),
        dimension=dimension,
        limit=limit,
        window_ms=window_s * _MS_PER_S,
        algorithm=algorithm,
        model=model,
    )


def _slots(scope: _Scope, limit: int | None) -> list[InFlight]:
    if limit is None:
        return []
    return [InFlight(scope=scope.kind, slots=Slots(slots_key(scope.kind, scope.id), limit))]


def _budget(scope: _Scope, budget: Budget) -> BudgetRule:
    down = budget.on_accounting_down
    allowed = down.allow_nusd if isinstance(down, Allowance) else None
    return _budget_rule(scope, budget.amount_nusd, budget.period, budget.timezone, allowed)


def _budget_rule(
    scope: _Scope, amount_nusd: int, period: Period, timezone: str, allowed_nusd: int | None
) -> BudgetRule:
    return BudgetRule(
        scope=scope.kind,
        account_scope=AccountScope(_POSITIONS[scope.kind], scope.id),
        amount_nusd=amount_nusd,
        period=period,
        timezone="UTC" if period == "total" else timezone,
        allowed_nusd=allowed_nusd,
    )


def _lowest(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    found: dict[str, Rule] = {}
    for rule in rules:
        known = found.get(rule.key)
        if known is None or rule.limit < known.limit:
            found[rule.key] = rule
    return tuple(found.values())


def _lowest_slots(limits: Iterable[InFlight]) -> tuple[InFlight, ...]:
    found: dict[str, InFlight] = {}
    for limit in limits:
        known = found.get(limit.slots.key)
        if known is None or limit.slots.limit < known.slots.limit:
            found[limit.slots.key] = limit
    return tuple(found.values())


def _lowest_budgets(budgets: Iterable[BudgetRule]) -> tuple[BudgetRule, ...]:
    """Return one budget for each account; if nobody can count, the least is allowed that any of them allows."""
    found: dict[tuple[AccountScope, Period, str], BudgetRule] = {}
    for budget in budgets:
        account = (budget.account_scope, budget.period, budget.timezone)
        known = found.get(account, budget)
        allowances = (known.allowed_nusd, budget.allowed_nusd)
        allowed = None if None in allowances else min(each for each in allowances if each is not None)
        lower = budget if budget.amount_nusd < known.amount_nusd else known
        found[account] = msgspec.structs.replace(lower, allowed_nusd=allowed)
    return tuple(found.values())
