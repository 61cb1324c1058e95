import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.domain.keys import renewal as module
from app.domain.keys.renewal import Renewals
from app.domain.keys.secrets import MasterSecrets, key_mac, make_key
from app.kernel.errors import Unavailable
from providers.types import Secret

OLD, NEW = Secret("o" * 32), Secret("n" * 32)
PEPPERS = MasterSecrets(NEW, OLD).peppers()


class FakeDatabase:
    """Takes statements, and may be down."""

    def __init__(self) -> None:
        self.is_down = False
        self.written: list[Any] = []
        self.has_written = asyncio.Event()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["FakeDatabase"]:
        if self.is_down:
            raise Unavailable
        yield self

    async def execute(self, statement: Any) -> None:
        self.written.append(statement.compile().params)
        self.has_written.set()


class Stored:
    """What is stored of a key: its hash under these peppers, the first one first."""

    def __init__(self, token: bytes, *peppers: Any) -> None:
        first, former = (*peppers, None)[:2]
        self.secret_kid, self.secret_mac = first.kid, key_mac(first.key, token)
        self.former_kid = None if former is None else former.kid
        self.former_mac = None if former is None else key_mac(former.key, token)


@pytest.fixture
def database() -> FakeDatabase:
    return FakeDatabase()


@pytest.fixture
def renewals(database: FakeDatabase) -> Renewals:
    return Renewals(database, peppers=PEPPERS)  # type: ignore[arg-type] # a double


def new_token() -> tuple[str, bytes]:
    made = make_key("inference")
    return made.public_id, made.text.reveal().encode()


async def test_only_a_key_without_a_hash_under_the_current_pepper_is_written(
    database: FakeDatabase, renewals: Renewals
) -> None:
    current, old = PEPPERS
    for peppers in ((current,), (current, old), (old, current)):
        public_id, token = new_token()
        renewals.note(public_id, token, stored=Stored(token, *peppers))
    await renewals.flush()
    assert database.written == []

    public_id, token = new_token()
    renewals.note(public_id, token, stored=Stored(token, old))
    await renewals.flush()
    (written,) = database.written
    assert (written["mac"], written["kid"]) == (key_mac(current.key, token), current.kid)
    assert old is not None
    assert (written["former_mac"], written["former_kid"]) == (key_mac(old.key, token), old.kid)


async def test_what_the_database_does_not_take_waits(
    database: FakeDatabase, renewals: Renewals, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        public_id, token = new_token()
        renewals.note(public_id, token, stored=Stored(token, PEPPERS.old))
    database.is_down = True
    with caplog.at_level(logging.WARNING):
        await renewals.try_flush()
    assert "3 keys wait" in caplog.text
    assert not any(field in caplog.text for field in ("sk-gw-", token.decode()))
    database.is_down = False
    await renewals.try_flush()
    await renewals.try_flush()
    assert len(database.written) == 3


async def test_it_writes_by_itself_and_only_while_there_is_an_old_secret(
    database: FakeDatabase, renewals: Renewals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_EVERY_S", 0.001)
    await asyncio.wait_for(
        Renewals(database, peppers=MasterSecrets(NEW).peppers()).run(),  # type: ignore[arg-type] # a double
        timeout=20,
    )
    running = asyncio.get_running_loop().create_task(renewals.run())
    public_id, token = new_token()
    renewals.note(public_id, token, stored=Stored(token, PEPPERS.old))
    await asyncio.wait_for(database.has_written.wait(), timeout=20)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
