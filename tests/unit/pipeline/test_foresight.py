"""What the cache would do is told beforehand, for the reason that a real request meets, and nothing is left behind."""

from typing import Any, get_args
from uuid import UUID

import pytest

from app.api.openai.completions import COMPLETIONS_WIRE
from app.api.openai.paths import CHAT_WIRE
from app.cache.answers import Answered, Sealer
from app.cache.embedding import StaticEmbedder
from app.cache.embedding.static import THRESHOLD
from app.cache.guards import differ
from app.cache.likes import Likes
from app.cache.nearest import Partitions
from app.cache.semantic import Semantic
from app.cache.shelf import Shelf
from app.cache.statistics import Statistics
from app.cache.wishes import Unkept
from app.domain.keys.principal import Principal
from app.domain.tenants.policies import CacheRules
from app.gateway.caching import Wishes
from app.gateway.tasks import TaskSupervisor
from app.kernel.clock import ManualClock
from app.kernel.ids import uuid7_text
from app.pipeline.asking import Asking
from app.pipeline.exchange import Exchange
from app.pipeline.foresight import SENTENCES, Foresight, Sight
from app.pipeline.mentions import find_mentions
from app.pipeline.operation import Asked
from app.pipeline.options import read_options
from app.pipeline.references import find_references
from app.routing.table import Route, RouteTarget
from app.settings.model import Settings
from app.settings.policy import CacheSettings
from app.stores.cache import Maker
from app.stores.memory_cache import MemoryCacheStore
from providers.echo.adapter import EchoAdapter
from providers.types import Choice, Completion, Target, TextPart

ORGANIZATION = UUID(int=5)
FRANCE, LIKE, UNLIKE = "What is the capital of France?", "Tell me the capital of France.", "Is Paris in France?"
SORT, NOT_SORT = "How do I sort a list in Python?", "How do I not sort a list in Python?"
MEDIA = "multipart/form-data"


class Stand:
    """A cache in memory, and what foresees it."""

    def __init__(self, mode: str = "semantic", **cache: Any) -> None:
        self.clock = ManualClock()
        self.store = MemoryCacheStore(clock=self.clock)
        self.tasks = TaskSupervisor()
        spawn = self.tasks.spawn
        self.shelf = Shelf(
            self.store, sealer=Sealer(b"k" * 32), clock=self.clock, spawn=spawn, maker="me", most_bytes=1 << 20
        )
        semantic = Semantic(
            self.shelf, embedder=StaticEmbedder(), partitions=Partitions(), spawn=spawn, differ=differ, read=str
        )

        async def made() -> Semantic:
            return semantic

        self.likes = Likes(
            self.shelf,
            semantic=made,
            judge=None,  # type: ignore[arg-type] # nothing is compared
            statistics=Statistics(self.store, spawn=spawn),
            compared=lambda _: pytest.fail("a dry run compares nothing"),
            clock=self.clock,
            spawn=spawn,
            draw=lambda: pytest.fail("a dry run draws no lots"),  # type: ignore[arg-type, return-value] # it never returns
        )
        self.wishes = Wishes(Settings(cache=CacheSettings(mode=mode, **cache)))  # type: ignore[arg-type] # a mode
        self.foresee = Foresight(self.wishes, sight=Sight(self.shelf, self.likes))

    async def keep(self, exchange: Exchange, text: str = "Paris.") -> str:
        """Keep an answer as the layer does; return its id."""
        wish = self.wishes(exchange)
        assert wish is not None
        spot = Asking().place(exchange, wish)
        assert spot is not None
        choice = Choice(index=0, content=[TextPart(text=text)], finish_reason="stop")
        completion = Completion(id="1", model="m", created=1, choices=[choice])
        answered = Answered(
            provider="p",
            model="m",
            upstream_model="m",
            created_ms=self.shelf.now_ms(),
            relay="openai.chat",
            completion=completion,
        )
        sample = await self.likes.sample_of(spot, wish)
        await self.shelf.put(spot, answered, ttl_s=wish.ttl_s, tags={}, sample=sample)
        return spot.place.entry_id


def asking(
    text: str = FRANCE,
    *,
    wire: Any = CHAT_WIRE,
    control: str = "",
    cache: str = "",
    rules: dict[str, CacheRules] | None = None,
    **more: Any,
) -> Exchange:
    where = Target(provider="p", model="m", base_url="http://p")
    target = RouteTarget(provider="p", adapter=EchoAdapter(), target=where, whole_target=where)
    route = Route(name="m", label="m", targets=(target,), owned_by="p")
    document = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
    rules = rules or {}
    principal = Principal(
        key_id=UUID(int=7),
        organization_id=ORGANIZATION,
        cache=tuple(rules.values()),
        cache_scopes=tuple(rules),  # type: ignore[arg-type] # they are scopes
    )
    exchange = Exchange(
        request_id=uuid7_text(),
        principal=principal,
        operation=wire.operation,
        route=route,
        body=b"{}",
        document=document,
        started_ns=0,
        asked=Asked(model="m"),
    )
    headers = {b"cache-control": control.encode()} if control else {}
    exchange.options = read_options(headers | ({b"x-gateway-cache": cache.encode()} if cache else {}), None)
    exchange.references = find_references(document, find_mentions(document))
    return exchange


def test_every_reason_is_a_word_with_a_sentence() -> None:
    assert set(get_args(Unkept)) < set(SENTENCES)
    assert all(word.isidentifier() and not sentence.endswith(".") for word, sentence in SENTENCES.items())


@pytest.mark.parametrize(
    ("exchange", "would_be", "reason"),
    [
        (asking(), "miss", "nothing_kept"),
        (asking(temperature=1.2), "bypass", "temperature"),
        (asking(temperature=1.2, cache="exact"), "miss", "nothing_kept"),
        (asking(n=2), "bypass", "choices"),
        (asking(n=2, cache="exact"), "bypass", "choices"),
        (asking(tools=[{"type": "web_search"}]), "bypass", "hosted_tools"),
        (asking(messages="odd"), "bypass", "unreadable"),
        (asking(wire=COMPLETIONS_WIRE, prompt="x", echo=True), "bypass", "completion_options"),
        (asking(cache="off"), "off", "asked_off"),
        (asking(cache="refresh"), "miss", "refresh"),
        (asking(control="no-cache"), "miss", "no_cache"),
        (asking(control="no-store"), "miss", "no_store"),
        (asking(control="only-if-cached"), "miss", "only_if_cached"),
    ],
)
async def test_why_it_would_not_be_answered_from_the_cache(exchange: Exchange, would_be: str, reason: str) -> None:
    told = await Stand().foresee(exchange)
    assert (told.status, told.reason, told.why) == (would_be, reason, SENTENCES[reason])  # type: ignore[index] # a word of the table
    assert (told.entry_id, told.age_s, told.similarity, told.guard) == (None, None, None, None)


async def test_state_of_a_provider_and_forms_have_no_place() -> None:
    stored = asking(messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}])
    assert (await Stand().foresee(stored)).reason == "references"
    form = asking()
    form.content_type = MEDIA
    assert (await Stand().foresee(form)).reason == "form"


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({}, ("off", "config", "off", "off")),
        ({"team": CacheRules(mode="exact", scope="team")}, ("exact", "team", "miss", "nothing_kept")),
        ({"key": CacheRules(mode="off"), "team": CacheRules(mode="exact")}, ("off", "key", "off", "off")),
        (
            {"key": CacheRules(mode="exact"), "organization": CacheRules(mode="forbidden")},
            ("forbidden", "organization", "off", "forbidden"),
        ),
    ],
)
async def test_whose_setting_binds_is_told(rules: dict[str, CacheRules], told: tuple[str, ...]) -> None:
    found = await Stand(mode="off").foresee(asking(rules=rules))
    assert (found.mode, found.set_by, found.status, found.reason) == told


async def test_the_very_same_request_would_be_a_hit() -> None:
    stand = Stand()
    entry_id = await stand.keep(asking())
    stand.clock.advance(12)
    told = await stand.foresee(asking())
    assert (told.status, told.reason, told.entry_id, told.age_s, told.similarity) == (
        "exact",
        None,
        entry_id,
        12,
        None,
    )
    old = await stand.foresee(asking(control="max-age=5"))
    assert old.status == "miss"


async def test_a_like_one_would_be_a_hit_or_only_be_compared() -> None:
    stand = Stand()
    entry_id = await stand.keep(asking())
    told = await stand.foresee(asking(LIKE))
    assert (told.status, told.reason, told.entry_id) == ("semantic", None, entry_id)
    assert told.similarity is not None
    assert told.threshold == THRESHOLD <= told.similarity < 1
    exact = await stand.foresee(asking(LIKE, cache="exact"))
    assert (exact.status, exact.reason, exact.threshold) == ("miss", "nothing_kept", None)
    stand.wishes.replace(Settings(cache=CacheSettings(mode="shadow")))
    shadow = await stand.foresee(asking(LIKE))
    assert (shadow.status, shadow.reason, shadow.entry_id) == ("miss", "shadow", entry_id)


async def test_the_guard_that_tells_a_like_one_apart_is_named() -> None:
    stand = Stand()
    await stand.keep(asking(SORT))
    told = await stand.foresee(asking(NOT_SORT))
    assert (told.status, told.reason, told.guard, told.entry_id) == ("miss", "guard", "negation", None)
    assert told.similarity is not None
    assert THRESHOLD <= told.similarity < 1
    strict = Stand(threshold=0.999)
    await strict.keep(asking(SORT))
    told = await strict.foresee(asking(NOT_SORT))
    assert (told.reason, told.guard, told.threshold) == ("nothing_kept", None, 0.999)


async def test_who_makes_it_is_seen_and_nothing_is_left_behind() -> None:
    stand = Stand()
    wish = stand.wishes(asking())
    assert wish is not None
    spot = Asking().place(asking(), wish)
    assert spot is not None
    assert (await stand.foresee(asking())).status == "miss"
    assert await stand.store.find(spot.place, maker="another", lease_ms=1_000) == Maker("another", is_me=True)
    assert (await stand.foresee(asking())).status == "coalesced"
    await stand.tasks.drain(patience_s=1)
    assert await stand.store.counts(spot.place.owner) == {}
    assert (await stand.store.overview(spot.place.owner)).entries == 0


async def test_where_nobody_can_look_it_says_so_but_still_what_needs_no_look() -> None:
    stand = Stand()
    for blind in ("no_text", "no_key", "elsewhere"):
        foresee = Foresight(stand.wishes, sight=blind)  # type: ignore[arg-type] # one of the words
        assert (await foresee(asking())).status == "unknown"
        assert (await foresee(asking())).reason == blind
        assert (await foresee(asking(n=2))).status == "bypass"
    foresee = Foresight(stand.wishes, sight=Sight(stand.shelf, None))
    assert (await foresee(asking())).reason == "not_embedded"
    await stand.keep(asking())
    assert (await foresee(asking())).status == "exact"
