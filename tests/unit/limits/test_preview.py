"""What is foreseen of a request is what the store then says."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from app.domain.keys.principal import Principal
from app.domain.tenants.policies import Budget, LimitRule, Limits
from app.kernel.clock import ManualClock
from app.limits.denials import refusal_of
from app.limits.estimate import Demand
from app.limits.plan import Plan
from app.limits.policy import policy_of
from app.limits.preview import InUse, foresee
from app.stores.accounts import Balance, Denied, Granted, Money, Reservation
from app.stores.memory import MemoryUsageQueue
from app.stores.memory_accounts import MemoryAccountStore

PRINCIPAL = Principal(key_id=UUID(int=1), organization_id=UUID(int=2))


async def seen(store, plan):
    accounts = [budget.account(await store.now_ms()) for budget in plan.budgets]
    windows = plan.windows(input_tokens=0, output_tokens=0)
    return InUse(
        at_ms=await store.now_ms(),
        windows=tuple(await store.uses(windows, partition=0)),
        in_flight=tuple(await store.in_flight(plan.slots, partition=0)),
        balances=tuple(each or Balance(0, 0) for each in await store.balances(accounts, partition=0)),
    )


SIZES = st.tuples(st.integers(1, 400), st.integers(1, 200), st.integers(0, 300))


@given(sizes=st.lists(SIZES, max_size=12), concurrency=st.integers(1, 8), nusd=st.integers(0, 3_000))
async def test_it_says_what_the_store_says(sizes, concurrency, nusd):
    clock = ManualClock()
    store = MemoryAccountStore(MemoryUsageQueue(clock=clock), clock=clock)
    limits = Limits(
        requests_per_minute=9,
        tokens_per_minute=1_500,
        concurrency=concurrency,
        rules=[LimitRule(dimension="cost", limit="0.000003", window_s=10)],
    )
    plan = Plan(policy_of(PRINCIPAL, limits=limits, budget=Budget(amount=f"0.{nusd:09d}", period="day")), "m")
    for number, (tokens_in, cap, fixed_nusd) in enumerate(sizes):
        demand = Demand("m", tokens_in, cap, fixed_nusd=fixed_nusd, rate_nusd=1_000_000, cap=cap)
        at_ms = await store.now_ms()
        accounts = tuple(budget.account(at_ms) for budget in plan.budgets)
        for budget, account in zip(plan.budgets, accounts, strict=True):
            pending = await store.pending(0)
            await store.open_account(
                account, partition=0, scope=budget.account_scope, base_nusd=0, mark=pending.mark, force=False
            )
        foreseen = foresee(plan, demand, await seen(store, plan))
        verdict = await store.reserve(
            Reservation(
                partition=0,
                id=str(number),
                windows=plan.windows(input_tokens=tokens_in, output_tokens=cap),
                slots=plan.slots,
                budgets=accounts,
                money=Money(fixed_nusd, 1_000_000, cap, 16),
            )
        )
        if isinstance(verdict, Granted):
            assert (foreseen.refusal, foreseen.cap, foreseen.held_nusd) == (None, verdict.cap, verdict.held_nusd)
        else:
            assert isinstance(verdict, Denied)
            said = refusal_of(verdict, plan)
            assert foreseen.refusal is not None
            assert foreseen.refusal.code == said.code
            if said.code == "request_too_large":
                assert foreseen.refusal.message == said.message
