"""Stored credentials under a new master secret: whole, resumable, audited, and never over a newer credential."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.domain.audit.principal import COMMAND_LINE
from app.domain.services import AdminServices
from app.domain.upstream import rotation
from app.domain.upstream.repository import UpstreamRepository, exchange_envelope, find_envelope
from app.domain.upstream.rotation import Progress, rotate
from app.domain.upstream.vault import Vault
from providers.types import Secret

MASTER = Secret("a master secret of at least 32 bytes")
"""That of the plane under test."""

NEW = Secret("the next master secret, of 32 bytes")


@pytest.fixture
def renewed(plane) -> AdminServices:
    """The services of a process that has both secrets."""
    return AdminServices.over(plane.database, clock=plane.clock, master_secret=NEW, old_master_secret=MASTER)


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "_AT_ONCE", 2)


async def make(root, count: int) -> list[dict[str, Any]]:
    made = []
    for number in range(count):
        spec = {"name": f"p{number}", "adapter": "openai", "api_key": f"secret-number-{number}"}
        made.append((await root.post("/providers", json=spec)).json())
    await root.post("/providers", json={"name": "echo"})
    return made


async def run(services: AdminServices, seen: list[tuple[int, int]] | None = None) -> Progress:
    def show(progress: Progress) -> None:
        if seen is not None:
            seen.append((progress.done, progress.total))

    return await rotate(services.auditor, services.upstream_reader, request_id="r", show=show)


async def test_everything_is_rewrapped_and_audited_with_progress(plane, root, renewed: AdminServices) -> None:
    await make(root, 5)
    seen: list[tuple[int, int]] = []
    assert (await run(renewed, seen)).unreadable == []
    assert seen == [(2, 5), (4, 5), (5, 5)]
    stored = await UpstreamRepository(plane.database).read_all()
    assert {envelope.kid for envelope in stored.envelopes.values()} == {Vault(NEW).kid}
    alone = AdminServices.over(plane.database, clock=plane.clock, master_secret=NEW)
    for each in stored.providers:
        opened = await alone.providers.open(COMMAND_LINE, each.id)
        if each.name != "echo":
            assert opened.settings.credentials == (Secret(f"secret-number-{each.name[1:]}"),)
    entries = (await root.get("/audit", params={"limit": 5})).json()["items"]
    assert {(entry["action"], entry["object_kind"]) for entry in entries} == {("rotate", "provider")}
    assert entries[0]["before"] == {"kid": Vault(MASTER).kid}
    again: list[tuple[int, int]] = []
    await run(renewed, again)
    assert again == [(5, 5)]


async def test_it_goes_on_where_it_was_stopped(plane, root, renewed: AdminServices) -> None:
    await make(root, 5)

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt(progress.done)

    with pytest.raises(KeyboardInterrupt):
        await rotate(renewed.auditor, renewed.upstream_reader, request_id="r", show=stop)
    seen: list[tuple[int, int]] = []
    await run(renewed, seen)
    assert seen == [(4, 5), (5, 5)]


async def test_what_opens_under_neither_is_named_and_left(plane, root, renewed: AdminServices) -> None:
    made = await make(root, 3)
    async with plane.database.transaction() as connection:
        statement = text("UPDATE providers SET credential_version = 9 WHERE name = 'p1'")
        await connection.execute(statement)
    assert (await run(renewed)).unreadable == [(UUID(made[1]["id"]), "p1")]
    async with plane.database.reading() as connection:
        left = await find_envelope(connection, UUID(made[1]["id"]))
    assert left is not None
    assert left.kid == Vault(MASTER).kid


async def test_a_credential_that_was_sent_anew_is_not_overwritten(plane, root, renewed: AdminServices) -> None:
    (made,) = await make(root, 1)
    provider_id = UUID(made["id"])
    stored = await UpstreamRepository(plane.database).read_all()
    provider = next(each for each in stored.providers if each.id == provider_id)
    stale = stored.envelopes[provider_id]
    rewrapped = renewed.upstream_reader.vault.rewrap(stale, binding=renewed.upstream_reader.binding(provider))
    await root.patch(f"/providers/{provider_id}", json={"api_key": "a newer credential"})
    async with plane.database.transaction() as connection:
        assert not await exchange_envelope(connection, provider_id, old=stale, new=rewrapped)
    opened = await renewed.providers.open(COMMAND_LINE, provider_id)
    assert opened.settings.credentials == (Secret("a newer credential"),)
