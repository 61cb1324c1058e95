"""What is kept of the Responses API, on both databases: found again by its owner alone, and for a time."""

import os
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest
from sqlalchemy import text

from app.db.engine import Database
from app.domain.keys.sealing import Cipher
from app.domain.keys.secrets import Derived
from app.domain.responses import service
from app.domain.responses.repository import delete_of_organization
from app.domain.responses.schemas import KeptResponse
from app.domain.responses.service import KEPT_FOR, ResponseStore
from app.kernel.clock import ManualClock
from app.kernel.errors import TooLarge

OURS, OTHERS = UUID(int=1), UUID(int=2)
KEY = b"k" * 32


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def open_store(database: Database, clock: ManualClock) -> Callable[..., ResponseStore]:
    return lambda key=KEY: ResponseStore(database, cipher=Cipher(Derived(key)), clock=clock)


@pytest.fixture
def store(open_store: Callable[..., ResponseStore]) -> ResponseStore:
    return open_store()


def kept(number: int, *, previous: int | None = None, text: str = "hi") -> KeptResponse:
    return KeptResponse(
        id=f"resp_{number}",
        response={"id": f"resp_{number}", "output": [{"id": f"msg_{number}", "type": "message", "content": text}]},
        input=[{"role": "user", "content": f"question {number}"}],
        previous_id=None if previous is None else f"resp_{previous}",
    )


async def test_what_is_kept_is_found_by_its_organisation_alone(store: ResponseStore):
    assert await store.keep(kept(1), organization_id=OURS)
    assert await store.find("resp_1", organization_id=OURS) == kept(1)
    assert await store.find("resp_1", organization_id=OTHERS) is None
    assert await store.issued(["resp_1", "msg_1", "msg_2"], organization_id=OTHERS) == {}
    issued = await store.issued(["resp_1", "msg_1", "msg_2"], organization_id=OURS)
    assert {one.id: (one.provider, one.response_id) for one in issued.values()} == {
        "resp_1": (None, "resp_1"),
        "msg_1": (None, "resp_1"),
    }


async def test_a_number_of_any_size_is_kept(store: ResponseStore):
    huge = {"max_output_tokens": 2**64, "top_p": 10**30, "least": -(2**70), "text": "é\u2028\0", "share": 0.1}
    made = msgspec.structs.replace(kept(1), response={**kept(1).response, **huge}, input=[{"size": 2**64}])
    assert await store.keep(made, organization_id=OURS)
    assert await store.find("resp_1", organization_id=OURS) == made
    assert await store.conversation("resp_1", organization_id=OURS) == [made]


async def test_what_an_earlier_release_kept_is_read(store: ResponseStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(msgspec.json, "encode", msgspec.msgpack.encode)
    for number in (1, 2):
        assert await store.keep(kept(number, previous=number - 1 or None), organization_id=OURS)
    monkeypatch.undo()
    assert await store.keep(kept(3, previous=2), organization_id=OURS)
    assert await store.find("resp_1", organization_id=OURS) == kept(1)
    assert await store.conversation("resp_3", organization_id=OURS) == [
        kept(1),
        kept(2, previous=1),
        kept(3, previous=2),
    ]


async def test_a_conversation_is_found_from_its_beginning(store: ResponseStore):
    for number in (1, 2, 3):
        await store.keep(kept(number, previous=number - 1 or None), organization_id=OURS)
    found = await store.conversation("resp_3", organization_id=OURS)
    assert [one.id for one in found] == ["resp_1", "resp_2", "resp_3"]
    assert await store.conversation("resp_3", organization_id=OTHERS) == []
    await store.forget("resp_1", organization_id=OURS)
    assert await store.conversation("resp_3", organization_id=OURS) == []


async def test_a_long_conversation_is_refused_before_it_fills_the_memory(
    store: ResponseStore, monkeypatch: pytest.MonkeyPatch
):
    for number in (1, 2, 3):
        await store.keep(kept(number, previous=number - 1 or None, text="a" * 50_000), organization_id=OURS)
    monkeypatch.setattr(service, "MAX_CONVERSATION_BYTES", 120_000)
    assert len(await store.conversation("resp_2", organization_id=OURS)) == 2
    with pytest.raises(TooLarge) as caught:
        await store.conversation("resp_3", organization_id=OURS)
    assert caught.value.param == "previous_response_id"
    monkeypatch.setattr(service, "MAX_CONVERSATION_BYTES", 300)
    with pytest.raises(TooLarge):
        await store.conversation("resp_2", organization_id=OURS)
    assert not await store.keep(kept(4, text="a" * 300), organization_id=OURS)


async def test_what_is_large_is_kept_and_found(store: ResponseStore):
    text = os.urandom(100_000).hex()
    await store.keep(kept(1, text=text), organization_id=OURS)
    assert await store.find("resp_1", organization_id=OURS) == kept(1, text=text)
    assert await store.conversation("resp_1", organization_id=OURS) == [kept(1, text=text)]


async def test_a_text_that_can_be_no_id_is_nobodys(store: ResponseStore):
    await store.remember(["resp_v", "a\0b"], provider="openai", organization_id=OURS)
    odd = ["a\0b", "\ud800", "x" * 300, ""]
    assert await store.issued(odd, organization_id=OURS) == {}
    assert set(await store.issued(["resp_v", *odd], organization_id=OURS)) == {"resp_v"}


async def test_all_of_an_organisation_is_forgotten_with_it(store: ResponseStore, database: Database):
    await store.keep(kept(1), organization_id=OURS)
    await store.keep(kept(1), organization_id=OTHERS)
    async with database.transaction() as connection:
        await delete_of_organization(connection, OURS)
    assert await store.find("resp_1", organization_id=OURS) is None
    assert await store.issued(["resp_1"], organization_id=OURS) == {}
    assert await store.find("resp_1", organization_id=OTHERS) == kept(1)


async def test_two_organisations_may_keep_the_same_id(store: ResponseStore):
    await store.keep(kept(1, text="ours"), organization_id=OURS)
    await store.keep(kept(1, text="theirs"), organization_id=OTHERS)
    await store.forget("resp_1", organization_id=OTHERS)
    assert await store.find("resp_1", organization_id=OURS) == kept(1, text="ours")
    assert await store.find("resp_1", organization_id=OTHERS) is None


async def test_keeping_again_changes_nothing(store: ResponseStore):
    await store.keep(kept(1), organization_id=OURS)
    await store.keep(kept(1, text="another"), organization_id=OURS)
    assert await store.find("resp_1", organization_id=OURS) == kept(1)


async def test_what_a_provider_keeps_is_remembered_with_its_name(store: ResponseStore):
    await store.remember(["resp_v", "rs_v", "rs_v", "x" * 300], provider="openai", organization_id=OURS)
    issued = await store.issued(["resp_v", "rs_v", "x" * 300], organization_id=OURS)
    assert {one.id: (one.provider, one.response_id) for one in issued.values()} == {
        "resp_v": ("openai", "resp_v"),
        "rs_v": ("openai", "resp_v"),
    }
    await store.forget("resp_v", organization_id=OURS)
    assert await store.issued(["resp_v", "rs_v"], organization_id=OURS) == {}


async def test_after_30_days_it_is_gone_and_swept(store: ResponseStore, clock: ManualClock, database: Database):
    await store.keep(kept(1), organization_id=OURS)
    clock.advance(KEPT_FOR.total_seconds() - 1)
    assert await store.find("resp_1", organization_id=OURS) is not None
    await store.keep(kept(2), organization_id=OURS)
    clock.advance(timedelta(seconds=1).total_seconds())
    assert await store.find("resp_1", organization_id=OURS) is None
    assert await store.issued(["msg_1"], organization_id=OURS) == {}
    assert await store.sweep() == 3
    async with database.reading() as connection:
        rows = (await connection.execute(text("SELECT id FROM issued_references ORDER BY id"))).scalars()
        assert list(rows) == ["msg_2", "resp_2"]


async def test_the_oldest_go_where_there_are_too_many(
    store: ResponseStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(service, "MOST_KEPT", 2)
    for number in range(1, 5):
        await store.keep(kept(number), organization_id=OURS)
        clock.advance(1)
    await store.keep(kept(9), organization_id=OTHERS)
    assert await store.sweep() == 2
    left = [number for number in range(1, 5) if await store.find(f"resp_{number}", organization_id=OURS)]
    assert left == [3, 4]
    assert await store.find("resp_9", organization_id=OTHERS) is not None


async def test_what_is_too_large_is_not_kept(store: ResponseStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(service, "MAX_BYTES", 10)
    assert not await store.keep(kept(1), organization_id=OURS)
    assert await store.issued(["resp_1"], organization_id=OURS) == {}


async def test_rows_are_unreadable_in_the_database_and_when_moved(
    store: ResponseStore, open_store: Callable[..., ResponseStore], database: Database
):
    await store.keep(kept(1, text="the secret of the client"), organization_id=OURS)
    async with database.transaction() as connection:
        payload = (await connection.execute(text("SELECT payload FROM kept_responses"))).scalar_one()
        assert b"secret" not in bytes(payload)
        other = str(OTHERS) if not database.is_sqlite else OTHERS.hex
        await connection.execute(text("UPDATE kept_responses SET organization_id = :o"), {"o": other})
    assert await store.find("resp_1", organization_id=OTHERS) is None
    await store.keep(kept(2), organization_id=OURS)
    assert await open_store(b"n" * 32).find("resp_2", organization_id=OURS) is None
