"""A new master secret ends no key, answer or session, whatever each process knows of it; and the audit still holds."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from sqlalchemy import select, update

from app.domain.answers.schemas import Claim as Claimed
from app.domain.answers.schemas import IdempotencyConflict, KeptAnswer, Slot, Standing
from app.domain.answers.service import SEALED_AS as INFERENCE_ANSWERS
from app.domain.answers.service import AnswerStore
from app.domain.audit.answers import Answer, Claim
from app.domain.audit.principal import COMMAND_LINE, ENVIRONMENT
from app.domain.audit.schemas import Change
from app.domain.audit.tables import audit_entries, audit_head
from app.domain.audit.transaction import AuditedTransaction
from app.domain.keys.directory import KeyDirectory
from app.domain.keys.repository import Standing as KeyStanding
from app.domain.keys.schemas import CreateKey
from app.domain.keys.sealing import Cipher
from app.domain.keys.secrets import MasterSecrets, parse_key
from app.domain.keys.tables import key_secrets
from app.domain.remaining import Sealed
from app.domain.responses.schemas import KeptResponse
from app.domain.responses.service import KEPT_FOR, ResponseStore
from app.domain.responses.service import SEALED_AS as RESPONSES
from app.domain.services import AdminServices, Host
from app.kernel.errors import Conflict, Unauthenticated
from providers.types import Secret

FIRST = Secret("a master secret of at least 32 bytes")
"""That of the plane under test."""

SECOND, THIRD = Secret("the second master secret, of 32 bytes"), Secret("the third master secret, of 32 bytes")
ORGANIZATION, KEY = UUID(int=1), UUID(int=2)
SLOT = Claimed(Slot(KEY, "/v1/chat/completions", "once"), ORGANIZATION, b"h" * 32, UUID(int=3))
KEPT = KeptAnswer(is_live=False, content_type=b"application/json", headers=(), body=b"the answer")
ANSWER = Answer(201, None, b"a secret, once")
ASKED: dict[str, Any] = {"key": "k", "request": b"r"}
RESPONSE = KeptResponse(id="resp_1", response={"output": []}, input=[{"type": "message"}])


class Process:
    """One process of the installation, by the secrets that it knows: the current one first."""

    def __init__(self, plane: Any, *secrets: Secret) -> None:
        self.secrets = MasterSecrets(*secrets)
        self.services = AdminServices.over(
            plane.database,
            clock=plane.clock,
            master_secret=self.secrets.current,
            old_master_secret=self.secrets.old,
            host=Host(settings=lambda: plane.settings),
        )
        self.directory = KeyDirectory(
            self.services.key_repository,
            changes=nothing_changed,
            peppers=self.secrets.peppers(),
            clock=plane.clock,
            renewals=self.services.renewals,
        )
        self.answers = AnswerStore(plane.database, cipher=self._cipher(INFERENCE_ANSWERS), clock=plane.clock)
        self.responses = ResponseStore(plane.database, cipher=self._cipher(RESPONSES), clock=plane.clock)

    def _cipher(self, purpose: str) -> Cipher:
        return Cipher(self.secrets.derive(purpose=purpose))

    async def admits(self, *keys: str) -> list[bool]:
        """Tell whether it lets keys in, of either kind, of which it has seen none before."""
        self.directory.forget_all()
        return [await self._admits(key.encode()) for key in keys]

    async def _admits(self, key: bytes) -> bool:
        parsed = parse_key(key)
        is_inference = parsed is not None and parsed.kind == "inference"
        judge = self.directory.authenticate if is_inference else self.services.authenticator
        try:
            await judge(key)
        except Unauthenticated:
            return False
        return True

    async def make_key(self) -> str:
        async with self.services.auditor.transaction(COMMAND_LINE, request_id="r") as transaction:
            return (await self.services.keys.create(transaction, CreateKey(name="k"))).secret

    async def administers(self, work: Callable[[AuditedTransaction], Any]) -> Any:
        async with self.services.auditor.transaction(COMMAND_LINE, request_id="r") as transaction:
            return await work(transaction)


async def nothing_changed(_seq: int) -> Sequence[Change]:
    return ()


@pytest.fixture
def start(plane) -> Callable[..., Process]:
    return lambda *secrets: Process(plane, *secrets)


@pytest.fixture
async def keys(root: httpx.AsyncClient) -> list[str]:
    """An inference key and an admin key, made under the first secret."""
    inference = (await root.post("/keys", json={"name": "k"})).json()
    admin = (await root.post("/admin-keys", json={"name": "a", "role": "admin"})).json()
    return [inference["secret"], admin["secret"]]


async def keep_answer(process: Process) -> None:
    """Answer an administrator's request with an Idempotency-Key."""

    async def keep(transaction: AuditedTransaction) -> None:
        claim = await process.services.answers.claim(transaction, **ASKED)
        assert isinstance(claim, Claim)
        await process.services.answers.keep(transaction, claim, ANSWER)

    await process.administers(keep)


async def hashes(plane, key: str) -> dict[str, Any]:
    parsed = parse_key(key.encode())
    assert parsed is not None
    async with plane.database.reading() as connection:
        found = await connection.execute(select(key_secrets).where(key_secrets.c.public_id == parsed.public_id))
        return dict(found.mappings().one())


async def test_a_key_that_was_used_under_both_secrets_outlives_the_old_one(plane, start, keys: list[str]) -> None:
    both, new = start(SECOND, FIRST), start(SECOND)
    assert await both.admits(*keys) == [True, True]
    assert await new.admits(*keys) == [False, False]  # what is noted is not yet written
    await both.services.renewals.flush()
    assert await new.admits(*keys) == [True, True]
    assert await both.admits(*keys) == [True, True]


async def test_a_key_that_nobody_has_used_since_ends_with_the_old_secret(start, keys: list[str]) -> None:
    both = start(SECOND, FIRST)
    await both.services.renewals.flush()
    assert await start(SECOND).admits(*keys) == [False, False]
    assert await both.admits(*keys) == [True, True]


async def test_processes_that_know_only_the_old_secret_accept_what_others_have_renewed(start, keys: list[str]) -> None:
    old, both = start(FIRST), start(SECOND, FIRST)
    await both.admits(*keys)
    await both.services.renewals.flush()
    assert await old.admits(*keys) == [True, True]
    made = await both.make_key()  # while others have not been restarted
    assert [await each.admits(made) for each in (old, both, start(SECOND))] == [[True]] * 3


async def test_processes_that_got_the_secrets_in_either_order_renew_nothing_to_and_fro(
    plane, start, keys: list[str]
) -> None:
    before, after = start(FIRST, SECOND), start(SECOND, FIRST)
    made = await before.make_key()
    for process in (before, after, before, after):
        assert await process.admits(*keys, made) == [True] * 3
        await process.services.renewals.flush()
    kids = {name: start(secret).secrets.peppers().current.kid for name, secret in (("1", FIRST), ("2", SECOND))}
    assert [(row["kid"], row["former_kid"]) for row in [await hashes(plane, key) for key in keys]] == (
        [(kids["2"], kids["1"])] * 2
    )
    assert await start(SECOND).admits(*keys, made) == [True] * 3
    assert await start(FIRST).admits(*keys, made) == [True] * 3


async def test_renewing_is_idempotent_and_many_may_do_it_at_once(plane, start, keys: list[str]) -> None:
    processes = [start(SECOND, FIRST) for _ in range(4)]
    for process in processes:
        await process.admits(*keys)
    await asyncio.gather(*(process.services.renewals.flush() for process in processes))
    renewed = [await hashes(plane, key) for key in keys]
    await processes[0].admits(*keys)
    await processes[0].services.renewals.flush()
    assert [await hashes(plane, key) for key in keys] == renewed


async def test_a_rotation_may_be_given_up_and_another_begun(start, keys: list[str]) -> None:
    both = start(SECOND, FIRST)
    await both.admits(*keys)
    await both.services.renewals.flush()
    assert await start(FIRST).admits(*keys) == [True, True]
    third = start(THIRD, FIRST)
    assert await third.admits(*keys) == [True, True]
    await third.services.renewals.flush()
    assert await start(THIRD).admits(*keys) == [True, True]
    assert await start(SECOND).admits(*keys) == [False, False]


@pytest.mark.parametrize("is_renewed", [False, True])
async def test_a_wrong_key_or_a_changed_hash_opens_nothing(plane, start, keys: list[str], is_renewed: bool) -> None:
    both = start(SECOND, FIRST)
    if is_renewed:
        await both.admits(*keys)
        await both.services.renewals.flush()
    others = [await both.make_key(), (await start(FIRST).make_key())]
    for key in keys:
        parsed = parse_key(key.encode())
        assert parsed is not None
        stolen = await hashes(plane, others[0])
        changed = {name: stolen[name] for name in ("mac", "kid", "former_mac", "former_kid")}
        async with plane.database.transaction() as connection:
            mine = key_secrets.c.public_id == parsed.public_id
            await connection.execute(update(key_secrets).where(mine).values(changed))
    for process in (both, start(FIRST), start(SECOND)):
        assert await process.admits(*keys) == [False, False]
    await both.services.renewals.flush()
    assert await start(SECOND).admits(*keys) == [False, False]


async def test_a_hash_that_names_an_unknown_pepper_opens_nothing(plane, start, keys: list[str]) -> None:
    async with plane.database.transaction() as connection:
        await connection.execute(update(key_secrets).values(kid="0" * 16))
    assert await start(SECOND, FIRST).admits(*keys) == [False, False]


async def test_a_key_that_was_rotated_or_revoked_meanwhile_is_not_revived(plane, start, root, keys: list[str]) -> None:
    both = start(SECOND, FIRST)
    await both.admits(*keys)
    listed = (await root.get("/keys")).json()["items"]
    await root.post(f"/keys/{listed[0]['id']}/rotate", json={"grace_s": 0})
    admin = (await root.get("/admin-keys")).json()["items"][0]
    await root.post(f"/admin-keys/{admin['id']}/revoke")
    await both.services.renewals.flush()
    assert await both.admits(*keys) == [False, False]
    assert await start(SECOND).admits(*keys) == [False, False]


async def test_what_is_left_is_counted(plane, start, root, keys: list[str]) -> None:
    both = start(SECOND, FIRST)
    unused = (await root.post("/keys", json={"name": "unused"})).json()
    for name, ends in (("revoked", None), ("expired", plane.clock.now() + timedelta(seconds=5))):
        spec = {"name": name} if ends is None else {"name": name, "expires_at": ends.isoformat()}
        made = (await root.post("/keys", json=spec)).json()
        if ends is None:
            await root.post(f"/keys/{made['id']}/revoke")
    plane.clock.advance(6)
    await both.admits(*keys)
    await both.services.renewals.flush()
    await both.make_key()
    first = start(FIRST)
    await first.responses.keep(RESPONSE, organization_id=ORGANIZATION)
    await keep_answer(first)
    await both.responses.keep(msgspec.structs.replace(RESPONSE, id="resp_2"), organization_id=ORGANIZATION)
    remains = await both.services.remaining.count()
    assert remains.keys == KeyStanding(3, 1, (("unused", unused["public_id"]),))
    assert remains.admin_keys == KeyStanding(1, 0, ())
    assert remains.responses == Sealed(1, plane.clock.now() + KEPT_FOR)
    assert remains.answers == Sealed(1, plane.clock.now() + timedelta(hours=24))
    assert not remains.is_nothing
    assert (await first.services.remaining.count()).keys.left == 0
    await both.admits(unused["secret"])
    await both.services.renewals.flush()
    plane.clock.advance(KEPT_FOR.total_seconds() + 1)
    assert (await both.services.remaining.count()).is_nothing


async def test_what_was_kept_opens_under_the_old_secret_and_is_sealed_under_the_new_one(start) -> None:
    first, both, new = start(FIRST), start(SECOND, FIRST), start(SECOND)
    await first.responses.keep(RESPONSE, organization_id=ORGANIZATION)
    later = msgspec.structs.replace(RESPONSE, id="resp_2", previous_id="resp_1")
    await both.responses.keep(later, organization_id=ORGANIZATION)
    assert await both.responses.conversation("resp_2", organization_id=ORGANIZATION) == [RESPONSE, later]
    assert await new.responses.find("resp_2", organization_id=ORGANIZATION) == later
    assert await new.responses.find("resp_1", organization_id=ORGANIZATION) is None
    assert await both.responses.find("resp_1", organization_id=UUID(int=9)) is None

    assert await first.answers.claim(SLOT) is Standing.OURS
    await first.answers.keep(SLOT, KEPT)
    assert await both.answers.claim(SLOT) == KEPT
    with pytest.raises(IdempotencyConflict):
        await new.answers.claim(SLOT)


async def test_an_answer_to_an_administrator_opens_under_the_old_secret(start) -> None:
    first, both, new = start(FIRST), start(SECOND, FIRST), start(SECOND)
    await keep_answer(first)
    assert await both.administers(lambda transaction: both.services.answers.claim(transaction, **ASKED)) == ANSWER
    with pytest.raises(Conflict):
        await new.administers(lambda transaction: new.services.answers.claim(transaction, **ASKED))


async def test_sessions_go_on_while_the_old_secret_is_known(plane, start, keys: list[str]) -> None:
    first, both = start(FIRST), start(SECOND, FIRST)
    environment = plane.settings.admin_key.reveal()
    for key, name in ((keys[1], "a"), (environment, ENVIRONMENT.name)):
        made = await first.services.sessions.sign_in_by_key(key.encode(), request_id="r")
        found = await both.services.sessions.find(made.token)
        assert (found.principal.name, found.csrf_token) == (name, made.opened.csrf_token)
        with pytest.raises(Unauthenticated):
            await start(SECOND).services.sessions.find(made.token)
        anew = await both.services.sessions.sign_in_by_key(key.encode(), request_id="r")
        await both.services.renewals.flush()
        assert (await start(SECOND).services.sessions.find(anew.token)).principal.name == name


async def test_the_audit_is_verified_across_a_rotation(plane, start, root) -> None:
    await root.post("/teams", json={"name": "before"})
    both, new = start(SECOND, FIRST), start(SECOND)
    assert (await new.services.auditor.verify()).seal == "foreign"
    assert (await both.services.auditor.verify()).seal == "sealed"
    await both.services.auditor.reseal()
    assert (await new.services.auditor.verify()).seal == "sealed"
    await both.make_key()
    for process in (both, new):
        verdict = await process.services.auditor.verify()
        assert (verdict.checked, verdict.seal, verdict.unsealed, verdict.broken) == (2, "sealed", 0, None)


async def test_a_seal_of_the_old_secret_is_judged_and_a_forged_one_stays(plane, start, root) -> None:
    for name in ("one", "two"):
        await root.post("/teams", json={"name": name})
    both = start(SECOND, FIRST)
    async with plane.database.transaction() as connection:
        await connection.execute(update(audit_head).values(seal=b"f" * 32))
    await both.services.auditor.reseal()
    broken = (await both.services.auditor.verify()).broken
    assert broken is not None
    assert (broken.seq, "forged" in broken.why) == (2, True)
    async with plane.database.transaction() as connection:
        mark = (await connection.execute(select(audit_entries.c.seal).order_by(audit_entries.c.seq))).scalars().first()
        assert mark is not None
        first = audit_entries.c.seq == 1
        await connection.execute(update(audit_entries).where(first).values(seal=mark[:8] + b"f" * 32))
    broken = (await both.services.auditor.verify()).broken
    assert broken is not None
    assert broken.seq == 1
