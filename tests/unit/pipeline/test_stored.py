"""References are the caller's own or nothing, and what is answered is kept before its last byte."""

import json
from uuid import UUID

import msgspec
import pytest
from accounting.attempts import begun
from scripted_pipeline import ANSWER, FakeAdapter

from app.api.openai.paths import CHAT_WIRE
from app.domain.responses.schemas import Issued, KeptResponse
from app.kernel.errors import InvalidRequest, NotFound, Unavailable
from app.pipeline.answer import Answer
from app.pipeline.mentions import find_mentions
from app.pipeline.operation import Operation
from app.pipeline.references import find_references
from app.pipeline.stored import Stored
from app.pipeline.wording import is_relayed
from providers.signatures import seal, sign

US = UUID(int=2)
RESPONSES = msgspec.structs.replace(
    CHAT_WIRE.operation, relay="openai.responses", keeps=True, stores="openai.response_get"
)
MESSAGES = msgspec.structs.replace(CHAT_WIRE.operation, relay="anthropic.messages", keeps=True)
KEPT = KeptResponse(
    id="resp_1",
    response={"id": "resp_1", "output": [{"id": "msg_1", "type": "message"}, {"id": "rs_1", "type": "reasoning"}]},
    input=[{"role": "user", "content": "before"}],
)


class Store:
    """Keeps in memory, for one organisation."""

    def __init__(self, *issued: Issued, kept: tuple[KeptResponse, ...] = (), is_down: bool = False):
        self.known = {one.id: one for one in issued}
        self.kept = {one.id: one for one in kept}
        self.remembered: list[tuple[list[str], str]] = []
        self.is_down = is_down

    async def keep(self, kept, *, organization_id):
        assert organization_id == US
        if self.is_down:
            raise Unavailable
        self.kept[kept.id] = kept
        return True

    async def remember(self, ids, *, provider, organization_id):
        assert organization_id == US
        self.remembered.append((list(ids), provider))

    async def issued(self, ids, *, organization_id):
        assert organization_id == US
        return {one: self.known[one] for one in ids if one in self.known}

    async def conversation(self, response_id, *, organization_id):
        assert organization_id == US
        return [self.kept[response_id]] if response_id in self.kept else []

    async def find(self, response_id, *, organization_id):
        assert organization_id == US
        return self.kept.get(response_id)


class Below:
    """What the layers below answer, and what they were asked."""

    def __init__(self, *, produced=None, issued=(), live=None):
        self.produced = produced
        self.ids = list(issued)
        self.live = live
        self.asked = []

    async def __call__(self, exchange):
        self.asked.append(exchange)
        exchange.produced = self.produced
        exchange.issued = list(self.ids)
        return Answer(live=self.live) if self.live else Answer(body=b"{}")


class Live:
    def __init__(self, *parts):
        self.parts = list(parts)
        self.is_finished = False

    async def read(self):
        part = self.parts.pop(0)
        self.is_finished = not self.parts
        return part

    def close(self):
        pass


def asking(pipeline, operation: Operation = RESPONSES, *adapters, **document):
    exchange = pipeline.exchange(operation, *(adapters or (FakeAdapter(ANSWER),)), document=document)
    exchange.references = find_references(exchange.document, find_mentions(exchange.document))
    return exchange


async def served(exchange, store, below=None, *, may_store=True):
    below = below or Below()
    answer = await Stored(store, may_store=lambda: may_store)(exchange, below)
    return answer, below


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("previous_response_id", "resp_other", "previous_response_id"),
        ("conversation", {"id": "conv_1"}, "conversation"),
        ("container", "cntr_1", "container"),
        ("cachedContent", "cachedContents/1", "cachedContent"),
        ("input", [{"type": "item_reference", "id": "rs_other"}], "input[0].id"),
        ("tools", [{"type": "x", "file_ids": ["f", 7]}], "tools[0].file_ids"),
    ],
)
async def test_a_reference_that_was_not_issued_is_not_found(pipeline, field, value, path):
    with pytest.raises(NotFound) as caught:
        await served(asking(pipeline, **{field: value}), Store(Issued(id="f"), kept=(KEPT,)))
    assert (caught.value.code, caught.value.param) == ("not_found", path)


@pytest.mark.parametrize(("owner", "may"), [(None, False), (UUID(int=9), False), (US, True)])
async def test_an_account_of_the_organisations_own_takes_any_reference(pipeline, owner, may):
    exchange = asking(pipeline, container="cntr_1")
    targets = tuple(
        msgspec.structs.replace(target, dedicated_to=str(owner) if owner else None) for target in exchange.route.targets
    )
    exchange.route = msgspec.structs.replace(exchange.route, targets=targets)
    if may:
        await served(exchange, Store())
        return
    with pytest.raises(NotFound):
        await served(exchange, Store())


@pytest.mark.parametrize("may_store", [True, False])
async def test_what_is_in_an_account_is_asked_of_no_other(pipeline, may_store):
    exchange = asking(pipeline, container="cntr_1")
    targets = tuple(msgspec.structs.replace(target, dedicated_to=str(US)) for target in exchange.route.targets)
    shared, exchange.route = exchange.route, msgspec.structs.replace(exchange.route, targets=targets)
    exchange.alternatives = {"shared": shared}
    below = Below()
    await Stored(Store(), may_store=lambda: may_store)(exchange, below)
    assert not below.asked[0].alternatives


async def test_an_earlier_response_is_written_out(pipeline):
    exchange = asking(pipeline, previous_response_id="resp_1", input="and now?")
    await served(exchange, Store(Issued(id="resp_1", response_id="resp_1"), kept=(KEPT,)))
    items = [*KEPT.input, *KEPT.output, {"role": "user", "content": "and now?"}]
    assert exchange.document["input"] == json.loads(exchange.body)["input"] == items
    assert "previous_response_id" not in exchange.document
    assert exchange.previous_id == "resp_1"
    assert exchange.new_input == [{"role": "user", "content": "and now?"}]


async def test_an_item_is_put_where_it_is_referred_to(pipeline):
    user = {"role": "user", "content": "go on"}
    exchange = asking(pipeline, input=[{"type": "item_reference", "id": "rs_1"}, user])
    await served(exchange, Store(Issued(id="rs_1", response_id="resp_1"), kept=(KEPT,)))
    assert exchange.document["input"] == [{"id": "rs_1", "type": "reasoning"}, user]


async def test_a_response_that_was_lost_is_not_found(pipeline):
    exchange = asking(pipeline, previous_response_id="resp_1", input="x")
    with pytest.raises(NotFound):
        await served(exchange, Store(Issued(id="resp_1", response_id="resp_1")))


async def test_what_a_provider_keeps_is_asked_of_that_provider(pipeline):
    adapters = [FakeAdapter(relays=["openai.responses"]) for _ in range(2)]
    exchange = asking(pipeline, RESPONSES, *adapters, previous_response_id="resp_v", input="x")
    body = exchange.body
    await served(exchange, Store(Issued(id="resp_v", provider="p1", response_id="resp_v")))
    assert [target.provider for target in exchange.route.targets] == ["p1"]
    assert exchange.body == body


async def test_what_another_provider_keeps_cannot_be_gone_on_from(pipeline):
    exchange = asking(pipeline, previous_response_id="resp_v", input="x")
    with pytest.raises(NotFound) as caught:
        await served(exchange, Store(Issued(id="resp_v", provider="elsewhere", response_id="resp_v")))
    assert "another provider" in caught.value.message


@pytest.mark.parametrize(("store", "is_kept"), [(None, True), (True, True), (False, False)])
async def test_a_response_is_kept_unless_the_client_says_no(pipeline, store, is_kept):
    exchange = asking(pipeline, input="x", **({} if store is None else {"store": store}))
    await served(exchange, Store())
    assert exchange.is_kept is is_kept
    assert "store" not in exchange.edits.put


async def test_where_nothing_may_be_stored_the_provider_is_told_so(pipeline):
    exchange = asking(pipeline, input="x")
    await served(exchange, Store(), may_store=False)
    assert not exchange.is_kept
    assert exchange.edits.put["store"] == b"false"


@pytest.mark.parametrize(
    ("document", "param"),
    [
        ({"store": True}, "store"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"input": [{"type": "item_reference", "id": "rs_1"}]}, "input[0].id"),
    ],
)
async def test_where_nothing_may_be_stored_asking_for_it_is_an_error(pipeline, document, param):
    exchange = asking(pipeline, **{"input": "x", **document})
    known = (Issued(id="resp_1", response_id="resp_1"), Issued(id="rs_1", response_id="resp_1"))
    with pytest.raises(InvalidRequest) as caught:
        await served(exchange, Store(*known, kept=(KEPT,)), may_store=False)
    assert caught.value.param == param


async def test_an_answer_is_kept_before_its_last_bytes(pipeline):
    store, exchange = Store(), asking(pipeline, input="x")
    answer, _ = await served(exchange, store, Below(produced=KEPT, live=Live(b"a", b"b")))
    assert await answer.live.read() == b"a"
    assert not store.kept
    assert await answer.live.read() == b"b"
    assert answer.live.is_finished
    assert store.kept == {"resp_1": KEPT}


async def test_ids_that_a_provider_issued_are_remembered_with_it(pipeline):
    store, exchange = Store(), asking(pipeline, MESSAGES)
    begun(exchange, "claude")
    await served(exchange, store, Below(issued=["container_1"]))
    assert store.remembered == [(["container_1"], "claude")]
    assert not exchange.is_kept


async def test_an_answer_that_cannot_be_kept_is_still_an_answer(pipeline):
    answer, _ = await served(asking(pipeline, input="x"), Store(is_down=True), Below(produced=KEPT))
    assert answer.body == b"{}"


async def test_other_operations_are_left_alone(pipeline):
    exchange = asking(pipeline, CHAT_WIRE.operation, store=True)
    live = Live(b"a")
    answer, _ = await served(exchange, Store(), Below(live=live))
    assert answer.live is live
    assert not exchange.is_kept


@pytest.mark.parametrize(
    ("relays", "store", "goes_through"),
    [
        (("openai.responses", "openai.response_get"), None, True),
        (("openai.responses",), None, False),
        (("openai.responses",), False, True),
        ((), False, False),
    ],
)
async def test_an_answer_to_be_kept_is_relayed_only_to_who_keeps_it(pipeline, relays, store, goes_through):
    exchange = asking(pipeline, input="x", **({} if store is None else {"store": store}))
    await served(exchange, Store())
    target = msgspec.structs.replace(exchange.route.targets[0], relays=frozenset(relays))
    assert is_relayed(exchange, target) is goes_through


async def test_a_body_with_our_seals_is_said_anew_where_its_vendor_would_take_them_for_forged(pipeline):
    sealed = seal(sign("gemini", "cQ=="), "anthropic")
    for operation, signature, goes_through in (
        (msgspec.structs.replace(MESSAGES, unseals=True), sealed, False),
        (msgspec.structs.replace(MESSAGES, unseals=True), "EqQB", True),
        (MESSAGES, sealed, True),
    ):
        exchange = asking(pipeline, operation, thinking=signature)
        target = msgspec.structs.replace(exchange.route.targets[0], relays=frozenset({operation.relay}))
        assert is_relayed(exchange, target) is goes_through


DEDICATED = {"dedicated_to": str(US)}


async def test_what_the_gateway_keeps_is_written_out_for_a_provider_of_ones_own_too(pipeline):
    exchange = asking(pipeline, previous_response_id="resp_1", input="after")
    exchange.route = msgspec.structs.replace(
        exchange.route,
        targets=tuple(msgspec.structs.replace(target, **DEDICATED) for target in exchange.route.targets),
    )
    _, below = await served(exchange, Store(Issued(id="resp_1"), kept=(KEPT,)))
    assert [item.get("content") for item in below.asked[0].document["input"]] == ["before", None, None, "after"]
    assert below.asked[0].text_bytes == len(below.asked[0].body)


async def test_an_item_is_looked_up_only_where_a_provider_would_load_it(pipeline):
    thought = {"type": "reasoning", "id": "rs_other", "summary": []}
    _, below = await served(asking(pipeline, input=[thought]), Store())
    assert below.asked
    adapter = FakeAdapter(ANSWER, relays=frozenset({"openai.responses", "openai.response_get"}))
    with pytest.raises(NotFound) as caught:
        await served(asking(pipeline, RESPONSES, adapter, input=[thought]), Store())
    assert caught.value.param == "input[0].id"
    _, below = await served(asking(pipeline, RESPONSES, adapter, input=[thought]), Store(Issued(id="rs_other")))
    assert below.asked[0].document["input"] == [thought]


async def test_references_are_bounded(pipeline):
    with pytest.raises(InvalidRequest) as caught:
        await served(asking(pipeline, tools=[{"type": "x", "file_ids": ["f"] * 1_001}]), Store(Issued(id="f")))
    assert caught.value.param == "tools[0].file_ids"


async def test_what_a_provider_adds_is_still_referred_to_and_what_was_written_out_is_not(pipeline):
    _, below = await served(asking(pipeline, previous_response_id="resp_1"), Store(Issued(id="resp_1"), kept=(KEPT,)))
    assert not below.asked[0].references
    adapter = FakeAdapter(ANSWER, relays=frozenset({"openai.responses", "openai.response_get"}))
    there = Store(Issued(id="resp_v", provider="p0"))
    _, below = await served(asking(pipeline, RESPONSES, adapter, previous_response_id="resp_v"), there)
    assert [one.id for one in below.asked[0].references] == ["resp_v"]
