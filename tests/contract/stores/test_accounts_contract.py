import asyncio
from uuid import uuid4

import pytest
from msgspec import structs

from app.stores.accounts import (
    MONEY,
    AccountScope,
    Balance,
    BudgetAccount,
    Charge,
    Comparison,
    Denied,
    Granted,
    Money,
    OutOfPeriod,
    Reservation,
    Slots,
    Unknown,
    Window,
)
from app.stores.entries import UsageEntry

PARTITION = 7
DAY_MS = 86_400_000
FAR_MS = 4_000_000_000_000
KEY = AccountScope(2, "k1")
SCOPES = ("o1", "", "k1")


def ring(limit, amount, *, key=":w:r", window_ms=3_600_000):
    return Window(key, limit, window_ms, "sliding_window", amount)


def bucket(limit, amount, *, key=":tb:r", window_ms=3_600_000):
    return Window(key, limit, window_ms, "token_bucket", amount)


def budget(limit, *, key=":b:k1", start_ms=0, end_ms=0):
    return BudgetAccount(key, limit, start_ms, end_ms)


def reservation(**fields):
    return Reservation(partition=PARTITION, id=uuid4().hex, **fields)


def entry(cost, *, entry_id=None, scopes=SCOPES, at_ms=1_800_000_000_000):
    return UsageEntry(PARTITION, entry_id or uuid4().hex, b"payload", at_ms, cost, scopes)


def charge(asked, granted, *, amounts=(), entries=(), mode="settle"):
    return Charge(reservation=asked, granted=granted, amounts=amounts, entries=tuple(entries), mode=mode)


async def opened(accounts, *made, base=0, scope=KEY):
    mark = (await accounts.pending(PARTITION)).mark
    for one in made:
        assert await accounts.open_account(
            one, partition=PARTITION, scope=scope, base_nusd=base, mark=mark, force=False
        )


async def balance(accounts, account):
    [found] = await accounts.balances([account], partition=PARTITION)
    return found


async def used(accounts, window):
    [found] = await accounts.uses([window], partition=PARTITION)
    return found.used


@pytest.fixture
def accounts(stores):
    return stores.accounts


@pytest.mark.parametrize("make", [ring, bucket])
async def test_a_window_takes_as_much_as_its_limit_and_no_more(accounts, make):
    for taken in (4, 8, 10):
        verdict = await accounts.reserve(reservation(windows=(make(10, 4 if taken < 10 else 2),)))
        assert isinstance(verdict, Granted)
        assert verdict.used == (taken,)
    denied = await accounts.reserve(reservation(windows=(make(10, 1),)))
    assert isinstance(denied, Denied)
    assert (denied.kind, denied.index, denied.used) == ("window", 0, 10)
    assert denied.retry_ms is not None
    assert denied.retry_ms > 0


@pytest.mark.parametrize("make", [ring, bucket])
async def test_a_window_is_free_again_exactly_when_it_says(installation, make):
    accounts = installation.stores.accounts
    await accounts.reserve(reservation(windows=(make(10, 10, window_ms=1_000),)))
    denied = await accounts.reserve(reservation(windows=(make(10, 5, window_ms=1_000),)))
    assert isinstance(denied, Denied)
    await installation.pass_s((denied.retry_ms + 2) / 1_000)
    assert isinstance(await accounts.reserve(reservation(windows=(make(10, 5, window_ms=1_000),))), Granted)


async def test_what_asks_for_more_than_there_ever_is_is_too_large(accounts):
    denied = await accounts.reserve(reservation(windows=(ring(100, 1), ring(10, 11, key=":w:2"))))
    assert isinstance(denied, Denied)
    assert (denied.kind, denied.index, denied.asked, denied.retry_ms) == ("too_large", 1, 11, None)


async def test_all_rules_are_taken_or_none(accounts):
    account, few = budget(1_000), Slots(":c:k1", 1)
    await opened(accounts, account)
    first = reservation(windows=(ring(10, 3),), slots=(few,), budgets=(account,), money=Money(100))
    assert isinstance(await accounts.reserve(first), Granted)
    for asked in (
        reservation(windows=(ring(10, 8),), budgets=(account,), money=Money(100)),
        reservation(windows=(ring(10, 1),), slots=(few,), budgets=(account,), money=Money(100)),
        reservation(windows=(ring(10, 1),), budgets=(account,), money=Money(901)),
        reservation(windows=(ring(10, 1), bucket(5, 6)), budgets=(account,), money=Money(1)),
    ):
        assert isinstance(await accounts.reserve(asked), Denied)
        assert await used(accounts, ring(10, 0)) == 3
        assert await balance(accounts, account) == Balance(0, 100)
        assert await accounts.in_flight([few], partition=PARTITION) == [1]


async def test_the_refusal_that_lasts_longest_is_told(accounts):
    short, long = ring(10, 10, key=":w:s", window_ms=1_000), ring(10, 10, key=":w:l", window_ms=100_000)
    await accounts.reserve(reservation(windows=(short, long)))
    denied = await accounts.reserve(reservation(windows=(structs.replace(short, amount=1), long)))
    assert isinstance(denied, Denied)
    assert denied.index == 1
    assert denied.retry_ms > 90_000


@pytest.mark.parametrize("make", [ring, bucket])
async def test_a_settlement_corrects_what_was_taken(accounts, make):
    asked = reservation(windows=(make(100, 50),))
    granted = await accounts.reserve(asked)
    await accounts.charge(charge(asked, granted, amounts=(20,)))
    assert await used(accounts, make(100, 0)) == 20
    more = reservation(windows=(make(100, 50),))
    granted = await accounts.reserve(more)
    await accounts.charge(charge(more, granted, amounts=(90,)))
    assert await used(accounts, make(100, 0)) == 110


async def test_a_settlement_after_its_window_changes_nothing(installation):
    accounts, window = installation.stores.accounts, ring(100, 50, window_ms=1_000)
    asked = reservation(windows=(window,))
    granted = await accounts.reserve(asked)
    await installation.pass_s(1.1)
    assert isinstance(await accounts.reserve(reservation(windows=(ring(100, 7, window_ms=1_000),))), Granted)
    await accounts.charge(charge(asked, granted, amounts=(90,)))
    assert await used(accounts, window) == 7


async def test_slots_are_taken_and_given_back(accounts):
    slots = Slots(":c:k1", 2)
    held = [reservation(slots=(slots,)) for _ in range(2)]
    grants = [await accounts.reserve(each) for each in held]
    denied = await accounts.reserve(reservation(slots=(slots,)))
    assert isinstance(denied, Denied)
    assert (denied.kind, denied.used, denied.held) == ("concurrency", 2, 2)
    await accounts.charge(charge(held[0], grants[0]))
    assert isinstance(await accounts.reserve(reservation(slots=(slots,))), Granted)
    assert await accounts.in_flight([slots], partition=PARTITION) == [2]


async def test_a_budget_that_nobody_made_is_unknown(accounts):
    one, two = budget(10), budget(10, key=":b:o1")
    await opened(accounts, one)
    verdict = await accounts.reserve(reservation(budgets=(one, two), money=Money(1)))
    assert isinstance(verdict, Unknown)
    assert verdict.indexes == (1,)


async def test_a_budget_holds_and_then_charges(accounts):
    account = budget(1_000)
    await opened(accounts, account, base=300)
    asked = reservation(budgets=(account,), money=Money(400))
    granted = await accounts.reserve(asked)
    assert granted.held_nusd == 400
    assert await balance(accounts, account) == Balance(300, 400)
    charged = await accounts.charge(charge(asked, granted, entries=[entry(150)]))
    assert charged.state == "done"
    assert await balance(accounts, account) == Balance(450, 0)


async def test_a_budget_lowers_the_cap_to_what_it_pays_for(accounts):
    account = budget(1_000)
    await opened(accounts, account)
    money = Money(fixed_nusd=100, rate_nusd=3_000_000, cap=1_000, min_cap=16)
    granted = await accounts.reserve(reservation(budgets=(account,), money=money))
    assert (granted.cap, granted.held_nusd) == (300, 1_000)


async def test_a_budget_that_pays_for_too_little_refuses(accounts):
    account = budget(1_000)
    await opened(accounts, account, base=853)
    money = Money(fixed_nusd=100, rate_nusd=3_000_000, cap=1_000, min_cap=16)
    denied = await accounts.reserve(reservation(budgets=(account,), money=money))
    assert isinstance(denied, Denied)
    assert (denied.kind, denied.index, denied.used, denied.held, denied.retry_ms) == ("budget", 0, 853, 0, None)
    small = structs.replace(money, cap=15)
    assert isinstance(await accounts.reserve(reservation(budgets=(account,), money=small)), Granted)


async def test_the_tightest_budget_decides(accounts):
    wide, tight = budget(10_000), budget(500, key=":b:o1")
    await opened(accounts, wide, tight)
    denied = await accounts.reserve(reservation(budgets=(wide, tight), money=Money(600)))
    assert isinstance(denied, Denied)
    assert denied.index == 1


async def test_amounts_beyond_the_precision_of_a_product_are_exact(accounts):
    account = budget(9_000_000_000_000_000)
    await opened(accounts, account, base=8_999_000_000_000_000)
    money = Money(fixed_nusd=1, rate_nusd=600_000_000_001, cap=1_000_000_000, min_cap=16)
    granted = await accounts.reserve(reservation(budgets=(account,), money=money))
    cap = (1_000_000_000_000 - 1) * 1_000_000 // 600_000_000_001
    assert granted.cap == cap
    assert granted.held_nusd == 1 - (-cap * 600_000_000_001 // 1_000_000)


async def test_a_window_of_money_takes_what_is_held(accounts):
    window = ring(1_000, MONEY)
    asked = reservation(windows=(window,), money=Money(fixed_nusd=10, rate_nusd=1_000_000, cap=90))
    granted = await accounts.reserve(asked)
    assert granted.used == (100,)
    await accounts.charge(charge(asked, granted, amounts=(33,)))
    assert await used(accounts, ring(1_000, 0)) == 33


async def test_a_refusal_says_what_money_it_would_have_held(accounts):
    """Of a window of money it is what the cap costs that a budget pays for, and not the mark that stands for it."""
    account, window = budget(1_000), ring(500, MONEY)
    await opened(accounts, account)
    money = Money(fixed_nusd=100, rate_nusd=3_000_000, cap=1_000, min_cap=16)
    denied = await accounts.reserve(reservation(windows=(window,), budgets=(account,), money=money))
    assert isinstance(denied, Denied)
    assert (denied.kind, denied.asked) == ("too_large", 1_000)
    small = reservation(windows=(window,), money=Money(300))
    assert isinstance(await accounts.reserve(small), Granted)
    denied = await accounts.reserve(reservation(windows=(window,), money=Money(201)))
    assert isinstance(denied, Denied)
    assert (denied.kind, denied.used, denied.asked) == ("window", 300, 201)


async def test_a_refusal_says_what_is_used_of_every_window(accounts):
    account, few = budget(1_000), Slots(":c:k1", 1)
    windows = (ring(10, 3), bucket(9, 2), ring(500, MONEY, key=":w:m"))
    await opened(accounts, account)
    await accounts.reserve(reservation(windows=windows, slots=(few,), budgets=(account,), money=Money(100)))
    for kind, fields in {
        "window": {"windows": (structs.replace(windows[0], amount=8), *windows[1:]), "money": Money(1)},
        "too_large": {"windows": (structs.replace(windows[0], amount=11), *windows[1:]), "money": Money(1)},
        "concurrency": {"windows": windows, "slots": (few,), "money": Money(1)},
        "budget": {"windows": windows, "budgets": (account,), "money": Money(901)},
    }.items():
        denied = await accounts.reserve(reservation(**fields))
        assert isinstance(denied, Denied)
        assert (denied.kind, denied.windows_used) == (kind, (3, 2, 100))


async def test_the_same_reservation_is_granted_once(accounts):
    account = budget(1_000)
    await opened(accounts, account)
    asked = reservation(windows=(ring(10, 3),), budgets=(account,), money=Money(100))
    first = await accounts.reserve(asked)
    again = await accounts.reserve(asked)
    assert (again.at_ms, again.cap, again.held_nusd) == (first.at_ms, first.cap, first.held_nusd)
    assert await used(accounts, ring(10, 0)) == 3
    assert await balance(accounts, account) == Balance(0, 100)


async def test_the_same_charge_is_made_once(stores):
    accounts, account = stores.accounts, budget(1_000)
    await opened(accounts, account)
    asked = reservation(windows=(ring(10, 3),), budgets=(account,), money=Money(100))
    granted = await accounts.reserve(asked)
    made = charge(asked, granted, amounts=(1,), entries=[entry(70)])
    states = [(await accounts.charge(made)).state for _ in range(3)]
    assert states == ["done", "before", "before"]
    assert await balance(accounts, account) == Balance(70, 0)
    assert await used(accounts, ring(10, 0)) == 1
    assert await stores.usage.depth() == 1


async def test_a_charge_without_its_hold_is_made_all_the_same(stores):
    accounts, account = stores.accounts, budget(1_000)
    await opened(accounts, account)
    asked = reservation(budgets=(account,), money=Money(100))
    granted = Granted(at_ms=1, cap=0, held_nusd=100)
    assert (await accounts.charge(charge(asked, granted, entries=[entry(70)]))).state == "done"
    assert await balance(accounts, account) == Balance(70, 0)


async def test_a_late_charge_without_its_hold_only_hands_its_entries_over(stores):
    accounts, account = stores.accounts, budget(1_000)
    await opened(accounts, account)
    asked = reservation(budgets=(account,), money=Money(100))
    late = charge(asked, Granted(at_ms=1, cap=0, held_nusd=100), entries=[entry(70)], mode="late")
    await accounts.charge(late)
    assert await balance(accounts, account) == Balance(0, 0)
    assert await stores.usage.depth() == 1


async def test_a_late_charge_releases_its_hold(stores):
    accounts, account = stores.accounts, budget(1_000)
    await opened(accounts, account)
    asked = reservation(budgets=(account,), money=Money(100))
    granted = await accounts.reserve(asked)
    await accounts.charge(charge(asked, granted, entries=[entry(70)], mode="late"))
    assert await balance(accounts, account) == Balance(70, 0)


async def test_nothing_is_charged_to_an_account_that_is_not_there(stores):
    accounts, account = stores.accounts, budget(1_000)
    asked = reservation(budgets=(account,), money=Money(100))
    await accounts.charge(charge(asked, Granted(at_ms=1, cap=0, held_nusd=100), entries=[entry(70)]))
    assert await balance(accounts, account) is None


async def test_a_period_that_is_not_now_is_refused(accounts):
    now_ms = await accounts.now_ms()
    past = budget(10, key=":b:past", start_ms=now_ms - 2 * DAY_MS, end_ms=now_ms - DAY_MS)
    coming = budget(10, key=":b:next", start_ms=now_ms + DAY_MS, end_ms=now_ms + 2 * DAY_MS)
    for account in (past, coming):
        await opened(accounts, account)
        assert isinstance(await accounts.reserve(reservation(budgets=(account,), money=Money(1))), OutOfPeriod)


async def test_a_charge_goes_to_the_period_in_which_its_attempt_began(accounts):
    now_ms = await accounts.now_ms()
    past = budget(1_000, key=":b:p1", start_ms=now_ms - 60_000, end_ms=now_ms)
    present = budget(1_000, key=":b:p2", start_ms=now_ms, end_ms=now_ms + 60_000)
    await opened(accounts, past, present)
    asked = reservation(budgets=(present,), money=Money(100))
    granted = await accounts.reserve(asked)
    entries = [entry(70, at_ms=now_ms - 1), entry(8, at_ms=granted.at_ms)]
    await accounts.charge(charge(asked, granted, entries=entries))
    assert await balance(accounts, past) == Balance(70, 0)
    assert await balance(accounts, present) == Balance(8, 0)


async def test_an_account_made_after_a_reservation_is_charged_for_it(stores):
    accounts = stores.accounts
    asked = reservation(windows=(ring(10, 1),))
    granted = await accounts.reserve(asked)
    of_key, of_organization = budget(1_000), budget(1_000, key=":b:o1")
    await opened(accounts, of_key)
    await opened(accounts, of_organization, scope=AccountScope(0, "o1"))
    await accounts.charge(charge(asked, granted, amounts=(1,), entries=[entry(70), entry(9)]))
    await stores.usage.put([entry(5, scopes=("o1", "", "k2"))])
    assert await balance(accounts, of_key) == Balance(79, 0)
    assert await balance(accounts, of_organization) == Balance(84, 0)


async def test_entries_put_without_a_reservation_are_charged_once_unless_they_may_have_come_before(stores):
    accounts, account = stores.accounts, budget(1_000)
    await opened(accounts, account)
    spent = entry(70)
    for _ in range(2):
        await stores.usage.put([spent])
    await stores.usage.put([structs.replace(entry(9), again=True)])
    assert await balance(accounts, account) == Balance(70, 0)


async def test_a_hold_that_is_renewed_keeps_its_last_checkpoint(accounts):
    slots = Slots(":c:k1", 5)
    asked = reservation(slots=(slots,), orphan=b"at first\n")
    granted = await accounts.reserve(asked)
    assert await accounts.renew(asked, granted, orphan=b"later\n")
    await accounts.charge(charge(asked, granted))
    assert not await accounts.renew(asked, granted, orphan=b"too late")


async def test_a_hold_in_its_lease_has_not_expired(accounts):
    await accounts.reserve(reservation(orphan=b"x"))
    assert await accounts.expired(limit=10) == []


@pytest.fixture
async def outlive(installation):
    """Let the lease of every hold pass."""

    async def pass_leases():
        stores = installation.stores
        if stores.kind == "memory":
            await installation.pass_s(31)
            return
        hot = stores.hot
        for name in await hot.call("ZRANGE", f"{{p{PARTITION:02d}}}:leases", 0, -1):
            await hot.call("ZADD", f"{{p{PARTITION:02d}}}:leases", 1, name)

    return pass_leases


async def test_a_hold_whose_lease_has_ended_is_found_with_its_checkpoint(accounts, outlive):
    account = budget(1_000)
    await opened(accounts, account)
    asked = reservation(budgets=(account,), money=Money(100), orphan=b"\x00one\ntwo")
    granted = await accounts.reserve(asked)
    await accounts.renew(asked, granted, orphan=b"three\n\nfour")
    await outlive()
    [expired] = await accounts.expired(limit=10)
    assert (expired.id, expired.orphan, expired.partition) == (asked.id, b"three\n\nfour", PARTITION)
    assert (expired.granted.at_ms, expired.granted.held_nusd) == (granted.at_ms, 100)


async def test_an_orphan_is_charged_once_and_a_late_word_is_told_of_it(stores, outlive):
    accounts, account = stores.accounts, budget(1_000)
    await opened(accounts, account)
    asked = reservation(budgets=(account,), money=Money(100), orphan=b"checkpoint")
    granted = await accounts.reserve(asked)
    await outlive()
    orphaned = structs.replace(asked, windows=(), slots=())
    swept = charge(orphaned, granted, entries=[entry(40)], mode="orphan")
    assert [(await accounts.charge(swept)).state for _ in range(2)] == ["done", "before"]
    assert await balance(accounts, account) == Balance(40, 0)
    late = await accounts.charge(charge(asked, granted, entries=[entry(70)]))
    assert (late.state, late.orphan) == ("orphaned", b"checkpoint")
    assert await balance(accounts, account) == Balance(40, 0)
    assert await accounts.expired(limit=10) == []


async def test_a_settled_request_is_no_orphan(accounts):
    asked = reservation(orphan=b"x")
    granted = await accounts.reserve(asked)
    await accounts.charge(charge(asked, granted))
    assert (await accounts.charge(charge(asked, granted, mode="orphan"))).state == "before"


async def test_an_account_counts_what_the_queue_took_since_it_was_looked_at(stores):
    accounts, account = stores.accounts, budget(1_000)
    await stores.usage.put([entry(5)])
    pending = await accounts.pending(PARTITION)
    assert [one.cost_nusd for one in pending.entries] == [5]
    await stores.usage.put([entry(7), entry(11, scopes=("o1", "", "other")), entry(13)])
    assert await accounts.open_account(
        account, partition=PARTITION, scope=KEY, base_nusd=100, mark=pending.mark, force=False
    )
    assert await balance(accounts, account) == Balance(120, 0)


async def test_an_account_counts_only_its_own_period(stores):
    accounts = stores.accounts
    now_ms = await accounts.now_ms()
    account = budget(1_000, key=":b:d", start_ms=now_ms - 1_000, end_ms=now_ms + 60_000)
    mark = (await accounts.pending(PARTITION)).mark
    await stores.usage.put([entry(3, at_ms=now_ms - 1_001), entry(5, at_ms=now_ms), entry(7, at_ms=now_ms + 60_000)])
    await accounts.open_account(account, partition=PARTITION, scope=KEY, base_nusd=0, mark=mark, force=False)
    assert await balance(accounts, account) == Balance(5, 0)


async def test_an_account_is_not_made_when_the_queue_has_given_entries_away(stores):
    accounts, account = stores.accounts, budget(1_000)
    await stores.usage.put([entry(5)])
    mark = (await accounts.pending(PARTITION)).mark
    await stores.usage.put([entry(7)])
    await stores.usage.acknowledge(await stores.usage.claim(limit=10, wait_s=0))
    arguments = {"partition": PARTITION, "scope": KEY, "base_nusd": 0, "mark": mark}
    assert not await accounts.open_account(account, **arguments, force=False)
    assert not await accounts.open_account(account, **arguments, force=True)
    assert await accounts.check_account(account, **arguments) is None
    assert await balance(accounts, account) is None


async def test_an_account_that_is_there_is_made_once(installation):
    one, other, account = installation.stores.accounts, installation.peer.accounts, budget(1_000)
    mark = (await one.pending(PARTITION)).mark
    opening = [
        each.open_account(account, partition=PARTITION, scope=KEY, base_nusd=100, mark=mark, force=False)
        for each in (one, other) * 5
    ]
    assert all(await asyncio.gather(*opening))
    assert await balance(one, account) == Balance(100, 0)


async def test_a_forced_opening_corrects_what_is_used_and_keeps_what_is_held(accounts):
    account = budget(1_000)
    await opened(accounts, account, base=100)
    asked = reservation(budgets=(account,), money=Money(50))
    await accounts.reserve(asked)
    mark = (await accounts.pending(PARTITION)).mark
    assert await accounts.open_account(account, partition=PARTITION, scope=KEY, base_nusd=77, mark=mark, force=True)
    assert await balance(accounts, account) == Balance(77, 50)


async def test_a_comparison_changes_nothing(stores):
    accounts, account = stores.accounts, budget(1_000)
    await opened(accounts, account, base=100)
    mark = (await accounts.pending(PARTITION)).mark
    asked = reservation(budgets=(account,), money=Money(50))
    granted = await accounts.reserve(asked)
    await accounts.charge(charge(asked, granted, entries=[entry(9)]))
    arguments = {"partition": PARTITION, "scope": KEY, "mark": mark}
    assert await accounts.check_account(account, **arguments, base_nusd=100) == Comparison(109, 109)
    assert await accounts.check_account(account, **arguments, base_nusd=101) == Comparison(109, 110)
    assert await balance(accounts, account) == Balance(109, 0)
    assert await accounts.check_account(budget(1, key=":b:none"), **arguments, base_nusd=0) is None


async def test_reservations_of_many_processes_never_exceed_a_limit(installation):
    account, window = budget(1_000), ring(37, 1)
    await opened(installation.stores.accounts, account)
    asked = [reservation(windows=(window,), budgets=(account,), money=Money(20)) for _ in range(200)]
    verdicts = await asyncio.gather(
        *[
            (installation.stores if at % 2 else installation.peer).accounts.reserve(each)
            for at, each in enumerate(asked)
        ]
    )
    assert sum(isinstance(verdict, Granted) for verdict in verdicts) == 37
    assert await balance(installation.stores.accounts, account) == Balance(0, 740)


async def test_what_nobody_heard_of_is_released_by_what_the_hold_says(accounts):
    """Whoever gives a reservation up may not know what was granted, or when."""
    account, spending = budget(1_000), ring(1_000, MONEY, key=":w:cost")
    await opened(accounts, account)
    asked = reservation(
        windows=(ring(10, 4), spending), slots=(Slots(":c:k1", 5),), budgets=(account,), money=Money(100, 0, 0, 0)
    )
    assert isinstance(await accounts.reserve(asked), Granted)
    unheard = Granted(at_ms=0, cap=0, held_nusd=0)
    await accounts.charge(charge(asked, unheard, amounts=(0, 0), mode="late"))
    assert await balance(accounts, account) == Balance(0, 0)
    assert (await used(accounts, ring(10, 4)), await used(accounts, spending)) == (0, 0)
    assert await accounts.in_flight([Slots(":c:k1", 5)], partition=PARTITION) == [0]


async def test_what_was_given_up_on_its_way_takes_nothing_when_it_arrives(accounts):
    account = budget(1_000)
    await opened(accounts, account)
    asked = reservation(windows=(ring(10, 4),), budgets=(account,), money=Money(100, 0, 0, 0))
    await accounts.charge(charge(asked, Granted(at_ms=0, cap=0, held_nusd=0), amounts=(0,), mode="late"))
    assert isinstance(await accounts.reserve(asked), OutOfPeriod)
    assert await balance(accounts, account) == Balance(0, 0)
    assert await used(accounts, ring(10, 4)) == 0


async def test_the_accounts_of_scopes_are_those_that_were_made(accounts):
    of_key, of_organization = budget(10, start_ms=5, end_ms=FAR_MS), budget(10, key=":b:o1")
    await opened(accounts, of_key, budget(10, key=":b:k1:total"))
    await opened(accounts, of_organization, scope=AccountScope(0, "o1"))
    await opened(accounts, budget(10, key=":b:k2"), scope=AccountScope(2, "k2"))
    found = await accounts.accounts_of(SCOPES, partition=PARTITION)
    assert sorted(found, key=lambda each: each.key) == [
        budget(0, start_ms=5, end_ms=FAR_MS),
        budget(0, key=":b:k1:total"),
        budget(0, key=":b:o1"),
    ]
    assert await accounts.accounts_of(("o9", "", "k9"), partition=PARTITION) == []


async def test_a_grant_says_what_budgets_had_before_it(accounts):
    one, other = budget(1_000, key=":b:one"), budget(500, key=":b:other")
    await opened(accounts, one, base=70)
    await opened(accounts, other)
    asked = reservation(budgets=(one, other), windows=(ring(10, 1), bucket(10, 2)), money=Money(30, 0, 0, 0))
    first = await accounts.reserve(asked)
    second = await accounts.reserve(structs.replace(asked, id=uuid4().hex))
    assert (first.used, first.balances) == ((1, 2), (Balance(70, 0), Balance(0, 0)))
    assert second.balances == (Balance(70, 30), Balance(0, 30))
    assert (await accounts.reserve(asked)).balances == (), "it was granted before"
