"""What served an answer says what it costs: the price of the vendor's service tier, unless the operator wrote one."""

import msgspec
import pytest
from scripted_pipeline import DONE, HEAD, PRICE, STOP, FakeAdapter, frame, read_out

from app.api.openai.paths import CHAT_WIRE
from app.domain.prices import PriceBook, cost
from app.kernel.clock import ManualClock
from app.pipeline.dispatch import Dispatch
from providers.catalog import load_catalog
from providers.types import Finished, Started, Target, TextDelta, Usage, UsageReported

CHAT = CHAT_WIRE.operation
MODEL = "gpt-4o-mini"
USAGE = Usage(input_tokens=1_000, cache_read_tokens=1_000, output_tokens=1_000)
WIRE_USAGE = {"prompt_tokens": 2_000, "completion_tokens": 1_000, "prompt_tokens_details": {"cached_tokens": 1_000}}
STANDARD_NUSD = 150_000 + 75_000 + 600_000
PRIORITY_NUSD = 250_000 + 125_000 + 1_000_000


class Book(PriceBook):
    """The book of the shipped prices, which counts how often a tier is looked up in it."""

    def __init__(self):
        super().__init__(load_catalog(), clock=ManualClock())
        self.looked_up = []

    def find_tier(self, vendor, model, *, service_tier):
        self.looked_up.append((vendor, model, service_tier))
        return super().find_tier(vendor, model, service_tier=service_tier)


def _answer(tier):
    return [
        Started(id="a", model=MODEL, created=1),
        TextDelta(text="Hi"),
        Finished(reason="stop"),
        UsageReported(usage=msgspec.structs.replace(USAGE, service_tier=tier)),
    ]


def _relayed(tier, *, stream):
    told = {"usage": WIRE_USAGE} | ({} if tier is None else {"service_tier": tier})
    if stream:
        return [HEAD, frame(choices=[{"index": 0, "delta": {"content": "Hi"}}]), STOP, frame(choices=[], **told), DONE]
    return [msgspec.json.encode({"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}], **told})]


async def _attempted(pipeline, book, tier, *, relays, stream, price=None):
    script = _relayed(tier, stream=stream) if relays else _answer(tier)
    adapter = FakeAdapter(script, relays=("openai.chat",) if relays else ())
    exchange = pipeline.exchange(CHAT, adapter, stream=stream, price=price)
    where = Target(provider="p0", model=MODEL, base_url="http://x")
    choice = msgspec.structs.replace(
        exchange.route.targets[0], vendor="openai", target=where, whole_target=where, price=price
    )
    dispatch = Dispatch(book, pipeline.clock, verdicts=pipeline.verdicts)
    attempt = dispatch.begin(exchange, choice, pipeline.health.lane("p0", MODEL))
    answer = await dispatch.open(exchange, attempt)
    if stream:
        await read_out(answer)
    return exchange.attempts[0]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("relays", [False, True])
async def test_a_tier_is_charged_at_its_own_price_with_its_version(pipeline, relays, stream):
    book = Book()
    attempt = await _attempted(pipeline, book, "priority", relays=relays, stream=stream)
    assert attempt.usage == msgspec.structs.replace(USAGE, service_tier="priority")
    assert attempt.cost_nusd == PRIORITY_NUSD
    assert attempt.price.version == f"{load_catalog().snapshot.version}#priority"
    assert book.looked_up == [("openai", MODEL, "priority")]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("relays", [False, True])
@pytest.mark.parametrize("tier", [None, "default", "standard"])
async def test_plain_service_is_not_looked_up(pipeline, tier, relays, stream):
    book = Book()
    attempt = await _attempted(pipeline, book, tier, relays=relays, stream=stream)
    assert attempt.cost_nusd == STANDARD_NUSD
    assert attempt.price is book.find("openai", MODEL)
    assert not book.looked_up


@pytest.mark.parametrize("tier", ["scale", "auto", "x" * 64])
async def test_a_tier_without_a_price_costs_what_the_attempt_began_with(pipeline, tier):
    book = Book()
    attempt = await _attempted(pipeline, book, tier, relays=True, stream=True)
    assert attempt.cost_nusd == STANDARD_NUSD
    assert attempt.price is book.find("openai", MODEL)


@pytest.mark.parametrize("relays", [False, True])
async def test_the_operators_price_holds_in_every_tier(pipeline, relays):
    book = Book()
    attempt = await _attempted(pipeline, book, "priority", relays=relays, stream=False, price=PRICE)
    assert attempt.cost_nusd == cost(PRICE, USAGE)
    assert attempt.price is PRICE
    assert not book.looked_up
