"""Writes: idempotency, If-Match, audit, the change feed, all in one transaction."""

import asyncio
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from sqlalchemy import select, text, update

from app.db.engine import Database
from app.domain.audit import repository
from app.domain.audit.answers import Answers
from app.domain.audit.principal import COMMAND_LINE
from app.domain.audit.schemas import AuditQuery
from app.domain.audit.tables import audit_entries, change_log, idempotency_keys
from app.domain.keys.schemas import CreateKey
from app.domain.keys.service import KeyService
from app.domain.services import AdminServices
from app.domain.tenants.schemas import CreateTeam
from providers.types import Secret

KEY = {"idempotency-key": "one"}


async def count_keys(root: httpx.AsyncClient) -> int:
    return len((await root.get("/keys")).json()["items"])


class TestIdempotency:
    async def test_a_repeated_request_has_one_effect_and_one_answer(self, root: httpx.AsyncClient) -> None:
        first = await root.post("/keys", json={"name": "k"}, headers=KEY)
        second = await root.post("/keys", json={"name": "k"}, headers=KEY)
        assert (first.status_code, second.status_code) == (201, 201)
        assert second.content == first.content
        assert second.headers["etag"] == first.headers["etag"]
        assert second.headers["idempotent-replayed"] == "true"
        assert "idempotent-replayed" not in first.headers
        assert await count_keys(root) == 1

    async def test_concurrent_duplicates_have_one_effect(self, root: httpx.AsyncClient) -> None:
        posts = [root.post("/keys", json={"name": "k"}, headers=KEY) for _ in range(4)]
        answers = await asyncio.gather(*posts)
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert await count_keys(root) == 1

    async def test_another_request_under_the_same_key_conflicts(self, root: httpx.AsyncClient) -> None:
        made = (await root.post("/keys", json={"name": "k"}, headers=KEY)).json()
        others = [
            await root.post("/keys", json={"name": "other"}, headers=KEY),
            await root.post("/teams", json={"name": "k"}, headers=KEY),
            await root.patch(f"/keys/{made['id']}", json={"name": "k"}, headers=KEY),
        ]
        for answer in others:
            assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_conflict")
            assert answer.headers["x-should-retry"] == "false"
        assert await count_keys(root) == 1

    async def test_a_refused_request_leaves_the_key_free(self, root: httpx.AsyncClient) -> None:
        refused = await root.post("/keys", json={"name": "k", "team_id": str(uuid4())}, headers=KEY)
        assert refused.status_code == 400
        assert (await root.post("/keys", json={"name": "k"}, headers=KEY)).status_code == 201

    async def test_a_failure_after_the_effect_leaves_nothing(self, root: httpx.AsyncClient, monkeypatch) -> None:
        async def fail(*_arguments: object) -> None:
            raise LookupError("killed between")

        with monkeypatch.context() as patch:
            patch.setattr(Answers, "keep", fail)
            broken = await root.post("/keys", json={"name": "k"}, headers=KEY)
        assert (broken.status_code, broken.json()["code"]) == (500, "internal_error")
        assert "killed" not in broken.text
        assert await count_keys(root) == 0
        assert (await root.get("/audit")).json()["items"] == []
        assert (await root.post("/keys", json={"name": "k"}, headers=KEY)).status_code == 201
        assert await count_keys(root) == 1

    async def test_a_key_is_the_callers_own_and_lasts_a_day(self, plane, root: httpx.AsyncClient, world) -> None:
        first = await root.post("/teams", json={"name": "k"}, headers=KEY)
        other = await world.callers["installation admin"].post("/teams", json={"name": "k"}, headers=KEY)
        assert other.json()["id"] != first.json()["id"]
        plane.clock.advance(86_399)
        assert (await root.post("/teams", json={"name": "k"}, headers=KEY)).json() == first.json()
        plane.clock.advance(2)
        assert (await root.post("/teams", json={"name": "k"}, headers=KEY)).json()["id"] != first.json()["id"]

    async def test_the_kept_answer_is_sealed(self, plane, root: httpx.AsyncClient) -> None:
        secret = (await root.post("/keys", json={"name": "k"}, headers=KEY)).json()["secret"]
        async with plane.database.reading() as connection:
            row = (await connection.execute(select(idempotency_keys))).mappings().one()
        assert secret.encode() not in row["answer"]
        assert b"k" * 0 + secret.split("-")[2].encode() not in row["answer"]
        async with plane.database.transaction() as connection:
            await connection.execute(update(idempotency_keys).values(answer=row["answer"][:-1] + b"\x00\x01"))
        assert (await root.post("/keys", json={"name": "k"}, headers=KEY)).status_code == 409

    async def test_deletes_are_replayed_too(self, root: httpx.AsyncClient) -> None:
        team = (await root.post("/teams", json={"name": "t"})).json()
        answers = [await root.delete(f"/teams/{team['id']}", headers=KEY) for _ in range(2)]
        assert [(answer.status_code, answer.content) for answer in answers] == [(204, b""), (204, b"")]
        assert (await root.delete(f"/teams/{team['id']}")).status_code == 404

    @pytest.mark.parametrize("url", ["sqlite"], indirect=True)
    @pytest.mark.parametrize("key", ["", "a" * 256, "\x01", "é".encode()])
    async def test_an_odd_key_is_refused(self, root: httpx.AsyncClient, key: str | bytes) -> None:
        answer = await root.post("/keys", json={"name": "k"}, headers={"idempotency-key": key})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "Idempotency-Key")

    async def test_two_keys_are_refused(self, root: httpx.AsyncClient) -> None:
        twice = [("idempotency-key", "a"), ("idempotency-key", "b")]
        assert (await root.post("/keys", json={"name": "k"}, headers=twice)).status_code == 400


class TestIfMatch:
    async def test_a_stale_etag_is_refused(self, root: httpx.AsyncClient) -> None:
        made = await root.post("/teams", json={"name": "t"})
        path, etag = f"/teams/{made.json()['id']}", made.headers["etag"]
        changed = await root.patch(path, json={"name": "u"}, headers={"if-match": etag})
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
        stale = await root.patch(path, json={"name": "v"}, headers={"if-match": etag})
        assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
        assert (await root.delete(path, headers={"if-match": etag})).status_code == 412
        assert (await root.get(path)).headers["etag"] == '"2"'
        assert (await root.delete(path, headers={"if-match": f'{etag}, "2"'})).status_code == 204

    @pytest.mark.parametrize("url", ["sqlite"], indirect=True)
    @pytest.mark.parametrize(("tag", "status"), [("*", 200), ('W/"1"', 412), ("1", 412), ('"x"', 412), ('"²"', 412)])
    async def test_only_our_own_tags_match(self, root: httpx.AsyncClient, tag: str, status: int) -> None:
        made = (await root.post("/teams", json={"name": "t"})).json()
        headers = {"if-match": tag.encode()}
        answer = await root.patch(f"/teams/{made['id']}", json={"name": "u"}, headers=headers)
        assert answer.status_code == status

    async def test_keys_honour_it_too(self, root: httpx.AsyncClient) -> None:
        made = (await root.post("/keys", json={"name": "k"})).json()
        for path, body in ((f"/keys/{made['id']}/revoke", None), (f"/keys/{made['id']}/rotate", {})):
            assert (await root.post(path, json=body, headers={"if-match": '"9"'})).status_code == 412


class TestAudit:
    async def test_says_who_changed_what_from_what_to_what(self, plane, root: httpx.AsyncClient, world) -> None:
        caller = world.callers["ours admin"]
        key = world.ours["keys"]["id"]
        await caller.patch(f"/keys/{key}", json={"name": "new", "budget": {"amount": "1"}})
        entry = (await root.get("/audit", params={"object_id": key, "action": "update"})).json()["items"][0]
        assert entry["before"] == {"name": "ours", "budget": None}
        assert entry["after"]["name"] == "new"
        assert entry["after"]["budget"]["amount"] == "1"
        assert (entry["principal_kind"], entry["principal_name"]) == ("admin_key", "ours admin")
        assert (entry["object_kind"], entry["organization_id"]) == ("key", world.ours["organizations"]["id"])
        assert UUID(entry["request_id"]).version == 7
        assert (await plane.services.auditor.verify()).broken is None

    async def test_creation_and_deletion_keep_the_whole(self, root: httpx.AsyncClient) -> None:
        team = (await root.post("/teams", json={"name": "t"})).json()
        await root.delete(f"/teams/{team['id']}")
        deletion, creation = (await root.get("/audit", params={"object_kind": "team"})).json()["items"]
        assert (creation["before"], creation["after"]) == (None, team)
        assert (deletion["before"], deletion["after"]) == (team, None)

    async def test_what_changes_nothing_leaves_no_entry(self, root: httpx.AsyncClient) -> None:
        team = (await root.post("/teams", json={"name": "t"})).json()
        await root.patch(f"/teams/{team['id']}", json={"name": "t"})
        assert len((await root.get("/audit")).json()["items"]) == 1

    async def test_pages_follow_one_another(self, root: httpx.AsyncClient) -> None:
        for number in range(5):
            await root.post("/teams", json={"name": f"t{number}"})
        first = (await root.get("/audit", params={"limit": 3})).json()
        second = (await root.get("/audit", params={"limit": 3, "cursor": first["cursor"]})).json()
        assert [entry["seq"] for entry in first["items"] + second["items"]] == [5, 4, 3, 2, 1]
        assert second["cursor"] is None

    @pytest.mark.parametrize("column", ["after", "principal_id", "request_id", "prev_hash"])
    async def test_tampering_breaks_the_chain(self, plane, root: httpx.AsyncClient, column: str) -> None:
        for number in range(4):
            await root.post("/teams", json={"name": f"t{number}"})
        assert (await plane.services.auditor.verify()).broken is None
        value = bytes(32) if column == "prev_hash" else '{"forged":1}'
        async with plane.database.transaction() as connection:
            await connection.execute(update(audit_entries).where(audit_entries.c.seq == 2).values({column: value}))
        assert (await plane.services.auditor.verify()).broken.seq == 2

    async def test_a_removed_entry_breaks_the_chain(self, plane, root: httpx.AsyncClient) -> None:
        for number in range(3):
            await root.post("/teams", json={"name": f"t{number}"})
        async with plane.database.transaction() as connection:
            await connection.execute(audit_entries.delete().where(audit_entries.c.seq == 2))
        assert (await plane.services.auditor.verify()).broken.seq == 2

    async def test_concurrent_writes_make_one_chain(self, plane, root: httpx.AsyncClient) -> None:
        posts = [root.post("/teams", json={"name": f"t{number}"}) for number in range(5)]
        assert {answer.status_code for answer in await asyncio.gather(*posts)} == {201}
        entries = (await root.get("/audit")).json()["items"]
        assert [entry["seq"] for entry in entries] == [5, 4, 3, 2, 1]
        assert (await plane.services.auditor.verify()).broken is None

    async def test_writers_of_two_processes_make_one_chain(self, plane, url: str, root: httpx.AsyncClient) -> None:
        other = Database(url)
        theirs = AdminServices.over(other, clock=plane.clock, master_secret=Secret("m" * 32))

        async def write(services: AdminServices, name: str) -> None:
            async with services.auditor.transaction(COMMAND_LINE, request_id="r") as transaction:
                await services.teams.create(transaction, CreateTeam(name=name))

        async def post(name: str) -> None:
            # Whoever waits for the other writer for more than two seconds, as on a slow disk, is to come again.
            while (answer := await root.post("/teams", json={"name": name})).status_code == 503:
                pass
            assert answer.status_code == 201

        for number in range(4):
            await asyncio.gather(write(theirs, f"t{number}"), post(f"u{number}"))
        await other.aclose()
        assert [entry["seq"] for entry in (await root.get("/audit")).json()["items"]] == list(range(8, 0, -1))
        assert (await plane.services.auditor.verify()).broken is None
        assert [change.seq for change in await plane.services.auditor.changes_since(0)] == list(range(1, 9))

    async def test_a_failed_audit_undoes_the_write(self, root: httpx.AsyncClient, monkeypatch) -> None:
        async def fail(*_arguments: object) -> None:
            raise LookupError

        with monkeypatch.context() as patch:
            patch.setattr(repository, "append_entry", fail)
            assert (await root.post("/keys", json={"name": "k"})).status_code == 500
        assert await count_keys(root) == 0


class TestChangeFeed:
    async def test_every_write_is_in_the_feed_and_signalled(self, plane, root: httpx.AsyncClient) -> None:
        team = (await root.post("/teams", json={"name": "t"})).json()
        key = (await root.post("/keys", json={"name": "k", "team_id": team["id"]})).json()
        await root.post(f"/keys/{key['id']}/revoke")
        expected = [("team", UUID(team["id"])), ("key", UUID(key["id"])), ("key", UUID(key["id"]))]
        assert plane.told == expected
        changes = await plane.services.auditor.changes_since(0)
        assert [(change.kind, change.object_id) for change in changes] == expected
        last = changes[-1].seq
        assert len(await plane.services.auditor.changes_since(last)) == 3
        plane.clock.advance(31)
        assert await plane.services.auditor.changes_since(last) == []
        assert len(await plane.services.auditor.changes_since(last - 1)) == 1

    async def test_a_refused_write_is_not_signalled(self, plane, root: httpx.AsyncClient) -> None:
        await root.post("/keys", json={"name": "k", "team_id": str(uuid4())})
        assert plane.told == []
        assert await plane.services.auditor.changes_since(0) == []

    async def test_a_broken_signal_does_not_fail_the_write(self, plane, root: httpx.AsyncClient, monkeypatch) -> None:
        async def broken(*_arguments: object) -> None:
            raise OSError

        monkeypatch.setattr(plane.services.auditor, "_notify", broken)
        assert (await root.post("/keys", json={"name": "k"})).status_code == 201
        assert len(await plane.services.auditor.changes_since(0)) == 1

    async def test_old_changes_are_forgotten(self, plane, root: httpx.AsyncClient) -> None:
        await root.post("/teams", json={"name": "t"})
        plane.clock.advance(86_401)
        await root.post("/teams", json={"name": "u"})
        async with plane.database.reading() as connection:
            assert (await connection.execute(select(change_log.c.seq))).scalars().all() == [2]


async def test_the_command_line_uses_the_same_services(plane) -> None:
    keys: KeyService = plane.services.keys
    async with plane.services.auditor.transaction(COMMAND_LINE, request_id="cli") as transaction:
        made = await keys.create(transaction, CreateKey(name="from the shell"))
    assert (await keys.find(COMMAND_LINE, made.id)).name == "from the shell"
    async with plane.services.auditor.transaction(COMMAND_LINE, request_id="cli") as transaction:
        assert (await keys.revoke(transaction, made.id)).status == "revoked"
    page = await keys.page(COMMAND_LINE, limit=50, cursor=None)
    assert [key.id for key in page.items] == [made.id]
    entries = await plane.services.auditor.entries(COMMAND_LINE, AuditQuery(), limit=9, cursor=None)
    assert {entry.principal_kind for entry in entries.items} == {"command_line"}
    assert msgspec.json.encode(page)


async def test_no_table_holds_a_secret(plane, root: httpx.AsyncClient) -> None:
    secrets = [
        (await root.post("/keys", json={"name": "k"}, headers=KEY)).json()["secret"],
        (await root.post("/admin-keys", json={"name": "k", "role": "owner"})).json()["secret"],
    ]
    tables = ("api_keys", "admin_keys", "key_secrets", "audit_entries", "change_log", "idempotency_keys")
    async with plane.database.reading() as connection:
        dump = [str((await connection.execute(text(f"SELECT * FROM {name}"))).all()) for name in tables]
    for secret in secrets:
        assert secret[-49:-6] not in "".join(dump)
