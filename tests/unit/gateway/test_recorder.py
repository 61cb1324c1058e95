"""What is kept of requests: when they are settled, never more than the bounds, and no longer than it may be."""

import asyncio
import os
from uuid import UUID

import msgspec
import pytest
from accounting.attempts import begun

from app.api.openai.paths import CHAT_WIRE
from app.cache.answers import Sealer
from app.domain.keys.principal import Principal
from app.gateway.bodies import BodySealer
from app.gateway.caching import Wishes
from app.gateway.recorder import MOST_BYTES, Recorder
from app.gateway.recording import Recording
from app.gateway.retelling import retold
from app.gateway.tally import Finished
from app.kernel.clock import ManualClock
from app.kernel.ids import uuid7_text
from app.pipeline.exchange import Exchange
from app.pipeline.explained_routes import ExplainedRoutes
from app.pipeline.foresight import Hindsight
from app.pipeline.notes import LayerStep, Skipped
from app.pipeline.operation import Asked
from app.pipeline.transcript import Transcript
from app.routing.table import Route
from app.settings import Settings
from app.settings.policy import PrivacySettings, RequestTraceSettings
from app.stores.errors import StoreUnavailable
from app.stores.memory_traces import MemoryTraceStore
from app.stores.traces import TraceQuery
from providers.types import Usage

SEALER = BodySealer(Sealer(bytes(range(32))))


def settings_of(*, store_bodies=False, **traces) -> Settings:
    privacy = PrivacySettings(store_bodies=store_bodies)
    return Settings(request_traces=RequestTraceSettings(**traces), privacy=privacy)


class World:
    def __init__(self, **settings):
        self.clock = ManualClock()
        self.store = MemoryTraceStore(clock=self.clock)
        self.tasks = []
        self.draws = iter([])
        recording = Recording(ExplainedRoutes(None), hindsight=Hindsight(Wishes(Settings())))
        self.recorder = Recorder(
            self.store,
            settings_of(**settings),
            record=recording,
            sealer=SEALER,
            degraded=list,
            clock=self.clock,
            spawn=lambda work: self.tasks.append(asyncio.ensure_future(work)),
            draw=lambda: next(self.draws),
        )

    async def ids(self):
        await self.recorder.flush()
        await asyncio.gather(*self.tasks)
        return {each.id for each in await self.store.recent(TraceQuery(), limit=100_000)}


PRINCIPAL = Principal(key_id=UUID(int=7), organization_id=UUID(int=2))
ROUTE = Route(name="m", label="m", targets=(), owned_by="p")


def finished(*, is_settled=True) -> Finished:
    made = Exchange(
        request_id=uuid7_text(),
        principal=PRINCIPAL,
        operation=CHAT_WIRE.operation,
        route=ROUTE,
        body=b"secret prompt",
        document={},
        started_ns=1,
        asked=Asked(model="m"),
    )
    attempt = begun(made, "p", upstream_model="u")
    attempt.outcome, attempt.usage, attempt.cost_nusd = "ok", Usage(input_tokens=3, output_tokens=5), 7
    made.notes.steps.append(LayerStep("body", "passed", 1, 2))
    made.notes.settled_ns = 5 if is_settled else 0
    return Finished(1, made.request_id, "/v1/chat/completions", made, 200, None, 30_000_000, notes=made.notes)


async def test_a_request_is_kept_when_it_is_settled_and_not_before():
    world = World()
    late, done = finished(is_settled=False), finished()
    world.recorder.add([late, done])
    assert await world.ids() == {done.request_id}
    late.exchange.attempts[0].cost_nusd = 11
    late.exchange.notes.settled_ns = 9
    assert await world.ids() == {done.request_id, late.request_id}
    told = retold(await world.store.find(late.request_id))
    assert (told.cost, told.attempts[0].target) == ("0.000000011", "p/u")
    world.recorder.close()


async def test_memory_is_bounded_under_50_000_requests():
    world = World(keep=2_000, max_mb=1)
    for _ in range(500):
        world.recorder.add([finished() for _ in range(100)])
        await asyncio.sleep(0)
    kept = await world.ids()
    assert 500 < len(kept) <= 2_000
    assert world.store.size_bytes <= 1 << 20


async def test_a_share_of_them_is_drawn_and_off_is_none():
    world = World(sample=0.5)
    world.draws = iter([0.4, 0.6, 0.1])
    batch = [finished() for _ in range(3)]
    world.recorder.add(batch)
    assert await world.ids() == {batch[0].request_id, batch[2].request_id}
    world.recorder.replace(settings_of(enabled=False))
    world.recorder.add([finished()])
    assert len(await world.ids()) == 2


async def test_what_the_store_does_not_take_is_offered_again(monkeypatch: pytest.MonkeyPatch):
    world = World()
    put = world.store.put

    async def fail(*_args, **_more):
        raise StoreUnavailable("it is down")

    monkeypatch.setattr(world.store, "put", fail)
    one = finished()
    world.recorder.add([one])
    await asyncio.sleep(0)
    assert await world.ids() == set()
    monkeypatch.setattr(world.store, "put", put)
    assert await world.ids() == {one.request_id}
    world.recorder.close()


async def test_what_is_too_long_is_cut_and_says_so():
    world = World()
    one = finished()
    one.exchange.notes.skipped += [Skipped("m", f"p/{n}" * 10, "left_alone") for n in range(2_000)]
    world.recorder.add([one])
    await world.ids()
    kept = await world.store.find(one.request_id)
    assert len(kept.trace) <= MOST_BYTES
    told = retold(kept)
    assert told.unknown == ["some of it, which was too long to be kept"]
    assert len(told.attempts) == 1
    assert b"secret" not in kept.trace + msgspec.json.encode(told)


async def test_of_nobody_nothing_is_kept():
    world = World()
    world.recorder.add([Finished(1, uuid7_text(), "/v1/chat/completions", None, 401, "invalid_api_key", 5)])
    assert await world.ids() == set()


async def nothing(*_args):
    """Be no server."""


def spoken(request: bytes = b"canary", answer: bytes = b"canary", **more) -> Finished:
    """Return a request of which both bodies are noted."""
    made = finished(**more)
    transcript = made.notes.transcript = Transcript(nothing, nothing)
    transcript.request.add(request)
    transcript.answer.add(answer)
    return made


async def bodies_of(world: World, request: Finished):
    sealed = await world.store.bodies(request.request_id)
    if sealed is None:
        return None
    assert b"canary" not in sealed
    opened = SEALER.open(sealed, request_id=request.request_id, organization_id=str(PRINCIPAL.organization_id))
    return opened.request.text, opened.answer.text


async def test_bodies_are_kept_sealed_beside_what_became_of_a_request():
    world = World(store_bodies=True)
    late, done, silent = spoken(is_settled=False), spoken(answer=b"canary 2"), finished()
    world.recorder.add([late, done, silent])
    assert await world.ids() == {done.request_id, silent.request_id}
    assert await bodies_of(world, done) == ("canary", "canary 2")
    assert await bodies_of(world, silent) is None
    late.exchange.notes.settled_ns = 9
    assert late.request_id in await world.ids()
    assert await bodies_of(world, late) == ("canary", "canary")
    world.recorder.close()


async def test_bodies_are_bounded_under_many_and_leave_room_for_traces():
    world = World(store_bodies=True, max_mb=1, keep=1_000)
    made = []
    for _ in range(60):
        batch = [spoken(os.urandom(1 << 16), os.urandom(1 << 16)) for _ in range(3)]
        made += batch
        world.recorder.add(batch)
        await world.recorder.flush()
        assert world.store.size_bytes <= 1 << 20
        assert world.store.bodies_bytes <= 1 << 19
    assert await world.ids() == {each.request_id for each in made}
    kept = [await world.store.bodies(each.request_id) is not None for each in made]
    assert kept == [False] * 177 + [True] * 3


async def test_what_waits_for_the_store_is_bounded_and_sealed_once(monkeypatch: pytest.MonkeyPatch):
    world = World(store_bodies=True, max_mb=1)
    put, sealed = world.store.put, []

    async def fail(_traces, _bounds, *, bodies):
        sealed.append(dict(bodies))
        raise StoreUnavailable("it is down")

    monkeypatch.setattr(world.store, "put", fail)
    made = [spoken(os.urandom(1 << 16)) for _ in range(30)]
    for each in made:
        world.recorder.add([each])
        await world.recorder.flush()
    await world.recorder.flush()
    assert sealed[-1] == sealed[-2]
    assert 5 <= len(sealed[-1]) <= 8
    assert sum(map(len, sealed[-1].values())) <= 1 << 19
    monkeypatch.setattr(world.store, "put", put)
    assert await world.ids() == {each.request_id for each in made}
    assert [bool(await world.store.bodies(each.request_id)) for each in made[:5]] == [True] * 5
    world.recorder.close()


async def test_those_that_are_not_settled_hold_no_more_than_the_bound_either():
    world = World(store_bodies=True, max_mb=1)
    made = [spoken(bytes(1 << 16), is_settled=False) for _ in range(100)]
    for each in made:
        world.recorder.add([each])
    held = sum(each.notes.transcript.held_bytes for each in made if each.notes.transcript is not None)
    assert 0 < held <= 1 << 19
    world.recorder.close()


async def test_bodies_that_are_wanted_no_more_are_forgotten_and_their_traces_stay():
    world = World(store_bodies=True)
    before, under_way = spoken(), spoken()
    world.recorder.add([before])
    assert await world.ids() == {before.request_id}
    assert await bodies_of(world, before)
    world.recorder.replace(settings_of(store_bodies=False))
    assert await world.ids() == {before.request_id}
    assert await bodies_of(world, before) is None
    world.recorder.add([under_way])
    assert await world.ids() == {before.request_id, under_way.request_id}
    assert await bodies_of(world, under_way) is None
    assert world.store.bodies_bytes == 0


@pytest.mark.parametrize(
    ("settings", "keeps"),
    [
        ({}, False),
        ({"store_bodies": True}, True),
        ({"store_bodies": True, "enabled": False}, False),
    ],
)
async def test_bodies_are_noted_only_where_they_are_kept(settings, keeps):
    assert World(**settings).recorder.keeps_bodies is keeps


@pytest.mark.parametrize("asked", [2**63, 2**64, 10**30])
async def test_a_cap_that_no_record_can_hold_is_kept_as_the_most_that_one_can_and_so_is_its_batch(asked):
    world = World()
    first, huge, last = finished(), finished(), finished()
    huge.exchange.notes.asked_cap = asked
    huge.notes.skipped.append(Skipped("m", "p/u", "open"))
    world.recorder.add([first, huge, last])
    assert await world.ids() == {each.request_id for each in (first, huge, last)}
    told = retold(await world.store.find(huge.request_id))
    assert told.request.output_tokens == min(asked, 2**64 - 1)
    assert told.attempts[0].target == "p/u"
    assert [skip.target for skip in told.passed_over] == ["p/u"]
    world.recorder.close()


async def test_one_that_cannot_be_written_down_takes_no_other_with_it(caplog):
    world = World()
    first, broken, late, last = finished(), finished(), finished(is_settled=False), finished()
    broken.exchange.attempts[0].usage = object()
    late.exchange.attempts[0].usage = object()
    world.recorder.add([first, broken, late, last])
    late.exchange.notes.settled_ns = 9
    assert await world.ids() == {first.request_id, last.request_id}
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said == [f"what became of request {each.request_id} is not kept" for each in (broken, late)]
    world.recorder.close()
