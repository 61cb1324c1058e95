"""Which entries an account counts. Law: the same question as in open_account.lua."""

from app.stores.accounts import AccountScope, BudgetAccount
from app.stores.entries import UsageEntry


def counts_for(account: BudgetAccount, scope: AccountScope, entry: UsageEntry) -> bool:
    """Whether an entry is spending of this account's scope and period."""
    is_within = account.start_ms <= entry.at_ms and (not account.end_ms or entry.at_ms < account.end_ms)
    return is_within and entry.scopes[scope.position] == scope.id
