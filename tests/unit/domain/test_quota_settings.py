"""The file's limits and budget in the words of the admin API."""

from app.domain.quotas.settings import budget_of_file, limits_of_file
from app.domain.quotas.use import windows_of
from app.domain.tenants.policies import Allowance, Budget, LimitRule, Limits
from app.settings import policy


def test_every_limit_of_the_file_is_carried():
    rules = (
        policy.LimitRule(dimension="cost", limit=2_500_000_000, window_s=60),
        policy.LimitRule(dimension="output_tokens", limit=5, window_s=9, model="m"),
    )
    settings = policy.LimitSettings(
        requests_per_minute=1,
        tokens_per_minute=2,
        concurrency=3,
        max_output_tokens=4,
        algorithm="token_bucket",
        fanout_width=5,
        rules=rules,
    )
    limits = limits_of_file(settings)
    assert limits == Limits(
        requests_per_minute=1,
        tokens_per_minute=2,
        concurrency=3,
        max_output_tokens=4,
        algorithm="token_bucket",
        fanout_width=5,
        rules=[
            LimitRule(dimension="cost", limit="2.500000000", window_s=60),
            LimitRule(dimension="output_tokens", limit=5, window_s=9, model="m"),
        ],
    )
    windows = windows_of(limits, source="config")
    assert [(window.dimension, window.limit, window.window_s, window.model) for window in windows] == [
        ("requests", 1, 60, None),
        ("tokens", 2, 60, None),
        ("cost", 2_500_000_000, 60, None),
        ("output_tokens", 5, 9, "m"),
    ]
    assert {(window.algorithm, window.source) for window in windows} == {("token_bucket", "config")}


def test_no_limits_are_no_windows():
    assert windows_of(limits_of_file(policy.LimitSettings()), source="config") == []


def test_the_budget_of_the_file_is_carried():
    down = policy.OnAccountingDown(allow_nusd=5)
    settings = policy.BudgetSettings(amount_nusd=1, period="week", timezone="Europe/Zurich", on_accounting_down=down)
    assert budget_of_file(settings) == Budget(
        amount="0.000000001",
        period="week",
        timezone="Europe/Zurich",
        on_accounting_down=Allowance("0.000000005"),
    )
    assert budget_of_file(policy.BudgetSettings(amount_nusd=1)).on_accounting_down == "deny"
