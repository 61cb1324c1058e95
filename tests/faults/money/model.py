"""What must be true of the money, as plain integers in dicts: a reckoning of its own, without the product.

Law: nothing here asks a store or a database anything.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from app.domain.prices import Price
from app.domain.usage.schemas import UsageEvent
from app.limits.accounts import Grant
from app.limits.policy import BudgetRule
from app.stores.accounts import BudgetAccount

Status = Literal["live", "dead", "ghost", "missed", "lost", "orphaned", "local", "ended"]
"""What became of a reservation.

`live`: the store has it, and its caller will settle it; `dead`: the caller is gone; `ghost`: the store has it and the
caller was told that it has not; `missed`: the caller settled it and the store does not know; `lost`: the store forgot
it; `orphaned`: the sweeper charged it, its caller lives; `local`: only its worker has it.
"""

IN_STORE = frozenset({"live", "dead", "ghost", "missed"})


@dataclass
class Hold:
    """A reservation. `checkpoint` is what it comes to if nobody settles it, `output_tokens` what was answered yet."""

    id: UUID
    key: int
    worker: int
    price: Price
    input_tokens: int
    accounts: tuple[BudgetAccount, ...]
    held_nusd: int
    status: Status
    taken_ms: int
    leased_until_ms: int
    checkpoint: UsageEvent
    grant: Grant | None = None
    output_tokens: int = 0
    swept_ms: int = 0


@dataclass
class Books:
    """All events that must be in the ledger in the end, each once; and all reservations."""

    events: dict[UUID, UsageEvent] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)

    def add(self, event: UsageEvent) -> None:
        assert event.event_id not in self.events, "the model charges each attempt once"
        self.events[event.event_id] = event

    def used(self, rule: BudgetRule, account: BudgetAccount) -> int:
        """Return what an account was charged."""
        return sum(event.cost_nusd or 0 for event in self._events_of(rule, account))

    def _events_of(self, rule: BudgetRule, account: BudgetAccount) -> Iterable[UsageEvent]:
        for event in self.events.values():
            at_ms = round(event.occurred_at.timestamp() * 1_000)
            scope = getattr(event, f"{rule.scope}_id")
            is_within = account.start_ms <= at_ms and (not account.end_ms or at_ms < account.end_ms)
            if is_within and scope is not None and scope.hex == rule.account_scope.id:
                yield event

    def held(self, account: BudgetAccount) -> int:
        """Return what requests hold of an account."""
        return sum(
            hold.held_nusd
            for hold in self.holds
            if hold.status in IN_STORE and any(each.key == account.key for each in hold.accounts)
        )

    def of(self, *statuses: Status) -> list[Hold]:
        """Return the reservations of which this is true."""
        return [hold for hold in self.holds if hold.status in statuses]
