"""Random lives of the ledger: whatever is lost, repeated, killed or late, every request is charged once and exactly.

Law: the model is plain integers (`model`), the system is the product over real servers (`world`).
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid5

import msgspec
import pytest
from faults.money.model import IN_STORE, Books, Hold
from faults.money.world import Crash, CuttableDatabase, Loss, MemoryWorld, RedisWorld, Worker, World
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from servers.postgres import Postgres, PostgresProcess
from servers.redis import RedisProcess
from sqlalchemy import select

from app.db import schema
from app.db.engine import Database
from app.domain.prices import Price, cost
from app.domain.prices.price import PriceRates
from app.domain.tenants.policies import Allowance, Budget
from app.domain.usage.balances import account_total, find_drift
from app.domain.usage.codec import encode_events
from app.domain.usage.entries import entry_of, partition_of
from app.domain.usage.schemas import UsageEvent
from app.domain.usage.tables import usage_events
from app.kernel.errors import GatewayError, QuotaExceeded, RateLimited, Unavailable
from app.kernel.ids import adjustment_id, attempt_id
from app.kernel.money import format_usd
from app.ledger import spool
from app.limits import accounts as limits_accounts
from app.limits.accounts import MIN_OUTPUT_TOKENS
from app.limits.estimate import Demand
from app.limits.orphans import Seed
from app.limits.plan import Plan
from app.limits.policy import BudgetRule, InFlight, Policy, Rule, budget_rule, slots_key, window_key
from app.limits.reconcile import Difference, Reconciler, Scoped
from app.pipeline.events import amounts_of, corrections
from app.stores.accounts import (
    LEASE_MS,
    Balance,
    BudgetAccount,
    Denied,
    Granted,
    Money,
    Slots,
    affordable_cap,
    money_of,
)
from app.stores.errors import StoreUnavailable
from providers.types import Usage

ORGANIZATION = UUID(int=0x0A0 * 64 + 5)
TEAM = UUID(int=0x0B0)
KEYS = (UUID(int=0x0C1), UUID(int=0x0C2))
TEAM_OF = (TEAM, None)
NAMESPACE = UUID(int=0x0D0)
PARTITION = partition_of(ORGANIZATION)
SCOPES = ("organization", "team", "key 0", "key 1")
PERIODS = {"organization": "month", "team": "total", "key 0": "day", "key 1": "week"}
DAY_S = 86_400
FAR = datetime(2099, 1, 1, tzinfo=UTC)
STEPS = 40
QUICKLY = (Phase.explicit, Phase.reuse, Phase.generate)
"""Shrinking takes minutes: a failing life is kept, and the long proofs, which begin with it, make it short."""
LAPSE_S = LEASE_MS // 1_000 + 1
REPEATED_MS = 60_000
"""For how long a worker can put again what a store lost."""


def price(version: int) -> Price:
    """Return one of the prices; their rates do not divide a million."""
    rate_in, rate_out = ((2_500_001, 10_000_003), (37, 1_000_000_007), (0, 3), (1_200_000_011, 1))[version]
    rates = PriceRates(
        input_nusd=rate_in,
        output_nusd=rate_out,
        cache_read_nusd=rate_in,
        cache_write_nusd=rate_in,
        cache_write_1h_nusd=rate_in,
        reasoning_nusd=rate_out,
        audio_input_nusd=rate_in,
        audio_output_nusd=rate_out,
        image_input_nusd=rate_in,
        image_output_nusd=rate_out,
    )
    return Price(version=f"v{version}", rates=rates)


WORKERS = st.integers(0, 1)
TOKENS = st.integers(0, 3_000)
LOSSES: st.SearchStrategy[list[Loss]] = st.lists(st.sampled_from(["request", "reply"]), max_size=2)
AMOUNTS = st.one_of(
    st.none(), st.integers(0, 200_000), st.integers(0, 4_000_000), st.just(1_000_000_000), st.just(1_000_000_000)
)
ALLOWANCES = st.one_of(st.none(), st.integers(0, 300_000))
CRASHES: st.SearchStrategy[Crash] = st.sampled_from(
    ["before the accounts", "after the accounts", "before the commit", "before the acknowledgement"]
)


class LedgerMachine(RuleBasedStateMachine):
    """Two workers, one organisation with a team and two keys."""

    make_world: Callable[[], World]

    def __init__(self) -> None:
        super().__init__()
        self.world = type(self).make_world()
        self.books = Books()
        self.amounts: dict[str, int | None] = dict.fromkeys(SCOPES)
        self.allowance_nusd: int | None = None
        self.concurrency: int | None = None
        self.version = 0
        self.serial = 0
        self.is_repeating = False
        """Whether something may have been put again that accounts are told of only when it is in the database."""
        self.first_unwritten_ms: int | None = None
        self.has_restarted = False

    def teardown(self) -> None:
        try:
            self.mend_and_compare()
        finally:
            self.world.close()

    # -- what is set --------------------------------------------------------------------------------------------------

    @initialize(amounts=st.tuples(*[AMOUNTS] * len(SCOPES)), allowance=ALLOWANCES, version=st.integers(0, 3))
    def begin(self, amounts: tuple[int | None, ...], allowance: int | None, version: int) -> None:
        self.amounts = dict(zip(SCOPES, amounts, strict=True))
        self.allowance_nusd, self.version = allowance, version

    @rule(scope=st.sampled_from(SCOPES), amount=AMOUNTS)
    def set_a_budget(self, scope: str, amount: int | None) -> None:
        self.amounts[scope] = amount

    @rule(allowance=ALLOWANCES)
    def set_what_is_allowed_uncounted(self, allowance: int | None) -> None:
        self.allowance_nusd = allowance

    @rule(limit=st.one_of(st.none(), st.integers(1, 3)))
    def set_how_many_at_once(self, limit: int | None) -> None:
        self.concurrency = limit

    @rule(version=st.integers(0, 3))
    def reprice(self, version: int) -> None:
        self.version = version

    def rules_of(self, key: int) -> tuple[BudgetRule, ...]:
        """Return the budgets that bind a key."""
        ids = {"organization": ORGANIZATION, "team": TEAM_OF[key], f"key {key}": KEYS[key]}
        return tuple(self.rule_of(scope) for scope, id_ in ids.items() if id_ and self.amounts[scope] is not None)

    def rule_of(self, scope: str, amount: int | None = None) -> BudgetRule:
        ids = {"organization": ORGANIZATION, "team": TEAM, "key 0": KEYS[0], "key 1": KEYS[1]}
        nusd = self.amounts[scope] if amount is None else amount
        down = "deny" if self.allowance_nusd is None else Allowance(format_usd(self.allowance_nusd))
        budget = Budget(amount=format_usd(nusd or 0), period=PERIODS[scope], on_accounting_down=down)
        return budget_rule(scope.split(" ", maxsplit=1)[0], ids[scope].hex, budget)

    def policy_of(self, key: int) -> Policy:
        scope = KEYS[key].hex
        rules = [
            _rule("key", scope, "requests", 10**6, window_s=60, algorithm="sliding_window"),
            _rule("key", scope, "tokens", 10**9, window_s=3_600, algorithm="token_bucket"),
            _rule("organization", ORGANIZATION.hex, "cost", 9 * 10**15, window_s=60, algorithm="sliding_window"),
        ]
        in_flight = ()
        if self.concurrency is not None:
            in_flight = (InFlight(scope="key", slots=Slots(slots_key("key", scope), self.concurrency)),)
        return Policy(
            partition=PARTITION, rules=tuple(rules), in_flight=in_flight, budgets=self.rules_of(key), output_cap=None
        )

    # -- requests -----------------------------------------------------------------------------------------------------

    @rule(worker=WORKERS, key=st.integers(0, 1), tokens=TOKENS, cap=st.integers(1, 3_000))
    def reserve(self, worker: int, key: int, tokens: int, cap: int) -> None:
        """Reserve windows, slots and every budget, in one call."""
        self._reserve(worker, key, tokens=tokens, cap=cap, losses=[])

    @rule(key=st.integers(0, 1), tokens=TOKENS, cap=st.integers(1, 3_000))
    def reserve_on_both(self, key: int, tokens: int, cap: int) -> None:
        """Two workers reserve the same, one after the other."""
        for worker in range(2):
            self._reserve(worker, key, tokens=tokens, cap=cap, losses=[])

    @rule(worker=WORKERS, key=st.integers(0, 1), tokens=TOKENS, cap=st.integers(1, 3_000), losses=LOSSES)
    def reserve_on_a_bad_line(self, worker: int, key: int, tokens: int, cap: int, losses: list[Loss]) -> None:
        """What the store did although nobody heard it is asked for again, or given back."""
        self._reserve(worker, key, tokens=tokens, cap=cap, losses=losses)

    @precondition(lambda self: not self.world.database.is_down)
    @rule(worker=WORKERS, key=st.integers(0, 1), days=st.sampled_from([-40, -1, 1, 40]))
    def reserve_with_a_wrong_idea_of_the_time(self, worker: int, key: int, days: int) -> None:
        """A worker whose clock names another period learns the right one and goes on."""
        self.world.workers[worker].accounts.time.heard(self.world.now_ms + days * DAY_S * 1_000)
        self._reserve(worker, key, tokens=10, cap=20, losses=[])

    @rule(worker=WORKERS, key=st.integers(0, 1))
    def cancel_while_reserving(self, worker: int, key: int) -> None:
        """The client goes while the store answers: nothing stays held, and nothing is ever charged."""
        if not self.world.workers[worker].cable.is_cut:
            self._reserve(worker, key, tokens=50, cap=100, losses=["cancel"])

    def _reserve(self, worker: int, key: int, *, tokens: int, cap: int, losses: list[Loss]) -> None:
        actor, policy, paid = self.world.workers[worker], self.policy_of(key), price(self.version)
        self.serial += 1
        request_id = uuid5(NAMESPACE, str(self.serial))
        demand = Demand(
            "m",
            tokens,
            cap,
            fixed_nusd=cost(paid, Usage(input_tokens=tokens)),
            rate_nusd=paid.rates.output_nusd,
            cap=cap,
        )
        hold = Hold(
            id=request_id,
            key=key,
            worker=worker,
            price=paid,
            input_tokens=tokens,
            accounts=tuple(each.account(self.world.now_ms) for each in policy.budgets),
            held_nusd=0,
            status="ended",
            taken_ms=self.world.now_ms,
            leased_until_ms=self.world.now_ms + LEASE_MS,
            checkpoint=None,  # type: ignore[arg-type] # made next
        )
        seed = self.seed(hold)
        hold.checkpoint = seed.event(datetime.fromtimestamp(hold.taken_ms / 1_000, UTC))
        expected = self.expected(policy, demand, hold)
        knows_all = None not in self.balances(hold.accounts)
        before = self.world.dump(PARTITION)
        actor.cable.losses.extend(losses)
        failure: BaseException | None = None
        try:
            grant = self.world.do(actor.accounts.reserve(Plan(policy, "m"), demand, seed=seed))
        except (GatewayError, asyncio.CancelledError) as error:
            failure = error
        unused = len(actor.cable.losses)
        actor.cable.losses.clear()
        self.world.do(actor.finish_spawned())
        is_lost = actor.cable.is_cut or self._fails(losses)
        if isinstance(expected, Granted):
            hold.held_nusd = expected.held_nusd
        if isinstance(failure, asyncio.CancelledError):
            return
        if is_lost:
            has_run = not actor.cable.is_cut and "reply" in losses[: len(losses) - unused]
            if has_run and knows_all and isinstance(expected, Granted):
                ghost = hold if failure is not None else _copy(hold)
                ghost.status = "ghost"
                self.books.holds.append(ghost)
            if failure is not None:
                assert isinstance(failure, Unavailable | RateLimited | QuotaExceeded)
                return
            assert grant.is_local, "what the store did not answer for, this worker keeps alone"
            hold.status, hold.grant, hold.held_nusd = "local", grant, 0
            hold.taken_ms = grant.granted.at_ms
            self._take_up(actor, hold)
            return
        if failure is not None:
            self._check_refused(expected, failure, before)
            return
        assert isinstance(expected, Granted), f"{expected} was expected, and not a grant"
        assert (grant.granted.cap, grant.granted.held_nusd) == (expected.cap, expected.held_nusd)
        hold.status, hold.grant = "live", grant
        self._take_up(actor, hold)
        self._check_within(policy)

    def _take_up(self, actor: Worker, hold: Hold) -> None:
        assert hold.grant is not None
        self.books.holds.append(hold)
        actor.holds.add(hold.grant, lambda: encode_events([self.event(hold, source="orphan")]))

    def _fails(self, losses: list[Loss]) -> bool:
        """Whether a call with these losses fails in the end: Redis is asked twice."""
        return len(losses) > (1 if self.world.kind == "redis" else 0)

    def _check_refused(
        self, expected: Granted | Denied | None, failure: BaseException, before: dict[str, bytes]
    ) -> None:
        """I8: a refused request writes nothing, but for the accounts that it was the first to ask for."""
        if expected is None:
            assert isinstance(failure, Unavailable)
            assert self.world.database.is_down, failure
        else:
            assert isinstance(expected, Denied), f"{expected} was expected, and not {failure}"
            assert isinstance(failure, QuotaExceeded if expected.kind == "budget" else RateLimited), failure
        if self.is_repeating:
            return  # whoever makes an account puts again first what a wipe lost
        after = self.world.dump(PARTITION)
        changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
        if self.world.kind == "memory":
            assert changed <= {"budgets"}
        else:
            assert all(name not in before for name in changed if ":b:" in name)
            assert all(":b:" in name or ":accounts:" in name for name in changed), changed

    def _check_within(self, policy: Policy) -> None:
        """I1: what is used and held is within every budget after a reservation."""
        accounts = [each.account(self.world.now_ms) for each in policy.budgets]
        for each, balance in zip(policy.budgets, self.balances(accounts), strict=True):
            assert balance is not None
            assert balance.used_nusd + balance.held_nusd <= each.amount_nusd

    def expected(self, policy: Policy, demand: Demand, hold: Hold) -> Granted | Denied | None:
        """Return what the store must answer; nothing if an account cannot be made."""
        money = Money(demand.fixed_nusd, demand.rate_nusd, demand.cap, MIN_OUTPUT_TOKENS)
        budgets = policy.budgets if money.fixed_nusd or money.rate_nusd else ()
        left = []
        for each, account, balance in zip(budgets, hold.accounts, self.balances(hold.accounts), strict=True):
            if balance is None and self.world.database.is_down:
                return None
            known = balance or Balance(self.books.used(each, account) - self._spooled(each, account), 0)
            left.append(each.amount_nusd - known.used_nusd - known.held_nusd)
        cap = money.cap
        if left:
            cap = affordable_cap(money, min(left))
            if cap < min(money.min_cap, money.cap):
                return Denied(kind="budget", index=0, at_ms=0, used=0)
        if policy.in_flight and self._in_flight(hold.key) >= policy.in_flight[0].slots.limit:
            return Denied(kind="concurrency", index=0, at_ms=0, used=0)
        return Granted(at_ms=0, cap=cap, held_nusd=money_of(money, cap))

    def _in_flight(self, key: int) -> int:
        (count,) = self.world.do(
            self.world.store.in_flight([Slots(slots_key("key", KEYS[key].hex), 1)], partition=PARTITION)
        )
        return int(count)

    def _spooled(self, each: BudgetRule, account: BudgetAccount) -> int:
        """Return what a worker has on its disk, of which nobody else can know."""
        waiting = {UUID(entry.id) for worker in self.world.workers for entry in worker.spool._waiting}
        spooled = Books(events={id_: event for id_, event in self.books.events.items() if id_ in waiting})
        return spooled.used(each, account)

    def seed(self, hold: Hold) -> Seed:
        """Return what a request comes to before anything is heard of it: its input."""
        team = TEAM_OF[hold.key]
        return Seed(
            hold.id.hex,
            ORGANIZATION.hex,
            "" if team is None else team.hex,
            KEYS[hold.key].hex,
            "chat",
            "openai",
            "p",
            "m",
            "m",
            True,
            hold.input_tokens,
            cost(hold.price, Usage(input_tokens=hold.input_tokens)),
            {},
        )

    def event(self, hold: Hold, *, output_tokens: int | None = None, source: str = "provider") -> UsageEvent:
        """Return what a request came to."""
        tokens = hold.output_tokens if output_tokens is None else output_tokens
        usage = Usage(input_tokens=hold.input_tokens, output_tokens=tokens)
        return UsageEvent(
            event_id=attempt_id(hold.id, 1),
            request_id=hold.id,
            attempt=1,
            organization_id=ORGANIZATION,
            team_id=TEAM_OF[hold.key],
            key_id=KEYS[hold.key],
            occurred_at=datetime.fromtimestamp(hold.taken_ms / 1_000, UTC),
            operation="chat",
            dialect="openai",
            provider="p",
            model="m",
            upstream_model="m",
            outcome="ok" if source == "provider" else "interrupted",
            stream=True,
            input_tokens=hold.input_tokens,
            output_tokens=tokens,
            usage_source=source,  # type: ignore[arg-type] # one of them
            cost_nusd=cost(hold.price, usage),
            price_version=hold.price.version,
            duration_ms=0,
        )

    @precondition(lambda self: self.books.of("live", "lost", "orphaned", "local"))
    @rule(data=st.data(), share=st.sampled_from([0, 50, 100, 130]))
    def settle(self, data: st.DataObject, share: int) -> None:
        """Settle at nothing, below, at and above what was reserved; perhaps after the sweeper has."""
        self._settle_any(data, share, [])

    @precondition(lambda self: self.books.of("live", "lost", "orphaned", "local"))
    @rule(data=st.data(), share=st.sampled_from([0, 50, 100, 130]), losses=LOSSES)
    def settle_on_a_bad_line(self, data: st.DataObject, share: int, losses: list[Loss]) -> None:
        """What the store did although nobody heard it is sent again, or goes the slow way."""
        self._settle_any(data, share, losses)

    def _settle_any(self, data: st.DataObject, share: int, losses: list[Loss]) -> None:
        self.settle_hold(data.draw(st.sampled_from(self.books.of("live", "lost", "orphaned", "local"))), share, losses)

    def settle_hold(self, hold: Hold, share: int, losses: list[Loss]) -> None:
        actor, grant = self.world.workers[hold.worker], hold.grant
        assert grant is not None
        if hold.status == "orphaned" and not self._may_correct(hold, actor):
            return
        hold.output_tokens = grant.granted.cap * share // 100
        event = self.event(hold)
        actor.holds.remove(grant)
        first, second = ([], losses) if hold.status == "orphaned" else (losses, [])
        self._settle(actor, hold, event, losses=first, corrected_with=second)

    def _may_correct(self, hold: Hold, actor: Worker) -> bool:
        """Whether the store still knows by what the sweeper charged; a worker that is cut off finds out too late."""
        return not actor.cable.is_cut

    def _settle(
        self, actor: Worker, hold: Hold, event: UsageEvent, *, losses: list[Loss], corrected_with: list[Loss]
    ) -> None:
        grant, is_cut = hold.grant, actor.cable.is_cut
        assert grant is not None
        actor.cable.losses.extend(losses)
        charged = self.world.do(actor.accounts.settle(grant, [entry_of(event)], amounts_of([event])))
        actor.cable.losses.clear()
        self._unwritten()
        if hold.status == "orphaned":
            assert charged is not None
            assert charged.state == "orphaned", "the store says that the sweeper was faster"
            actor.cable.losses.extend(corrected_with)
            self.world.do(actor.accounts.adjust(grant, corrections([event], charged.orphan)))
            actor.cable.losses.clear()
            self.books.add(_difference(event, hold.checkpoint))
            hold.status = "ended"
            return
        self.books.add(event)
        is_missed = hold.status == "live" and (is_cut or (self._fails(losses) and "reply" not in losses[: self._tries]))
        hold.status = "missed" if is_missed else "ended"

    @property
    def _tries(self) -> int:
        return 2 if self.world.kind == "redis" else 1

    @precondition(lambda self: self.books.of("live", "lost", "local"))
    @rule(data=st.data(), losses=LOSSES)
    def void(self, data: st.DataObject, losses: list[Loss]) -> None:
        """Give back what was reserved for a request that was never sent."""
        hold = data.draw(st.sampled_from(self.books.of("live", "lost", "local")))
        actor = self.world.workers[hold.worker]
        assert hold.grant is not None
        actor.holds.remove(hold.grant)
        is_local = hold.status == "local"
        actor.cable.losses.extend([] if is_local else losses)
        self.world.do(actor.accounts.void(hold.grant))
        actor.cable.losses.clear()
        fails = not is_local and (actor.cable.is_cut or self._fails(losses))
        has_run = not actor.cable.is_cut and "reply" in losses[: self._tries]
        hold.status = "missed" if fails and not has_run and hold.status == "live" else "ended"

    @precondition(lambda self: self.books.of("live", "lost", "local"))
    @rule(data=st.data())
    def kill_the_caller(self, data: st.DataObject) -> None:
        """Whoever reserved is gone, and will never settle."""
        hold = data.draw(st.sampled_from(self.books.of("live", "lost", "local")))
        assert hold.grant is not None
        self.world.workers[hold.worker].holds.remove(hold.grant)
        hold.status = "dead" if hold.status == "live" else "ended"

    @precondition(lambda self: self.world.charges)
    @rule(data=st.data(), late=st.booleans())
    def replay_what_was_charged(self, data: st.DataObject, late: bool) -> None:
        """I9: charging any prefix of what was charged once more changes nothing."""
        count = data.draw(st.integers(1, len(self.world.charges)))
        before = self.world.dump(PARTITION)
        for charge in self.world.charges[:count]:
            again = _with_mode(charge, "late") if late else charge
            self.world.do(self.world.store.charge(again))
        assert self.world.dump(PARTITION) == before

    # -- leases -------------------------------------------------------------------------------------------------------

    @rule(worker=WORKERS, tokens=st.integers(0, 500))
    def beat(self, worker: int, tokens: int) -> None:
        """Renew what a worker holds, and write down what it came to."""
        actor = self.world.workers[worker]
        self._advance(2)
        for hold in self.books.holds:
            if hold.worker == worker and hold.status in {"live", "local", "lost", "orphaned"}:
                hold.output_tokens += tokens
                if hold.status == "live" and not actor.cable.is_cut:
                    hold.checkpoint = self.event(hold, source="orphan")
                    hold.leased_until_ms = self.world.now_ms + LEASE_MS
        self.world.do(actor.holds.beat())

    @rule()
    def let_leases_end(self) -> None:
        if self._tell_everything():
            self._advance(LAPSE_S)

    @rule(days=st.sampled_from([1, 1, 7, 31]))
    def roll_the_period(self, days: int) -> None:
        if self._tell_everything():
            self._advance(days * DAY_S)

    def _advance(self, seconds: int) -> None:
        """Let time pass; whoever has something to put again notices a wipe while he still has it."""
        if self.is_repeating and self._would_be_forgotten(self.world.now_ms + seconds * 1_000):
            self._notice_everywhere()
        self.world.advance(seconds)

    def _would_be_forgotten(self, at_ms: int) -> bool:
        """Whether a worker may have let go by then of what it gave to the store and is not in the database."""
        return self.first_unwritten_ms is not None and at_ms - self.first_unwritten_ms > REPEATED_MS - 1_000

    def _tell_everything(self) -> bool:
        """Let every worker tell what the store missed: that takes it half a second, and a lease is of thirty."""
        for worker in self.world.workers:
            self._recover(worker)
        return not self.books.of("missed", "ghost")

    @rule(worker=WORKERS)
    def sweep(self, worker: int) -> None:
        """Charge what nobody renewed at its last checkpoint."""
        actor = self.world.workers[worker]
        if actor.cable.is_cut or self.world.database.is_down or not self._tell_everything():
            return
        swept = self.world.do(actor.sweeper.sweep())
        assert swept == len(self._charge_lapsed())

    @rule(worker=WORKERS, tokens=st.integers(0, 500))
    def sweep_what_is_just_renewed(self, worker: int, tokens: int) -> None:
        """A sweeper that looked before a hold was renewed charges nothing."""
        actor = self.world.workers[worker]
        if actor.cable.is_cut or self.world.database.is_down or not self._tell_everything():
            return
        found, looked_ms = self.world.do(actor.store.expired(limit=200)), self.world.now_ms
        self.beat(1 - worker, tokens)
        self.beat(worker, tokens)
        for expired in found:
            self.world.do(actor.sweeper._charge(expired))
        self._charge_lapsed(by_ms=looked_ms)

    def _charge_lapsed(self, *, by_ms: int | None = None) -> list[Hold]:
        """Note that what had lapsed by a moment, by default now, and has not been renewed since, is charged."""
        until_ms = self.world.now_ms if by_ms is None else by_ms
        lapsed = [hold for hold in self.books.of("live", "dead") if hold.leased_until_ms <= until_ms]
        for hold in lapsed:
            self.books.add(hold.checkpoint)
            hold.status = "orphaned" if hold.status == "live" else "ended"
            hold.swept_ms = self.world.now_ms
            self._unwritten()
        return lapsed

    def _unwritten(self) -> None:
        if self.first_unwritten_ms is None:
            self.first_unwritten_ms = self.world.now_ms

    # -- the ledger ---------------------------------------------------------------------------------------------------

    @rule(worker=WORKERS)
    def write(self, worker: int) -> None:
        self._write(worker, None)

    @rule(worker=WORKERS, crash=CRASHES)
    def die_while_writing(self, worker: int, crash: Crash) -> None:
        """Die anywhere around the commit."""
        self._write(worker, crash)

    def _write(self, worker: int, crash: Crash | None) -> None:
        try:
            self.world.do(self.world.workers[worker].write(crash=crash))
        except (StoreUnavailable, GatewayError):
            assert self.world.workers[worker].cable.is_cut or self.world.database.is_down
        else:
            self.compare_the_database()

    @rule(first=WORKERS)
    def deliver_twice(self, first: int) -> None:
        """What one worker has claimed is given to the other too, and written by both."""
        slow, fast = self.world.workers[first], self.world.workers[1 - first]
        if slow.cable.is_cut or fast.cable.is_cut or self.world.database.is_down:
            return
        claimed = self.world.do(slow.queue.claim(limit=100, wait_s=0.0))
        self.world.do(fast.write())
        if claimed:
            self.world.do(slow.write_stale(claimed))
        self.compare_the_database()

    def compare_the_database(self) -> None:
        """I5: in the database, balances are what their events add up to, at every commit."""
        if not self.world.database.is_down:
            assert self.world.do(self._drift()) == []

    async def _drift(self) -> list[object]:
        since = datetime.fromtimestamp(1_894_000_000, UTC)
        async with self.world.database.snapshot() as connection:
            return list(await find_drift(connection, since=since, until=FAR))

    # -- what breaks --------------------------------------------------------------------------------------------------

    @rule(worker=WORKERS)
    def cut_the_cable(self, worker: int) -> None:
        self.world.workers[worker].cable.is_cut = True

    @rule(worker=WORKERS)
    def mend_the_cable(self, worker: int) -> None:
        self.world.workers[worker].cable.is_cut = False

    @rule()
    def stop_the_database(self) -> None:
        self.world.database.stop()

    @rule()
    def start_the_database(self) -> None:
        self.world.database.start()

    @rule(worker=WORKERS)
    def recover(self, worker: int) -> None:
        self._recover(self.world.workers[worker])

    def _recover(self, worker: Worker) -> None:
        self.world.do(worker.recover())
        if not worker.cable.is_cut:
            for hold in self.books.of("missed", "ghost"):
                if hold.worker == worker.number:
                    hold.status = "ended"

    @precondition(lambda self: self.world.kind == "redis")
    @rule(first=WORKERS, is_late=st.booleans())
    def wipe(self, first: int, is_late: bool) -> None:
        """The store loses everything; one worker may notice a good while after the other."""
        world = self.world
        assert isinstance(world, RedisWorld)
        if self._would_be_forgotten(world.now_ms):
            self.mend_and_compare()
        world.wipe()
        for hold in self.books.holds:
            if hold.status in IN_STORE:
                hold.status = "lost" if hold.status == "live" else "ended"
            elif hold.status == "orphaned" and self.world.now_ms - hold.swept_ms > REPEATED_MS - 1_000:
                hold.status = "ended"  # nobody knows any more by what it was charged
        self.is_repeating = True
        self._notice(first)
        is_late = is_late and not self.books.of("orphaned")
        if not is_late or any(worker.writer._claimed for worker in world.workers):
            self._notice(1 - first)

    @precondition(lambda self: self.world.kind == "redis")
    @rule(worker=WORKERS)
    def notice(self, worker: int) -> None:
        if not self.world.workers[worker].cable.is_cut:
            self._notice(worker)

    def _notice_everywhere(self) -> None:
        for worker in range(len(self.world.workers)):
            self._notice(worker)

    def _notice(self, worker: int) -> None:
        assert isinstance(self.world, RedisWorld)
        self.world.workers[worker].cable.is_cut = False
        self.world.notice(worker)

    @precondition(lambda self: self.world.kind == "redis")
    @rule(dice=st.integers(0, 11))
    def restart_the_store(self, dice: int) -> None:
        """Kill the server and start it from its append-only file: rarely, for that takes time."""
        if dice == 11 and not self.has_restarted:
            assert isinstance(self.world, RedisWorld)
            self.has_restarted = True
            self.world.restart()

    # -- what must hold -----------------------------------------------------------------------------------------------

    def balances(self, accounts: tuple[BudgetAccount, ...] | list[BudgetAccount]) -> list[Balance | None]:
        return self.world.do(self.world.store.balances(accounts, partition=PARTITION))

    def all_accounts(self) -> dict[str, tuple[BudgetRule, BudgetAccount]]:
        """Return every account that there may be."""
        found = {}
        moments = {self.world.now_ms, *(hold.taken_ms for hold in self.books.holds)}
        for scope in SCOPES:
            each = self.rule_of(scope)
            for moment in moments:
                account = each.account(moment)
                found[account.key] = (each, account)
        return found

    @property
    def is_in_step(self) -> bool:
        """Whether the store has been told everything."""
        return not self.is_repeating and all(worker.recovery.is_complete for worker in self.world.workers)

    @invariant()
    def the_store_agrees(self) -> None:
        """I2: what is held is what living requests hold; and what is used is what was charged."""
        accounts = self.all_accounts()
        found = self.balances([account for _, account in accounts.values()])
        for (each, account), balance in zip(accounts.values(), found, strict=True):
            if balance is None:
                continue
            assert balance.held_nusd == self.books.held(account) >= 0, account.key
            if self.is_in_step:
                assert balance.used_nusd == self.books.used(each, account), account.key

    @rule()
    def mend_and_compare(self) -> None:
        """Let everything end well, and compare all books."""
        self.world.database.start()
        for worker in self.world.workers:
            worker.cable.is_cut = False
            if isinstance(self.world, RedisWorld):
                self.world.notice(worker.number)
        for _ in range(2):
            for worker in self.world.workers:
                self._recover(worker)
                while self.world.do(worker.write()):
                    pass
        for worker in self.world.workers:
            assert worker.recovery.is_complete
            assert worker.spool.is_empty
        self.is_repeating, self.first_unwritten_ms = False, None
        self._compare_all_books()

    def _compare_all_books(self) -> None:
        stored = self.world.do(self._stored_events())
        expected = {event.event_id: event.cost_nusd for event in self.books.events.values()}
        assert stored == expected, "I3, I4, I12: the ledger has each charge once, and nothing else"
        self.compare_the_database()
        self._compare_totals()
        self.the_store_agrees()
        assert self.world.do(self._reconcile()) == [], "I6: the store's balances are the database's"

    async def _stored_events(self) -> dict[UUID, int | None]:
        async with self.world.database.snapshot() as connection:
            rows = await connection.execute(select(usage_events.c.event_id, usage_events.c.cost_nusd))
            return {row.event_id: row.cost_nusd for row in rows}

    def _compare_totals(self) -> None:
        """I4, I7: what the database says of an account is the model's sum; an organisation is the sum of its keys."""
        totals = {}
        for key, (each, account) in self.all_accounts().items():
            totals[key] = self.world.do(self._total(each, account))
            assert totals[key] == self.books.used(each, account)
        whole = [self._whole(scope) for scope in ("organization", "key 0", "key 1")]
        assert whole[0] == whole[1] + whole[2]

    def _whole(self, scope: str) -> int:
        each = self.rule_of(scope)
        return self.world.do(self._total(each, BudgetAccount("", 0, 0, 0)))

    async def _total(self, each: BudgetRule, account: BudgetAccount) -> int:
        async with self.world.database.snapshot() as connection:
            return await account_total(
                connection,
                scope_kind=each.scope,
                scope_id=UUID(each.account_scope.id),
                since=_moment(account.start_ms),
                until=_moment(account.end_ms),
            )

    async def _reconcile(self) -> list[Difference]:
        async def report(_: list[Difference]) -> None:
            return None

        world = self.world
        actor = world.workers[0]
        reconciler = Reconciler(
            actor.store, world.database, opener=actor.opener, report=report, metrics=world.metrics, clock=world.clock
        )
        return await reconciler.run([Scoped(self.rule_of(scope), PARTITION) for scope in SCOPES])


def _rule(scope, scope_id, dimension, limit, *, window_s, algorithm) -> Rule:
    key = window_key(scope, scope_id, dimension=dimension, window_s=window_s, algorithm=algorithm, model=None)
    return Rule(scope=scope, key=key, dimension=dimension, limit=limit, window_ms=window_s * 1_000, algorithm=algorithm)


def _copy(hold: Hold) -> Hold:
    return dataclasses.replace(hold)


def _with_mode(charge, mode):
    return msgspec.structs.replace(charge, mode=mode)


def _difference(event: UsageEvent, charged: UsageEvent) -> UsageEvent:
    """Return the adjustment that makes of what the sweeper charged what a request really came to."""
    return msgspec.structs.replace(
        event,
        event_id=adjustment_id(event.event_id),
        cost_nusd=(event.cost_nusd or 0) - (charged.cost_nusd or 0),
        kind="adjustment",
    )


def _moment(at_ms: int) -> datetime | None:
    return datetime.fromtimestamp(at_ms / 1_000, UTC) if at_ms else None


# -- running it -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loaded machine is no fault of the product's: only what is made to fail fails here."""
    monkeypatch.setattr(limits_accounts, "_OPEN_S", 30.0)
    monkeypatch.setattr(spool, "_DATABASE_S", 30.0)


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    with asyncio.Runner() as runner:
        yield runner.get_loop()


@pytest.fixture(scope="module")
def redis_process() -> Iterator[RedisProcess]:
    server = RedisProcess.launch(durable=True)
    yield server
    server.close()


@pytest.fixture
def on_redis(
    loop: asyncio.AbstractEventLoop, redis_process: RedisProcess, postgres_server: Postgres, tmp_path: Path
) -> Iterator[Callable[[], World]]:
    url = postgres_server.new_database(template=postgres_server.template("migrated", schema.upgrade))
    database = Database(url)
    yield lambda: RedisWorld(loop, CuttableDatabase(database, None), tmp_path, server=redis_process)
    loop.run_until_complete(database.aclose())
    postgres_server.drop_database(url)


@pytest.fixture
def on_servers_that_stop(
    loop: asyncio.AbstractEventLoop, redis_process: RedisProcess, tmp_path: Path
) -> Iterator[Callable[[], World]]:
    with contextlib.closing(PostgresProcess.launch()) as server:
        schema.upgrade(server.url())
        database = Database(server.url())
        yield lambda: RedisWorld(loop, CuttableDatabase(database, server), tmp_path, server=redis_process)
        loop.run_until_complete(database.aclose())


@pytest.fixture
def in_memory(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> Iterator[Callable[[], World]]:
    url = f"sqlite+aiosqlite:///{tmp_path}/gateway.db"
    schema.upgrade(url)
    database = Database(url)
    yield lambda: MemoryWorld(loop, CuttableDatabase(database, None), tmp_path)
    loop.run_until_complete(database.aclose())


def run(make_world: Callable[[], World], *, examples: int, phases: Sequence[Phase] = tuple(Phase)) -> None:
    machine = type("LedgerMachine", (LedgerMachine,), {"make_world": staticmethod(make_world)})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=STEPS, phases=phases)
    )


def test_every_request_is_charged_once_on_redis_and_postgresql(on_redis: Callable[[], World]) -> None:
    run(on_redis, examples=100, phases=QUICKLY)


def test_every_request_is_charged_once_in_one_process(in_memory: Callable[[], World]) -> None:
    run(in_memory, examples=100, phases=QUICKLY)


@pytest.fixture
def life(on_redis: Callable[[], World]) -> Iterator[LedgerMachine]:
    """A life that is lived by hand, with money enough; all books are compared at its end."""
    machine = type("LedgerMachine", (LedgerMachine,), {"make_world": staticmethod(on_redis)})()
    machine.begin(amounts=(10**9,) * 4, allowance=None, version=0)
    yield machine
    machine.teardown()


def reserved(life: LedgerMachine, worker: int) -> Hold:
    life.reserve(worker, key=0, tokens=1_000, cap=100)
    (hold,) = life.books.of("live")
    return hold


@pytest.mark.parametrize("losses", [[], ["reply"], ["request"], ["reply", "reply"], ["request", "request"]])
def test_what_was_settled_just_before_a_wipe_is_charged(life: LedgerMachine, losses: list[Loss]) -> None:
    life.settle_hold(reserved(life, 0), 50, losses)
    life.wipe(0, is_late=False)
    life.mend_and_compare()
    assert len(life.books.events) == 1


def test_an_account_made_before_a_slow_worker_noticed_a_wipe_learns_of_his_usage(life: LedgerMachine) -> None:
    life.settle_hold(reserved(life, 1), 50, [])
    life.wipe(0, is_late=True)
    life.settle_hold(reserved(life, 0), 100, [])
    life.notice(1)
    life.mend_and_compare()
    assert len(life.books.events) == 2


def test_a_hold_that_is_renewed_while_somebody_sweeps_is_not_charged(life: LedgerMachine) -> None:
    hold = reserved(life, 0)
    life.let_leases_end()
    life.sweep_what_is_just_renewed(1, tokens=30)
    assert hold.status == "live"
    life.mend_and_compare()
    assert not life.books.events
    life.settle_hold(hold, 100, [])


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("share", [0, 100, 130])
def test_a_late_word_after_an_orphan_and_a_wipe_corrects_it(life: LedgerMachine, first: int, share: int) -> None:
    hold = reserved(life, 0)
    life.beat(0, 40)
    life.let_leases_end()
    life.sweep(1)
    assert hold.status == "orphaned"
    life.wipe(first, is_late=False)
    life.settle_hold(hold, share, [])
    life.mend_and_compare()
    assert len(life.books.events) == 2


def test_a_request_that_was_refused_because_no_answer_came_costs_nothing(life: LedgerMachine) -> None:
    reserved(life, 0)
    life.reserve_on_a_bad_line(1, key=0, tokens=10, cap=10, losses=["reply", "reply"])
    assert life.books.of("ghost")
    life.let_leases_end()
    life.sweep(0)
    life.mend_and_compare()
    assert len(life.books.events) == 1


def test_a_client_that_leaves_while_it_reserves_holds_nothing(life: LedgerMachine) -> None:
    reserved(life, 0)
    life.cancel_while_reserving(1, key=0)
    life.the_store_agrees()


@pytest.mark.parametrize("loss", ["request", "reply"])
def test_an_account_learns_once_however_often_it_is_told(life: LedgerMachine, loss: Loss) -> None:
    life.settle_hold(reserved(life, 1), 50, [])
    life.wipe(0, is_late=True)
    life.settle_hold(reserved(life, 0), 100, [])
    life.notice(1)
    life.world.workers[0].cable.losses.append(loss)
    life.write(0)
    assert not life.world.workers[0].cable.losses
    life.settle_hold(reserved(life, 0), 100, [])
    life.write(0)
    life.mend_and_compare()
    assert len(life.books.events) == 3


def test_an_account_made_while_usage_goes_the_slow_way_counts_it_once(life: LedgerMachine) -> None:
    life.amounts = dict.fromkeys(life.amounts)
    hold = reserved(life, 0)
    life.set_a_budget(scope="organization", amount=10**9)
    life.settle_hold(hold, 0, ["request", "request"])
    life.reserve_on_both(key=0, tokens=0, cap=1)
    life.recover(0)
    life.the_store_agrees()


def test_an_account_made_before_usage_goes_the_slow_way_learns_of_it(life: LedgerMachine) -> None:
    life.amounts = dict.fromkeys(life.amounts)
    hold = reserved(life, 0)
    life.set_a_budget(scope="organization", amount=10**9)
    life.reserve(1, key=0, tokens=0, cap=1)
    life.settle_hold(hold, 0, ["request", "request"])
    life.recover(0)
    life.the_store_agrees()


@pytest.mark.parametrize("days", [-40, 40])
def test_a_worker_with_a_wrong_idea_of_the_time_needs_no_account_of_that_time(life: LedgerMachine, days: int) -> None:
    life.reserve(1, key=0, tokens=0, cap=1)
    life.world.workers[0].accounts.time.heard(life.world.now_ms + days * DAY_S * 1_000)
    life.stop_the_database()
    life.reserve(0, key=0, tokens=0, cap=1)
    life.start_the_database()


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_every_request_is_charged_once_on_redis_and_postgresql_in_many_lives(on_redis: Callable[[], World]) -> None:
    run(on_redis, examples=500)


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_every_request_is_charged_once_in_one_process_in_many_lives(in_memory: Callable[[], World]) -> None:
    run(in_memory, examples=500)


@pytest.mark.long
@pytest.mark.timeout(1_800)
def test_every_request_is_charged_once_where_postgresql_really_stops(
    on_servers_that_stop: Callable[[], World],
) -> None:
    run(on_servers_that_stop, examples=40)


TOKEN_COUNTS = st.builds(
    Usage,
    input_tokens=st.integers(0, 10**9),
    output_tokens=st.integers(0, 10**9),
    cache_read_tokens=st.integers(0, 10**6),
)


@given(one=TOKEN_COUNTS, other=TOKEN_COUNTS, version=st.integers(0, 3))
def test_parts_cost_what_the_whole_does_or_one_unit_more(one: Usage, other: Usage, version: int) -> None:
    """I10: rounding up, once for each attempt, is all that splitting a request can cost."""
    whole = Usage(
        input_tokens=one.input_tokens + other.input_tokens,
        output_tokens=one.output_tokens + other.output_tokens,
        cache_read_tokens=one.cache_read_tokens + other.cache_read_tokens,
    )
    paid = price(version)
    assert cost(paid, whole) <= cost(paid, one) + cost(paid, other) <= cost(paid, whole) + 1
