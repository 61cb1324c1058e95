import asyncio
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from app.domain.keys import directory as module
from app.domain.keys import secrets
from app.domain.keys.directory import KeyDirectory
from app.domain.keys.schemas import KeyRecord
from app.domain.keys.secrets import Peppers, derive_pepper, key_mac, make_key
from app.kernel.clock import ManualClock
from app.kernel.errors import Forbidden, Unauthenticated, Unavailable
from providers.types import Secret

PEPPER = derive_pepper(Secret("m" * 32))
OLD_PEPPER = derive_pepper(Secret("o" * 32))


@dataclass
class Change:
    seq: int
    object_id: UUID
    kind: str = "key"


class FakeSource:
    """A database of keys that counts its queries, can be down, and can be held up."""

    def __init__(self, clock):
        self.clock = clock
        self.records = {}
        self.changes = []
        self.queries = 0
        self.is_down = False
        self.gate = None
        self.directory = KeyDirectory(self, changes=self.changes_since, peppers=Peppers(PEPPER), clock=clock)

    async def find_by_id(self, key_id):
        return await self.find_by_public_id(next(name for name, key in self.records.items() if key.key_id == key_id))

    async def find_by_public_id(self, public_id):
        self.queries += 1
        found = self.records.get(public_id)
        if self.gate is not None:
            await self.gate.wait()
        if self.is_down:
            raise Unavailable
        return found

    async def changes_since(self, seq):
        del seq
        if self.is_down:
            raise Unavailable
        return list(self.changes)

    def add(self, *, kind="inference", **fields):
        made = make_key(kind)
        token = made.text.reveal().encode()
        defaults = dict.fromkeys(KeyRecord.__struct_fields__) | {
            "key_id": uuid4(),
            "public_id": made.public_id,
            "name": "k",
            "organization_id": uuid4(),
            "status": "active",
            "may_route": False,
            "tags": {},
            "scopes": ["inference"],
            "version": 1,
            "secret_mac": key_mac(PEPPER.key, token),
            "secret_kid": PEPPER.kid,
            "organization_status": "active",
        }
        self.records[made.public_id] = record = KeyRecord(**(defaults | fields))
        return token, record

    def change(self, record, **fields):
        self.records[record.public_id] = msgspec.structs.replace(record, **fields)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def source(clock):
    return FakeSource(clock)


def minutes(count):
    return timedelta(minutes=count)


async def test_a_warm_key_costs_no_query(source):
    token, record = source.add(tags={"a": "b"}, may_route=True)
    first = await source.directory.authenticate(token)
    assert first is await source.directory.authenticate(token)
    assert source.queries == 1
    assert (first.key_id, first.organization_id, first.tags, first.may_route) == (
        record.key_id, record.organization_id, {"a": "b"}, True,
    )  # fmt: skip


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"' OR 1=1--",
        b"\xff\xfe",
        b"sk-gw-",
        b"sk-gw-abc",
        b"Bearer x",
        b"sk-gw-0123456789-" + b"a" * 49,
        b"x" * 10_000,
    ],
)
async def test_what_is_no_key_is_refused_without_a_query(source, token):
    with pytest.raises(Unauthenticated):
        await source.directory.authenticate(token)
    assert source.queries == 0


async def test_an_admin_key_is_not_for_inference(source):
    token, _ = source.add(kind="admin")
    with pytest.raises(Forbidden) as caught:
        await source.directory.authenticate(token)
    assert caught.value.code == "wrong_credential_type"
    assert source.queries == 0


@pytest.mark.parametrize("form", ["any", "inference", "admin"])
async def test_the_environment_s_admin_key_is_not_for_inference_whatever_its_form(source, form):
    text = "a key that an operator made up: é, 32 characters" if form == "any" else make_key(form).text.reveal()
    token = text.encode()
    directory = KeyDirectory(
        source,
        changes=source.changes_since,
        peppers=Peppers(PEPPER),
        clock=source.clock,
        admin_mac=key_mac(PEPPER.key, token),
    )
    with pytest.raises(Forbidden) as caught:
        await directory.authenticate(token)
    assert caught.value.code == "wrong_credential_type"
    for other in (token + b"x", token[:-1], b""):
        with pytest.raises(Unauthenticated):
            await directory.authenticate(other)


async def test_a_stored_hash_is_no_key(source):
    _, record = source.add()
    for text in (record.secret_mac, record.secret_mac.hex().encode()):
        with pytest.raises(Unauthenticated):
            await source.directory.authenticate(text)


async def test_another_secret_under_a_known_id_is_refused_as_an_unknown_key_is(source):
    token, record = source.add()
    source.change(record, secret_mac=b"\x01" * 32)
    with pytest.raises(Unauthenticated) as wrong:
        await source.directory.authenticate(token)
    stranger = make_key("inference").text.reveal().encode()
    with pytest.raises(Unauthenticated) as unknown:
        await source.directory.authenticate(stranger)
    assert (wrong.value.message, wrong.value.code) == (unknown.value.message, unknown.value.code)


class Noted:
    """Hears which keys were right, and by which hash."""

    def __init__(self):
        self.keys = []

    def note(self, public_id, token, *, stored):
        self.keys.append((public_id, token, stored.secret_kid))


def rotating(source):
    """A directory that knows the pepper before, and who hears of the keys that it lets in."""
    noted = Noted()
    peppers = Peppers(PEPPER, OLD_PEPPER)
    made = KeyDirectory(source, changes=source.changes_since, peppers=peppers, clock=source.clock, renewals=noted)
    return made, noted


def add_old(source):
    token, record = source.add()
    source.change(record, secret_mac=key_mac(OLD_PEPPER.key, token), secret_kid=OLD_PEPPER.kid)
    return token, source.records[record.public_id]


async def test_a_key_of_the_pepper_before_is_let_in_and_told_of_once(source):
    token, record = add_old(source)
    directory, noted = rotating(source)
    assert await directory.authenticate(token) is await directory.authenticate(token)
    assert (source.queries, noted.keys) == (1, [(record.public_id, token, OLD_PEPPER.kid)])


async def test_a_warm_key_is_not_hashed_again_and_a_cold_one_once_whatever_its_pepper(source, monkeypatch):
    hashed = []

    def count(pepper, token):
        hashed.append(pepper)
        return key_mac(pepper, token)

    monkeypatch.setattr(secrets, "key_mac", count)
    directory, _ = rotating(source)
    for add, pepper in ((add_old, OLD_PEPPER), (FakeSource.add, PEPPER)):
        hashed.clear()
        token, _ = add(source)
        for _ in range(3):
            await directory.authenticate(token)
        assert hashed == [pepper.key]
    hashed.clear()
    with pytest.raises(Unauthenticated):
        await directory.authenticate(make_key("inference").text.reveal().encode())
    assert hashed == [PEPPER.key]


async def test_a_wrong_key_is_refused_under_either_pepper_and_nobody_hears_of_it(source):
    directory, noted = rotating(source)
    for add in (add_old, FakeSource.add):
        token, record = add(source)
        source.change(record, secret_mac=bytes([record.secret_mac[0] ^ 1]) + record.secret_mac[1:])
        with pytest.raises(Unauthenticated):
            await directory.authenticate(token)
    assert noted.keys == []


async def test_the_pepper_before_is_unknown_to_those_who_were_not_told(source):
    token, record = add_old(source)
    with pytest.raises(Unauthenticated):
        await source.directory.authenticate(token)
    source.change(record, former_mac=key_mac(PEPPER.key, token), former_kid=PEPPER.kid)
    source.directory.forget_all()
    assert (await source.directory.authenticate(token)).key_id == record.key_id


async def test_a_suspended_key_of_the_pepper_before_is_not_renewed(source):
    token, record = add_old(source)
    source.change(record, status="suspended")
    directory, noted = rotating(source)
    with pytest.raises(Forbidden):
        await directory.authenticate(token)
    assert noted.keys == []


async def test_both_secrets_of_a_rotated_key_work_until_the_old_one_ends(source, clock):
    new, record = source.add()
    old, _ = source.add(
        key_id=record.key_id, organization_id=record.organization_id, secret_expires_at=clock.now() + minutes(4)
    )
    assert await source.directory.authenticate(new) == await source.directory.authenticate(old)
    clock.advance(241)
    with pytest.raises(Unauthenticated) as caught:
        await source.directory.authenticate(old)
    assert caught.value.code == "key_expired"
    assert (await source.directory.authenticate(new)).key_id == record.key_id


async def test_an_old_secret_stands_for_its_key_by_public_id(source, clock):
    _, record = source.add(secret_expires_at=clock.now() - minutes(1))
    assert (await source.directory.principal(record.public_id)).key_id == record.key_id
    with pytest.raises(Unauthenticated):
        await source.directory.principal("nobody0000")


async def test_a_key_is_also_found_by_its_own_id_which_rotation_keeps(source):
    _, record = source.add()
    for _ in range(2):
        assert (await source.directory.principal(str(record.key_id))).key_id == record.key_id
    source.directory.forget(record.key_id)
    assert (await source.directory.principal(str(record.key_id))).key_id == record.key_id


async def test_a_key_expires_although_it_is_warm(source, clock):
    token, _ = source.add(expires_at=clock.now() + minutes(1))
    await source.directory.authenticate(token)
    clock.advance(60)
    for _ in range(2):
        with pytest.raises(Unauthenticated) as caught:
            await source.directory.authenticate(token)
        assert caught.value.code == "key_expired"


@pytest.mark.parametrize(
    ("fields", "kind", "code"),
    [
        ({"status": "revoked"}, Unauthenticated, "invalid_api_key"),
        ({"status": "suspended"}, Forbidden, "suspended"),
        ({"team_status": "suspended"}, Forbidden, "suspended"),
        ({"organization_status": "suspended"}, Forbidden, "suspended"),
    ],
)
@pytest.mark.parametrize("whose", ["key_id", "team_id", "organization_id"])
async def test_a_change_holds_from_the_moment_it_is_told(source, fields, kind, code, whose):
    token, record = source.add(team_id=uuid4(), team_status="active")
    await source.directory.authenticate(token)
    source.change(record, **fields)
    assert await source.directory.authenticate(token)
    source.directory.forget(getattr(record, whose))
    for _ in range(2):
        with pytest.raises(kind) as caught:
            await source.directory.authenticate(token)
        assert caught.value.code == code


async def test_a_change_of_something_else_drops_nothing(source):
    token, _ = source.add()
    await source.directory.authenticate(token)
    source.directory.forget(uuid4())
    await source.directory.authenticate(token)
    assert source.queries == 1


async def test_an_unknown_key_is_remembered_for_a_moment(source, clock):
    made = make_key("inference")
    token = made.text.reveal().encode()
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await source.directory.authenticate(token)
    assert source.queries == 1
    clock.advance(5)
    _, record = source.add()
    source.records[made.public_id] = msgspec.structs.replace(
        record, public_id=made.public_id, secret_mac=key_mac(PEPPER.key, token)
    )
    assert (await source.directory.authenticate(token)).key_id == record.key_id
    assert source.queries == 2


async def test_many_who_ask_at_once_make_one_query(source):
    token, _ = source.add()
    source.gate = asyncio.Event()
    asking = [asyncio.create_task(source.directory.authenticate(token)) for _ in range(50)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking[0].cancel()
    source.gate.set()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert source.queries == 1
    assert isinstance(answers[0], asyncio.CancelledError)
    assert len({id(answer) for answer in answers[1:]}) <= 49
    assert all(answer.name == "k" for answer in answers[1:])


async def test_a_load_that_nobody_waits_for_fails_in_silence(source):
    faults = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    token, _ = source.add()
    source.gate = asyncio.Event()
    source.is_down = True
    asking = asyncio.create_task(source.directory.authenticate(token))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    source.gate.set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not source.directory._loading
    assert not faults


async def test_a_load_that_overlaps_a_change_is_not_kept(source):
    token, record = source.add()
    source.gate = asyncio.Event()
    asking = asyncio.create_task(source.directory.authenticate(token))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert source.queries == 1
    source.change(record, status="revoked")
    source.directory.forget(record.key_id)
    source.gate.set()
    with pytest.raises(Unauthenticated):
        await asking
    assert source.queries == 2
    with pytest.raises(Unauthenticated):
        await source.directory.authenticate(token)


async def test_a_load_among_changes_without_end_answers_but_is_not_kept(source, monkeypatch):
    token, _ = source.add()
    directory = source.directory
    find = source.find_by_public_id

    async def restless(public_id):
        directory.forget(uuid4())
        return await find(public_id)

    monkeypatch.setattr(source, "find_by_public_id", restless)
    assert (await directory.authenticate(token)).name == "k"
    assert not directory._records
    assert not directory._known


async def test_while_the_database_is_down_warm_keys_go_on_for_five_minutes(source, clock):
    token, _ = source.add()
    cold, _ = source.add()
    await source.directory.authenticate(token)
    source.is_down = True
    clock.advance(299)
    assert (await source.directory.authenticate(token)).name == "k"
    with pytest.raises(Unavailable) as caught:
        await source.directory.authenticate(cold)
    assert (caught.value.code, caught.value.retry_after_s) == ("database_unavailable", 1)
    clock.advance(1)
    with pytest.raises(Unavailable):
        await source.directory.authenticate(token)
    source.is_down = False
    await source.directory.catch_up()
    assert (await source.directory.authenticate(token)).name == "k"
    assert (await source.directory.authenticate(cold)).name == "k"


async def test_after_a_long_outage_nothing_old_comes_back(source, clock):
    token, record = source.add()
    await source.directory.authenticate(token)
    clock.advance(301)
    source.change(record, status="revoked")
    await source.directory.catch_up()
    with pytest.raises(Unauthenticated):
        await source.directory.authenticate(token)


async def test_an_outage_is_not_taken_for_an_unknown_key(source):
    token, _ = source.add()
    source.is_down = True
    with pytest.raises(Unavailable):
        await source.directory.authenticate(token)
    source.is_down = False
    assert (await source.directory.authenticate(token)).name == "k"


async def test_a_change_in_the_log_is_applied_once(source):
    token, record = source.add()
    await source.directory.authenticate(token)
    source.changes = [Change(7, record.key_id), Change(8, uuid4())]
    await source.directory.catch_up()
    await source.directory.authenticate(token)
    assert source.queries == 2
    for _ in range(3):
        await source.directory.catch_up()
    await source.directory.authenticate(token)
    assert source.queries == 2
    source.changes.append(Change(6, record.organization_id))
    await source.directory.catch_up()
    await source.directory.authenticate(token)
    assert source.queries == 3


async def test_everything_is_forgotten_after_a_gap_of_signals(source):
    token, _ = source.add()
    await source.directory.authenticate(token)
    source.directory.forget_all()
    await source.directory.authenticate(token)
    assert source.queries == 2


async def test_what_is_remembered_is_bounded(source, monkeypatch):
    monkeypatch.setattr(module, "_MAX_RECORDS", 10)
    monkeypatch.setattr(module, "_MAX_ABSENT", 10)
    monkeypatch.setattr(module, "_MAX_SEEN", 10)
    directory = source.directory
    tokens = [source.add()[0] for _ in range(40)]
    for token in tokens:
        await directory.authenticate(token)
    for _ in range(40):
        with pytest.raises(Unauthenticated):
            await directory.authenticate(make_key("inference").text.reveal().encode())
    source.changes = [Change(number, uuid4()) for number in range(40)]
    await directory.catch_up()
    sizes = [
        len(each)
        for each in (directory._records, directory._known, directory._digests, directory._absent, directory._seen)
    ]
    assert sizes == [10] * 5
    assert len(directory._dependents) == 20
    assert not directory._loading
    assert (await directory.authenticate(tokens[0])).name == "k"


async def test_forgetting_leaves_nothing_behind(source):
    records = []
    for _ in range(5):
        token, record = source.add(team_id=uuid4())
        records.append(record)
        await source.directory.authenticate(token)
    for record in records:
        source.directory.forget(record.organization_id)
    directory = source.directory
    assert not any((directory._records, directory._known, directory._digests, directory._dependents))


async def test_the_change_log_is_read_on_after_any_failure(source, monkeypatch):
    monkeypatch.setattr(module, "_POLL_S", 0.001)
    answers = [Unavailable(), RuntimeError("a defect"), []]
    seen = asyncio.Event()

    async def read(seq):
        del seq
        answer = answers.pop(0) if answers else []
        if isinstance(answer, Exception):
            raise answer
        seen.set()
        return answer

    directory = KeyDirectory(source, changes=read, peppers=Peppers(PEPPER), clock=source.clock)
    directory.start()
    async with asyncio.timeout(10):
        await seen.wait()
    await directory.stop()
    await directory.stop()
    assert directory._task is None


@pytest.mark.parametrize(
    ("lists", "may", "may_not"),
    [
        ((None, None, None), "a", None),
        ((["a"], None, None), "a", "b"),
        ((["a", "b"], ["b"], None), "b", "a"),
        ((None, ["a", "b"], ["b", "c"]), "b", "c"),
        (([], None, None), None, "a"),
        ((["a"], ["b"], None), None, "a"),
    ],
)
async def test_model_lists_intersect(source, lists, may, may_not):
    own, team, organization = lists
    token, _ = source.add(models=own, team_models=team, organization_models=organization)
    principal = await source.directory.authenticate(token)
    assert may is None or principal.may_use(may)
    assert may_not is None or not principal.may_use(may_not)
