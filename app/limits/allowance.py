"""What budgets let a worker spend while nobody can count. Law: never more than each allows, in this process, in all."""

from app.limits.policy import BudgetRule
from app.stores.accounts import Reservation, money_of


class Allowances:
    """Spending since the store was last heard, by account."""

    def __init__(self) -> None:
        self._spent: dict[str, int] = {}

    def take(self, reservation: Reservation, budgets: tuple[BudgetRule, ...]) -> bool:
        """Hold what a request may cost in every budget, if all of them allow so much; no budget allows anything."""
        amount = money_of(reservation.money, reservation.money.cap)
        for budget, account in zip(budgets, reservation.budgets, strict=True):
            if self._spent.get(account.key, 0) + amount > (budget.allowed_nusd or 0):
                return False
        self._add(reservation, amount)
        return True

    def spend(self, reservation: Reservation, cost_nusd: int) -> None:
        """Turn what a request held into what it cost: nothing, if it was not made."""
        self._add(reservation, cost_nusd - money_of(reservation.money, reservation.money.cap))

    def forget(self, account_key: str) -> None:
        """Begin anew with an account: what was spent of it is counted now."""
        self._spent.pop(account_key, None)

    def _add(self, reservation: Reservation, amount: int) -> None:
        for account in reservation.budgets:
            self._spent[account.key] = self._spent.get(account.key, 0) + amount
