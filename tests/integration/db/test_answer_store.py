"""What is kept for idempotency keys, on both databases: one holder of a slot at a time, and one answer for a day."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.domain.answers.repository import delete_of_organization
from app.domain.answers.schemas import Claim, KeptAnswer, Slot, Standing
from app.domain.answers.service import AnswerStore
from app.domain.keys.sealing import Cipher
from app.domain.keys.secrets import Derived
from app.kernel.clock import SystemClock
from app.kernel.errors import Conflict
from app.kernel.ids import uuid7

KEY, ORGANIZATION = b"k" * 32, UUID(int=7)
SLOT = Slot(UUID(int=1), "/v1/chat/completions", "once")
ANSWER = KeptAnswer(
    is_live=True,
    content_type=b"text/event-stream",
    headers=((b"x-gateway-provider", b"fake"), (b"x-gateway-attempts", b"1")),
    body=b"data: a secret that nobody reads\n\n" * 3,
)


def a_claim(*, slot: Slot = SLOT, request: bytes = b"r" * 32) -> Claim:
    return Claim(slot, ORGANIZATION, request, uuid7())


@pytest.fixture
def open_store(database: Database) -> Callable[..., AnswerStore]:
    return lambda key=KEY: AnswerStore(database, cipher=Cipher(Derived(key)), clock=SystemClock())


@pytest.fixture
def store(open_store: Callable[..., AnswerStore]) -> AnswerStore:
    return open_store()


async def move_back(database: Database, column: str, by: timedelta) -> None:
    """Let a moment of all rows be `by` earlier, as if so much time had passed."""
    async with database.transaction() as connection:
        sqlite = f"UPDATE kept_answers SET {column} = datetime({column}, '-{by.total_seconds():.0f} seconds')"
        postgresql = f"UPDATE kept_answers SET {column} = {column} - interval '{by.total_seconds():.0f} seconds'"
        await connection.execute(text(sqlite if database.is_sqlite else postgresql))


async def test_a_slot_has_one_holder_among_many_that_ask_at_once(store: AnswerStore):
    claims = [a_claim() for _ in range(20)]
    found = await asyncio.gather(*(store.claim(claim) for claim in claims))
    assert sorted(one is Standing.OURS for one in found) == [False] * 19 + [True]
    assert set(found) == {Standing.OURS, Standing.HELD}
    assert await store.is_held(SLOT)


async def test_what_is_kept_is_given_again_as_it_was(store: AnswerStore):
    first = a_claim()
    assert await store.claim(first) is Standing.OURS
    assert await store.keep(first, ANSWER)
    assert not await store.is_held(SLOT)
    assert await store.claim(a_claim()) == ANSWER
    assert await store.claim(a_claim()) == ANSWER


@pytest.mark.parametrize("size_bytes", [0, 1 << 20])
async def test_an_answer_of_any_size_is_given_again(store: AnswerStore, size_bytes: int):
    answer = KeptAnswer(is_live=False, content_type=b"audio/wav", headers=(), body=bytes(size_bytes))
    first = a_claim()
    await store.claim(first)
    assert await store.keep(first, answer)
    assert await store.claim(a_claim()) == answer


@pytest.mark.parametrize("is_answered", [False, True])
async def test_another_request_under_the_same_key_is_a_conflict(store: AnswerStore, *, is_answered: bool):
    first = a_claim()
    await store.claim(first)
    if is_answered:
        await store.keep(first, ANSWER)
    with pytest.raises(Conflict) as caught:
        await store.claim(a_claim(request=b"x" * 32))
    assert (caught.value.code, caught.value.param) == ("idempotency_conflict", "Idempotency-Key")


@pytest.mark.parametrize(
    "other",
    [
        SLOT._replace(key_id=UUID(int=2)),
        SLOT._replace(path="/v1/messages"),
        SLOT._replace(idempotency_key="twice"),
    ],
)
async def test_slots_do_not_mix(store: AnswerStore, other: Slot):
    first = a_claim()
    await store.claim(first)
    await store.keep(first, ANSWER)
    assert await store.claim(a_claim(slot=other, request=b"x" * 32)) is Standing.OURS


async def test_a_released_slot_is_free_for_any_request(store: AnswerStore):
    first = a_claim()
    await store.claim(first)
    await store.release(first)
    assert not await store.is_held(SLOT)
    assert await store.claim(a_claim(request=b"x" * 32)) is Standing.OURS


async def test_a_lease_that_ran_out_is_taken_over_and_its_holder_has_no_say_any_more(
    database: Database, store: AnswerStore
):
    killed, heir = a_claim(), a_claim()
    await store.claim(killed)
    await move_back(database, "lease_until", timedelta(seconds=31))
    assert not await store.is_held(SLOT)
    assert await store.claim(heir) is Standing.OURS
    assert not await store.renew(killed)
    await store.release(killed)
    assert await store.is_held(SLOT)
    assert not await store.keep(killed, ANSWER)
    assert await store.renew(heir)
    other = KeptAnswer(is_live=False, content_type=b"application/json", headers=(), body=b"{}")
    assert await store.keep(heir, other)
    assert await store.claim(a_claim()) == other


async def test_a_renewed_lease_holds(database: Database, store: AnswerStore):
    first = a_claim()
    await store.claim(first)
    await move_back(database, "lease_until", timedelta(seconds=25))
    assert await store.renew(first)
    await move_back(database, "lease_until", timedelta(seconds=25))
    assert await store.claim(a_claim()) is Standing.HELD


async def test_an_answer_outlives_the_lease_it_was_made_under(database: Database, store: AnswerStore):
    first = a_claim()
    await store.claim(first)
    await store.keep(first, ANSWER)
    await move_back(database, "lease_until", timedelta(days=1))
    assert await store.claim(a_claim()) == ANSWER


async def test_after_a_day_a_key_is_as_new(database: Database, store: AnswerStore):
    first = a_claim()
    await store.claim(first)
    await store.keep(first, ANSWER)
    await move_back(database, "expires_at", timedelta(hours=24, seconds=1))
    assert await store.claim(a_claim(request=b"x" * 32)) is Standing.OURS


async def test_what_has_expired_is_swept(database: Database, store: AnswerStore):
    for number in range(3):
        await store.claim(a_claim(slot=SLOT._replace(idempotency_key=f"old {number}")))
    await move_back(database, "expires_at", timedelta(hours=25))
    await store.claim(a_claim())
    assert await store.sweep() == 3
    assert await store.sweep() == 0
    assert await store.is_held(SLOT)


async def test_that_an_answer_was_too_large_is_remembered(store: AnswerStore):
    first = a_claim()
    await store.claim(first)
    assert await store.keep(first, None)
    with pytest.raises(Conflict, match="larger than 1048576 bytes"):
        await store.claim(a_claim())


async def test_an_answer_opens_with_its_own_secret_and_in_its_own_slot_only(
    database: Database, open_store: Callable[..., AnswerStore]
):
    first = a_claim()
    await open_store().claim(first)
    await open_store().keep(first, ANSWER)
    with pytest.raises(Conflict, match="cannot be read any more"):
        await open_store(b"x" * 32).claim(a_claim())
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE kept_answers SET idempotency_key = 'moved'"))
    with pytest.raises(Conflict, match="cannot be read any more"):
        await open_store().claim(a_claim(slot=SLOT._replace(idempotency_key="moved")))


async def test_nothing_of_an_answer_stands_in_the_open(database: Database, store: AnswerStore):
    first = a_claim()
    await store.claim(first)
    await store.keep(first, ANSWER)
    async with database.reading() as connection:
        row = (await connection.execute(text("SELECT * FROM kept_answers"))).mappings().one()
    stored = b"\n".join(value if isinstance(value, bytes) else str(value).encode() for value in row.values())
    assert b"secret" not in stored
    assert b"event-stream" not in stored
    assert b"x-gateway-provider" not in stored
    assert b"once" in stored


async def test_an_organisation_s_answers_go_with_it(database: Database, store: AnswerStore):
    first = a_claim()
    await store.claim(first)
    await store.keep(first, ANSWER)
    async with database.transaction() as connection:
        await delete_of_organization(connection, UUID(int=8))
    assert await store.claim(a_claim()) == ANSWER
    async with database.transaction() as connection:
        await delete_of_organization(connection, ORGANIZATION)
    assert await store.claim(a_claim()) is Standing.OURS
