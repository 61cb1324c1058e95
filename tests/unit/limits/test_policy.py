"""What binds a principal: everything of every scope, and of the same thing the lowest."""

from uuid import UUID

from app.domain.keys.principal import Principal, ScopedPolicy
from app.domain.tenants.policies import Allowance, Budget, LimitRule, Limits
from app.domain.usage.entries import partition_of
from app.limits.plan import Plan
from app.limits.policy import policy_of, rule_of_account
from app.stores.accounts import MONEY, AccountScope, BudgetAccount

ORGANIZATION, TEAM, KEY = UUID(int=129), UUID(int=2), UUID(int=3)


def limited(dimension, limit, window_s, *, model=None):
    return LimitRule(dimension=dimension, limit=limit, window_s=window_s, model=model)


def principal(**policies):
    ids = {"organization": ORGANIZATION, "team": TEAM, "key": KEY}
    scoped = tuple(
        ScopedPolicy(kind=kind, id=ids[kind], organization_id=ORGANIZATION, limits=limits, budget=budget)
        for kind, (limits, budget) in policies.items()
    )
    return Principal(key_id=KEY, organization_id=ORGANIZATION, team_id=TEAM, policies=scoped)


def test_nothing_binds_who_has_no_limits():
    policy = policy_of(principal(), limits=Limits(), budget=None)
    assert Plan(policy, "m").is_empty
    assert policy.partition == partition_of(ORGANIZATION) == 1
    assert policy.scopes == (ORGANIZATION.hex, TEAM.hex, KEY.hex)


def test_every_scope_binds():
    policy = policy_of(
        principal(
            organization=(Limits(requests_per_minute=100), Budget(amount="3")),
            team=(Limits(requests_per_minute=200, concurrency=4), Budget(amount="2", period="week")),
            key=(Limits(tokens_per_minute=300, max_output_tokens=50), Budget(amount="1", period="day")),
        ),
        limits=Limits(max_output_tokens=60),
        budget=None,
    )
    assert [(rule.scope, rule.dimension, rule.limit) for rule in policy.rules] == [
        ("organization", "requests", 100), ("team", "requests", 200), ("key", "tokens", 300),
    ]  # fmt: skip
    assert [(limit.scope, limit.slots.limit) for limit in policy.in_flight] == [("team", 4)]
    assert [(each.scope, each.amount_nusd, each.period) for each in policy.budgets] == [
        ("organization", 3 * 10**9, "month"), ("team", 2 * 10**9, "week"), ("key", 10**9, "day"),
    ]  # fmt: skip
    assert [each.account_scope for each in policy.budgets] == [
        AccountScope(0, ORGANIZATION.hex), AccountScope(1, TEAM.hex), AccountScope(2, KEY.hex),
    ]  # fmt: skip
    assert policy.output_cap == 50


def test_of_two_rules_of_the_same_the_lower_binds():
    file = Limits(requests_per_minute=50, concurrency=9, rules=[limited("requests", 10, 3_600)])
    mine = Limits(
        requests_per_minute=70, concurrency=3, rules=[limited("requests", 40, 60), limited("requests", 90, 3_600)]
    )
    policy = policy_of(principal(organization=(mine, None)), limits=file, budget=None)
    assert sorted((rule.window_ms, rule.limit) for rule in policy.rules) == [(60_000, 40), (3_600_000, 10)]
    assert [limit.slots.limit for limit in policy.in_flight] == [3]


def test_rules_of_other_windows_models_and_algorithms_are_other_rules():
    sliding = Limits(requests_per_minute=5, rules=[limited("requests", 5, 60, model="m"), limited("requests", 5, 61)])
    bucket = Limits(requests_per_minute=5, algorithm="token_bucket")
    policy = policy_of(principal(organization=(bucket, None)), limits=sliding, budget=None)
    assert len({rule.key for rule in policy.rules}) == len(policy.rules) == 4
    assert len(Plan(policy, "m").rules) == 4
    assert len(Plan(policy, "another").rules) == 3


def test_a_window_goes_on_under_a_new_limit():
    keys = [
        policy_of(principal(key=(Limits(requests_per_minute=limit), None)), limits=Limits(), budget=None).rules[0].key
        for limit in (5, 500)
    ]
    assert keys[0] == keys[1]


def test_of_two_budgets_of_a_period_the_lower_binds_and_the_least_is_allowed():
    for amounts in (("5", "7"), ("7", "5")):
        policy = policy_of(
            principal(organization=(None, Budget(amount=amounts[0], on_accounting_down=Allowance("0.5")))),
            limits=Limits(),
            budget=Budget(amount=amounts[1], on_accounting_down=Allowance("0.2")),
        )
        (budget,) = policy.budgets
        assert (budget.amount_nusd, budget.allowed_nusd) == (5 * 10**9, 2 * 10**8)


def test_who_allows_nothing_forbids_what_another_allows():
    policy = policy_of(
        principal(organization=(None, Budget(amount="5", on_accounting_down=Allowance("0.5")))),
        limits=Limits(),
        budget=Budget(amount="7"),
    )
    assert policy.budgets[0].allowed_nusd is None


def test_budgets_of_other_periods_or_zones_bind_beside_each_other():
    policy = policy_of(
        principal(organization=(None, Budget(amount="5", period="day", timezone="Asia/Kolkata"))),
        limits=Limits(),
        budget=Budget(amount="7", period="day"),
    )
    assert len({each.account(10**12).key for each in policy.budgets}) == 2


def test_the_zone_of_a_total_does_not_matter():
    policy = policy_of(
        principal(organization=(None, Budget(amount="5", period="total", timezone="Asia/Kolkata"))),
        limits=Limits(),
        budget=Budget(amount="7", period="total"),
    )
    assert [each.amount_nusd for each in policy.budgets] == [5 * 10**9]


def test_a_rule_can_be_told_from_its_account():
    policy = policy_of(
        principal(key=(None, Budget(amount="5", period="day", timezone="Asia/Kolkata"))), limits=Limits(), budget=None
    )
    account = policy.budgets[0].account(1_800_000_000_000)
    rule = rule_of_account(account)
    assert (rule.scope, rule.account_scope, rule.period) == ("key", policy.budgets[0].account_scope, "day")
    assert account == BudgetAccount(account.key, 5 * 10**9, 1_799_951_400_000, 1_800_037_800_000)


def test_a_plan_takes_of_each_window_what_a_request_is():
    rules = [
        limited("input_tokens", 100, 60), limited("output_tokens", 100, 60), limited("tokens", 100, 60),
        limited("requests", 100, 60), limited("cost", "1.5", 60),
    ]  # fmt: skip
    plan = Plan(policy_of(principal(), limits=Limits(rules=rules), budget=None), "m")
    windows = plan.windows(input_tokens=7, output_tokens=20)
    assert [window.amount for window in windows] == [7, 20, 27, 1, MONEY]
    assert [window.limit for window in windows] == [100, 100, 100, 100, 1_500_000_000]
    assert plan.counts_money
