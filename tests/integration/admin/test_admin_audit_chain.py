"""The audit chain: one however many write, and nothing done to it stays unseen."""

import asyncio
import contextlib
import csv
import hashlib
import io
import time
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from sqlalchemy import delete, insert, select, text, update

from app.commands.audit import verdict_text
from app.db.engine import Database
from app.db.faults import DatabaseUnavailable
from app.db.rows import to_record
from app.domain.audit.chain import GENESIS, Seal, hash_of
from app.domain.audit.principal import COMMAND_LINE
from app.domain.audit.schemas import NewEntry
from app.domain.audit.tables import audit_entries, audit_head
from app.domain.keys.secrets import Derived
from app.domain.services import AdminServices
from app.domain.tenants.schemas import CreateTeam
from providers.types import Secret

MASTER = Secret("a master secret of at least 32 bytes")
ENTRIES = 6


@pytest.fixture
async def chain(plane, root: httpx.AsyncClient) -> None:
    """Six teams were made."""
    for number in range(ENTRIES):
        await root.post("/teams", json={"name": f"t{number}"})


async def rows(plane) -> list[dict[str, Any]]:
    async with plane.database.reading() as connection:
        found = await connection.execute(select(audit_entries).order_by(audit_entries.c.seq))
        return [dict(row) for row in found.mappings()]


async def tamper(plane, *statements: Any) -> Any:
    """Do what somebody who can write to the database would do, and return what is found broken."""
    async with plane.database.transaction() as connection:
        for statement in statements:
            await connection.execute(statement)
    return (await plane.services.auditor.verify()).broken


def rechained(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return entries with numbers and hashes that fit, as anybody can compute them."""
    previous, done = GENESIS, []
    for seq, entry in enumerate(entries, 1):
        values = {name: entry[name] for name in NewEntry.__struct_fields__}
        own = hash_of(seq, values, previous)
        done.append(values | {"seq": seq, "prev_hash": previous, "hash": own})
        previous = own
    return done


class TestTampering:
    async def test_an_untouched_chain_holds_and_is_sealed(self, plane, chain) -> None:
        seen: list[tuple[int, int]] = []
        verdict = await plane.services.auditor.verify(lambda done, total: seen.append((done, total)))
        assert (verdict.checked, verdict.seal, verdict.unsealed, verdict.broken) == (ENTRIES, "sealed", 0, None)
        assert seen[-1] == (ENTRIES, ENTRIES)

    async def test_an_empty_chain_holds(self, plane) -> None:
        verdict = await plane.services.auditor.verify()
        assert (verdict.checked, verdict.seal, verdict.broken) == (0, "unsealed", None)

    @pytest.mark.parametrize(
        ("column", "value"),
        [
            ("before", '{"name":"x"}'),
            ("after", None),
            ("action", "no such action"),
            ("principal_name", "somebody else"),
            ("object_kind", "unheard of"),
            ("object_id", uuid4()),
            ("organization_id", None),
            ("hash", bytes(32)),
        ],
    )
    async def test_a_changed_entry_is_named(self, plane, chain, column: str, value: object) -> None:
        broken = await tamper(plane, update(audit_entries).where(audit_entries.c.seq == 3).values({column: value}))
        assert (broken.seq, "changed" in broken.why) == (3, True)

    @pytest.mark.parametrize("column", ["at", "object_id"])
    async def test_an_entry_that_cannot_be_read_back_is_named(self, plane, chain, column: str) -> None:
        if not plane.database.is_sqlite:
            pytest.skip("PostgreSQL's columns hold only what they are for")
        broken = await tamper(plane, text(f"UPDATE audit_entries SET {column} = 'nonsense' WHERE seq = 4"))
        assert (broken.seq, "cannot be read" in broken.why) == (4, True)

    async def test_a_moved_moment_is_named(self, plane, chain) -> None:
        later = update(audit_entries).where(audit_entries.c.seq == 2).values(at=audit_entries.c.at)
        assert await tamper(plane, later) is None
        moment = (await rows(plane))[1]["at"] + timedelta(microseconds=1)
        broken = await tamper(plane, update(audit_entries).where(audit_entries.c.seq == 2).values(at=moment))
        assert broken.seq == 2

    @pytest.mark.parametrize("seq", [1, 3])
    async def test_a_removed_entry_is_named(self, plane, chain, seq: int) -> None:
        broken = await tamper(plane, delete(audit_entries).where(audit_entries.c.seq == seq))
        assert (broken.seq, "missing" in broken.why) == (seq, True)

    async def test_a_removed_entry_whose_number_is_used_again_is_named(self, plane, chain) -> None:
        moves = [update(audit_entries).where(audit_entries.c.seq == n).values(seq=n - 1) for n in range(4, ENTRIES + 1)]
        broken = await tamper(plane, delete(audit_entries).where(audit_entries.c.seq == 3), *moves)
        assert (broken.seq, "does not follow" in broken.why) == (3, True)

    async def test_a_cut_off_end_is_named(self, plane, chain) -> None:
        broken = await tamper(plane, delete(audit_entries).where(audit_entries.c.seq > 4))
        assert (broken.seq, "cut off" in broken.why) == (5, True)

    async def test_a_cut_off_end_stays_visible_after_the_next_change(self, plane, chain, root) -> None:
        await tamper(plane, delete(audit_entries).where(audit_entries.c.seq > 4))
        await root.post("/teams", json={"name": "after"})
        broken = (await plane.services.auditor.verify()).broken
        assert (broken.seq, "missing" in broken.why) == (5, True)

    async def test_everything_gone_is_named(self, plane, chain) -> None:
        assert (await tamper(plane, delete(audit_entries))).seq == 1

    async def test_an_entry_put_in_is_named(self, plane, chain) -> None:
        entries = await rows(plane)
        moves = [update(audit_entries).where(audit_entries.c.seq == n).values(seq=n + 1) for n in range(ENTRIES, 2, -1)]
        forged = rechained([*entries[:2], entries[0]])[2]
        broken = await tamper(plane, *moves, insert(audit_entries).values(forged))
        assert (broken.seq, "does not follow" in broken.why) == (4, True)

    async def test_an_entry_put_at_the_end_is_named(self, plane, chain) -> None:
        entries = await rows(plane)
        broken = await tamper(plane, insert(audit_entries).values(rechained([*entries, entries[0]])[-1]))
        assert (broken.seq, "not sealed" in broken.why) == (ENTRIES + 1, True)

    async def test_entries_in_another_order_are_named(self, plane, chain) -> None:
        swaps = [(3, 100), (4, 3), (100, 4)]
        moves = [update(audit_entries).where(audit_entries.c.seq == a).values(seq=b) for a, b in swaps]
        broken = await tamper(plane, *moves)
        assert (broken.seq, "does not follow" in broken.why) == (3, True)

    async def test_a_chain_that_was_computed_anew_is_found_by_its_seal(self, plane, chain) -> None:
        entries = await rows(plane)
        entries[1]["principal_name"] = "somebody else"
        anew = [
            update(audit_entries).where(audit_entries.c.seq == entry["seq"]).values(entry)
            for entry in rechained(entries)
        ]
        broken = await tamper(plane, *anew)
        assert (broken.seq, "computed anew" in broken.why) == (2, True)
        broken = await tamper(plane, update(audit_entries).values(seal=None))
        assert (broken.seq, "sealed" in broken.why) == (ENTRIES, True)

    async def test_a_seal_that_was_taken_away_is_named_also_after_the_next_change(self, plane, chain, root) -> None:
        broken = await tamper(plane, delete(audit_head))
        assert (broken.seq, "taken away" in broken.why) == (ENTRIES, True)
        await root.post("/teams", json={"name": "after"})
        broken = (await plane.services.auditor.verify()).broken
        assert (broken.seq, "begun anew" in broken.why) == (ENTRIES + 1, True)

    async def test_an_entry_put_at_the_end_stays_named(self, plane, chain, root) -> None:
        entries = await rows(plane)
        await tamper(plane, insert(audit_entries).values(rechained([*entries, entries[0]])[-1]))
        for name in ("after", "and after"):
            await root.post("/teams", json={"name": name})
            verdict = await plane.services.auditor.verify()
            assert (verdict.unsealed, verdict.ranges) == (1, [(ENTRIES + 1, ENTRIES + 1)])
            assert "no seal" in verdict_text(verdict)
            assert verdict_text(verdict).endswith(f": {ENTRIES + 1}")

    async def test_the_seal_of_another_entry_is_none(self, plane, chain, root) -> None:
        entries = await rows(plane)
        forged = rechained([*entries, entries[0]])[-1] | {"seal": entries[0]["seal"]}
        broken = await tamper(plane, insert(audit_entries).values(forged))
        assert (broken.seq, "the seal on it" in broken.why) == (ENTRIES + 1, True)

    async def test_a_forged_seal_is_named(self, plane, chain) -> None:
        entries = await rows(plane)
        forged = msgspec.structs.asdict(Seal(Derived(b"x" * 32)).head(4, entries[3]["hash"], unsealed=0))
        cut = delete(audit_entries).where(audit_entries.c.seq > 4)
        async with plane.database.reading() as connection:
            forged["kid"] = (await connection.execute(select(audit_head.c.kid))).scalar_one()
        broken = await tamper(plane, cut, update(audit_head).values(forged))
        assert (broken.seq, "forged" in broken.why) == (4, True)


class TestOfOlderReleases:
    """Entries written before there were seals, or beside a release that has them."""

    async def test_a_hash_is_what_it_always_was(self, plane, chain) -> None:
        row = (await rows(plane))[1]
        entry = to_record(row, NewEntry)
        canonical = msgspec.json.encode([row["seq"], entry], order="sorted")
        assert row["hash"] == hashlib.sha256(row["prev_hash"] + canonical).digest()

    async def test_the_first_change_seals_what_is_there(self, plane, chain, root) -> None:
        assert await tamper(plane, delete(audit_head), update(audit_entries).values(seal=None)) is None
        assert (await plane.services.auditor.verify()).seal == "unsealed"
        await root.post("/teams", json={"name": "sealed"})
        verdict = await plane.services.auditor.verify()
        assert (verdict.seal, verdict.unsealed, verdict.broken) == ("sealed", ENTRIES, None)
        assert verdict.ranges == [(1, ENTRIES)]

    async def test_entries_of_a_release_beside_are_taken_over_and_counted(self, plane, chain, root, caplog) -> None:
        entries = await rows(plane)
        await tamper(plane, insert(audit_entries).values(rechained([*entries, entries[0]])[-1]))
        await root.post("/teams", json={"name": "sealed"})
        verdict = await plane.services.auditor.verify()
        assert (verdict.checked, verdict.unsealed, verdict.broken) == (ENTRIES + 2, 1, None)
        assert f"audit entries {ENTRIES + 1} to {ENTRIES + 1} were written without a seal" in caplog.text

    async def test_a_seal_under_another_secret_is_said_and_no_break(self, plane, url, chain) -> None:
        database = Database(url)
        theirs = AdminServices.over(database, clock=plane.clock, master_secret=Secret("n" * 40))
        verdict = await theirs.auditor.verify()
        await database.aclose()
        assert (verdict.seal, verdict.broken) == ("foreign", None)


async def test_fifty_writers_of_five_processes_keep_one_chain(plane, url: str) -> None:
    opened = [Database(url, pool_size=10) for _ in range(5)]
    others = [AdminServices.over(each, clock=plane.clock, master_secret=MASTER) for each in opened]

    async def write(services: AdminServices, number: int) -> None:
        async with services.auditor.transaction(COMMAND_LINE, request_id=f"r{number}") as transaction:
            await services.teams.create(transaction, CreateTeam(name=f"t{number}"))

    async def write_in_the_end(services: AdminServices, number: int) -> None:
        """Write as a client would: on a busy machine the last in the queue are told to come again."""
        for _ in range(20):
            with contextlib.suppress(DatabaseUnavailable):
                return await write(services, number)
        raise AssertionError("the database never took it")

    try:
        await asyncio.gather(*(write_in_the_end(others[number % 5], number) for number in range(50)))
    finally:
        for each in opened:
            await each.aclose()
    verdict = await plane.services.auditor.verify()
    assert (verdict.checked, verdict.seal, verdict.broken) == (50, "sealed", None)
    assert {row["request_id"] for row in await rows(plane)} == {f"r{number}" for number in range(50)}


class TestFilters:
    async def test_by_actor_kind_object_action_and_time(self, plane, root: httpx.AsyncClient, world) -> None:
        key, admin = world.ours["keys"]["id"], world.callers["ours admin"]
        plane.clock.advance(60)
        moment = plane.clock.now().isoformat()
        await admin.patch(f"/keys/{key}", json={"name": "new"})
        plane.clock.advance(60)
        after = plane.clock.now().isoformat()
        await root.post("/teams", json={"name": "later"})

        async def seen(**params: str) -> list[tuple[str, str]]:
            items = (await root.get("/audit", params=params)).json()["items"]
            return [(item["action"], item["object_kind"]) for item in items]

        assert await seen(actor="ours admin") == [("update", "key"), ("sign_in", "session")]
        entry, _ = (await root.get("/audit", params={"actor": "ours admin"})).json()["items"]
        assert await seen(actor=entry["principal_id"]) == [("update", "key"), ("sign_in", "session")]
        assert await seen(**{"from": moment}) == [("create", "team"), ("update", "key")]
        assert await seen(**{"from": moment, "to": after}) == [("update", "key")]
        assert await seen(object_id=key, action="create") == [("create", "key")]
        assert set(await seen(object_kind="price")) <= {("create", "price"), ("delete", "price")}
        assert await seen(actor="nobody we know") == []

    @pytest.mark.parametrize(
        ("params", "field"),
        [
            ({"from": "yesterday"}, "from"),
            ({"to": "2026-13-01"}, "to"),
            ({"from": "2026-02-01", "to": "2026-01-01"}, "from"),
            ({"actor": "a\nb"}, "actor"),
            ({"action": "x"}, "action"),
            ({"object_kind": "x"}, "object_kind"),
        ],
    )
    @pytest.mark.parametrize("path", ["/audit", "/audit/export.csv"])
    async def test_what_cannot_be_meant_is_refused_by_name(self, root, path: str, params: dict, field: str) -> None:
        answer = await root.get(path, params=params)
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, field)

    async def test_pages_under_a_filter_have_no_gaps(self, root: httpx.AsyncClient, chain) -> None:
        await root.post("/organizations", json={"name": "o"})
        found, cursor = [], None
        while True:
            params = {"limit": "2", "object_kind": "team"} | ({"cursor": cursor} if cursor else {})
            page = (await root.get("/audit", params=params)).json()
            found += [item["seq"] for item in page["items"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert found == list(range(ENTRIES, 0, -1))


class TestExport:
    async def test_is_the_list_as_lines(self, root: httpx.AsyncClient, chain) -> None:
        await root.post("/teams", json={"name": '=HYPERLINK("x")'})
        answer = await root.get("/audit/export.csv")
        assert answer.headers["content-type"].startswith("text/csv")
        lines = list(csv.DictReader(io.StringIO(answer.text)))
        items = (await root.get("/audit", params={"limit": 200})).json()["items"]
        assert [line["seq"] for line in lines] == [str(item["seq"]) for item in items]
        assert [msgspec.json.decode(line["after"]) for line in lines] == [item["after"] for item in items]
        assert {line["hash"] for line in lines} == {item["hash"] for item in items}
        assert {line["before"] for line in lines} == {""}

    async def test_reads_on_to_the_end_and_only_what_may_be_seen(self, plane, world, monkeypatch) -> None:
        monkeypatch.setattr("app.domain.audit.transaction._EXPORTED_AT_ONCE", 2)
        for name in ("ours viewer", "installation viewer"):
            client = world.callers[name]
            lines = list(csv.DictReader(io.StringIO((await client.get("/audit/export.csv")).text)))
            items = (await client.get("/audit", params={"limit": 200})).json()["items"]
            assert [line["seq"] for line in lines] == [str(item["seq"]) for item in items]
            assert len(lines) > 2


@pytest.mark.long
async def test_a_hundred_thousand_entries_are_verified_within_five_seconds(plane, chain) -> None:
    (template, *_), previous, made = await rows(plane), GENESIS, []
    for seq in range(1, 100_001):
        values = {name: template[name] for name in NewEntry.__struct_fields__} | {"object_id": UUID(int=seq)}
        own = hash_of(seq, values, previous)
        made.append(values | {"seq": seq, "prev_hash": previous, "hash": own})
        previous = own
    await tamper(plane, delete(audit_entries), delete(audit_head))
    for start in range(0, len(made), 1_000):
        async with plane.database.transaction() as connection:
            await connection.execute(insert(audit_entries), made[start : start + 1_000])
    began_s = time.monotonic()
    verdict = await plane.services.auditor.verify()
    took_s = time.monotonic() - began_s
    assert (verdict.checked, verdict.broken) == (100_000, None)
    assert took_s <= 5, f"took {took_s:.1f} s"
