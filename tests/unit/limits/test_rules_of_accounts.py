import pytest

from app.domain.tenants.policies import Budget
from app.limits.policy import budget_rule, rule_of_account

NOON_MS = 1_800_000_000_000


@pytest.mark.parametrize("timezone", ["UTC", "America/Argentina/Buenos_Aires"])
@pytest.mark.parametrize("period", ["day", "week", "month", "total"])
@pytest.mark.parametrize("scope", ["organization", "team", "key"])
def test_the_key_of_an_account_says_whose_it_is(scope, period, timezone):
    rule = budget_rule(scope, "0" * 31 + "7", Budget(amount="0.000000009", period=period, timezone=timezone))
    found = rule_of_account(rule.account(NOON_MS))
    assert (found.scope, found.account_scope, found.period) == (rule.scope, rule.account_scope, period)
    assert found.amount_nusd == 9
