"""What an attempt that fails costs: nothing; or, behind the head of a good answer, its prompt and what was seen."""

import asyncio

import pytest
from scripted_pipeline import (
    ANSWER,
    BUDGETED,
    DONE,
    HANG,
    HEAD,
    PRICE,
    STOP,
    TEXTS,
    USAGE,
    WHOLE,
    FakeAdapter,
    Held,
    read_out,
)

from app.api.anthropic.paths import COUNT_TOKENS_WIRE
from app.api.llm.chat import LLM_CHAT_WIRE
from app.api.openai.paths import CHAT_WIRE, EMBEDDINGS_WIRE
from app.domain.prices import cost
from app.kernel.errors import GatewayError
from app.limits.estimate import guess_tokens
from app.settings.model import Hedge
from providers.errors import (
    BadAnswer,
    ConnectFailed,
    ContextTooLong,
    CredentialRefused,
    ProviderOverloaded,
    ProviderRateLimited,
    ProviderTimedOut,
    RequestRefused,
    StreamInterrupted,
)
from providers.types import Started, TextDelta, Timeouts, Usage

CHAT, LLM, EMBEDDINGS = CHAT_WIRE.operation, LLM_CHAT_WIRE.operation, EMBEDDINGS_WIRE.operation
BREAKS = [
    StreamInterrupted(),
    ProviderTimedOut(phase="idle"),
    BadAnswer(),
    BadAnswer(code="upstream_too_large"),
]
BEFORE_A_HEAD = [
    ConnectFailed(),
    StreamInterrupted(),
    ProviderTimedOut(phase="first_token"),
    BadAnswer(),
    ProviderOverloaded(status=500),
]
DECLARED = [ProviderRateLimited(), ProviderOverloaded(), RequestRefused(), ContextTooLong(), CredentialRefused()]
REPORTED = b'{"error": {"message": "no", "code": "server_error"}}'


def relaying(*scripts, of="openai.chat"):
    return FakeAdapter(*scripts, relays={of})


def accepted(error):
    """Return an error of an adapter that has had the head of a good answer."""
    error.is_accepted = True
    return error


async def events_of_failure(pipeline, exchange):
    """Return the events of a request that fails before its client has anything."""
    with pytest.raises(GatewayError):
        await pipeline.call(exchange)
    return await pipeline.settled()


def check_estimated(event, exchange, *, output_tokens=0):
    usage = Usage(input_tokens=guess_tokens(exchange.measured()), output_tokens=output_tokens)
    assert (event.usage_source, event.input_tokens, event.output_tokens) == (
        "estimated",
        usage.input_tokens,
        output_tokens,
    )
    assert event.cost_nusd == cost(PRICE, usage) > 0


def check_free(event):
    assert (event.usage_source, event.input_tokens, event.output_tokens, event.cost_nusd) == ("none", 0, 0, 0)


@pytest.mark.parametrize("bills_on", [False, True])
@pytest.mark.parametrize("error", BREAKS, ids=lambda error: error.code)
@pytest.mark.parametrize(
    ("stream", "script"),
    [(False, []), (False, [WHOLE[:40]]), (True, []), (True, [HEAD])],
    ids=["whole", "half", "stream", "lifecycle"],
)
async def test_a_relay_that_breaks_behind_its_head_is_charged(pipeline, stream, script, error, bills_on):
    """Streamed or not it costs the same, whatever the vendor says of calls that are cut."""
    adapter = relaying([*script, error])
    exchange = pipeline.exchange(CHAT, adapter, stream=stream, retries=0, bills_on=bills_on)
    [event] = await events_of_failure(pipeline, exchange)
    check_estimated(event, exchange)
    assert (event.status, event.error_code) == (200, error.code)
    assert adapter.opened[0].is_closed


@pytest.mark.parametrize("body", [b"", b"<html>", WHOLE[:40], b"[]", b'{"choices": []}'])
async def test_a_body_that_is_no_answer_is_charged(pipeline, body):
    exchange = pipeline.exchange(CHAT, relaying([body]), retries=0)
    [event] = await events_of_failure(pipeline, exchange)
    check_estimated(event, exchange)


async def test_an_error_in_the_place_of_an_answer_is_free(pipeline):
    """Whether a provider says that it failed by its status or in a good answer's body, it does not bill it."""
    exchange = pipeline.exchange(CHAT, relaying([REPORTED]), retries=0)
    [event] = await events_of_failure(pipeline, exchange)
    check_free(event)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", DECLARED, ids=lambda error: error.code)
async def test_so_is_one_that_an_adapter_was_told_within_an_answer(pipeline, stream, error):
    exchange = pipeline.exchange(CHAT, FakeAdapter(accepted(error)), stream=stream, retries=0)
    [event] = await events_of_failure(pipeline, exchange)
    check_free(event)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("error", BREAKS, ids=lambda error: error.code)
async def test_one_that_an_adapter_could_not_read_is_charged(pipeline, stream, error):
    exchange = pipeline.exchange(CHAT, FakeAdapter(accepted(error)), stream=stream, retries=0)
    [event] = await events_of_failure(pipeline, exchange)
    check_estimated(event, exchange)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("make", [relaying, FakeAdapter])
@pytest.mark.parametrize("error", BEFORE_A_HEAD, ids=lambda error: type(error).__name__)
async def test_what_fails_before_its_head_is_not(pipeline, make, error, stream):
    exchange = pipeline.exchange(CHAT, make(error), stream=stream, retries=0)
    [event] = await events_of_failure(pipeline, exchange)
    check_free(event)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("bills_on", "phase"), [(True, "first_token"), (True, "connect"), (False, "first_token")])
async def test_a_clock_that_ran_out_before_the_head_is_charged_where_that_is_billed(pipeline, stream, bills_on, phase):
    error = ProviderTimedOut(phase=phase)
    exchange = pipeline.exchange(CHAT, relaying(error), stream=stream, retries=0, bills_on=bills_on)
    [event] = await events_of_failure(pipeline, exchange)
    if bills_on and phase != "connect":
        check_estimated(event, exchange)
    else:
        check_free(event)


async def test_an_answer_that_is_gathered_from_events_is_charged_for_those_that_came(pipeline):
    exchange = pipeline.exchange(CHAT, FakeAdapter([*ANSWER[:3], StreamInterrupted()]), retries=0)
    [event] = await events_of_failure(pipeline, exchange)
    check_estimated(event, exchange, output_tokens=2)


@pytest.mark.parametrize("ending", [StreamInterrupted(), HANG])
async def test_what_was_said_before_any_content_is_charged(pipeline, ending):
    """Thoughts that the client's dialect has no words for are output all the same."""
    said = [Started(id="a-1", model="up", created=1), *[TextDelta(text="")] * 3]
    quick = Timeouts(first_token_s=0.05)
    exchange = pipeline.exchange(LLM, FakeAdapter([*said, ending]), stream=True, retries=0, timeouts=quick)
    [event] = await events_of_failure(pipeline, exchange)
    check_estimated(event, exchange, output_tokens=3)


async def test_vectors_that_cannot_be_read_are_charged(pipeline):
    adapter = FakeAdapter(accepted(BadAnswer()), BadAnswer())
    exchange = pipeline.exchange(EMBEDDINGS, adapter, document={"input": "hi there"}, retries=1)
    first, second = await events_of_failure(pipeline, exchange)
    check_estimated(first, exchange)
    check_free(second)


async def test_a_count_of_tokens_never_costs_anything(pipeline):
    operation = COUNT_TOKENS_WIRE.operation
    exchange = pipeline.exchange(operation, relaying([StreamInterrupted()], of=operation.relay), retries=0)
    [event] = await events_of_failure(pipeline, exchange)
    check_free(event)


async def test_a_count_of_tokens_that_its_client_leaves_costs_nothing(pipeline):
    operation = COUNT_TOKENS_WIRE.operation
    exchange = pipeline.exchange(operation, relaying([HANG], of=operation.relay), retries=0)
    call = asyncio.ensure_future(pipeline.call(exchange))
    await asyncio.sleep(0.02)
    call.cancel()
    await asyncio.wait([call])
    [event] = await pipeline.settled()
    assert (event.outcome, event.cost_nusd) == ("cancelled", 0)


@pytest.mark.parametrize("price", [PRICE, None])
async def test_a_count_of_tokens_takes_no_money_and_one_made_here_calls_nobody(pipeline, price):
    pipeline.policies.policy = BUDGETED
    document = {"messages": [{"role": "user", "content": "hi"}]}
    exchange = pipeline.exchange(
        COUNT_TOKENS_WIRE.operation, FakeAdapter(), document=document, price=price, max_cost_nusd=0
    )
    await pipeline.call(exchange)
    [demand] = pipeline.accounts.demands
    assert (demand.fixed_nusd, demand.rate_nusd, demand.unpriced) == (0, 0, None)
    assert (exchange.calls, exchange.provider, exchange.cost_nusd) == (0, None, 0)


@pytest.mark.parametrize("stream", [False, True])
async def test_every_try_is_charged_and_the_hold_is_settled_to_their_sum(pipeline, stream):
    pipeline.policies.policy = BUDGETED
    broken = [HEAD, StreamInterrupted()] if stream else [WHOLE[:40], StreamInterrupted()]
    adapters = relaying(broken), relaying(ConnectFailed()), FakeAdapter(ANSWER)
    exchange = pipeline.exchange(CHAT, *adapters, stream=stream, retries=2)
    answer = await pipeline.call(exchange)
    if stream:
        assert (await read_out(answer)).endswith(DONE)
    first, second, third = await pipeline.settled()
    check_estimated(first, exchange)
    check_free(second)
    assert third.cost_nusd == cost(PRICE, USAGE)
    assert exchange.cost_nusd == pipeline.accounts.amounts.cost_nusd == first.cost_nusd + third.cost_nusd
    assert pipeline.accounts.grant is not None
    assert not pipeline.accounts.voided


async def test_both_calls_of_a_hedge_are_charged(pipeline):
    gate = asyncio.Event()
    slow, quick = relaying(Held(gate, [WHOLE[:40], StreamInterrupted()])), relaying([WHOLE[:40], StreamInterrupted()])
    hedge = {"hedge": Hedge(after_s=0.01, budget=1.0)}
    exchange = pipeline.exchange(CHAT, slow, quick, retries=0, route=hedge)
    call = asyncio.ensure_future(events_of_failure(pipeline, exchange))
    async with asyncio.timeout(20):
        while not quick.opened:  # noqa: ASYNC110 - the adapter has no event to wait for
            await asyncio.sleep(0.005)
    gate.set()
    first, second = await call
    check_estimated(first, exchange)
    check_estimated(second, exchange)


@pytest.fixture
def unmeasurable(monkeypatch):
    """Let no prompt be measured, as by a defect."""

    def measure(document, *, size_bytes):
        raise TypeError("unhashable type: 'list'")

    monkeypatch.setattr("app.pipeline.exchange.measure", measure)


def check_charged_by_its_bytes(event, exchange, *, output_tokens):
    assert (event.usage_source, event.output_tokens) == ("estimated", output_tokens)
    assert event.input_tokens == -(-len(exchange.body) // 4)
    assert event.cost_nusd == cost(PRICE, Usage(input_tokens=event.input_tokens, output_tokens=output_tokens)) > 0


@pytest.mark.parametrize("script", [[HEAD, *TEXTS, STOP, DONE], [*ANSWER[:-1]]], ids=["relayed", "translated"])
async def test_a_prompt_that_cannot_be_measured_is_charged_by_its_bytes(pipeline, script, unmeasurable, caplog):
    pipeline.policies.policy = BUDGETED
    adapter = relaying(script) if isinstance(script[0], bytes) else FakeAdapter(script)
    exchange = pipeline.exchange(CHAT, adapter, stream=True, retries=0)
    assert (await read_out(await pipeline.call(exchange))).endswith(DONE)
    [event] = await pipeline.settled()
    check_charged_by_its_bytes(event, exchange, output_tokens=event.output_tokens)
    assert event.output_tokens > 0
    [defect] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert exchange.request_id in defect.getMessage()
    assert defect.exc_info is not None


@pytest.mark.parametrize("script", [[HEAD, *TEXTS, HANG], [*ANSWER[:3], HANG]], ids=["relayed", "translated"])
async def test_so_it_is_of_a_client_that_leaves(pipeline, script, unmeasurable):
    adapter = relaying(script) if isinstance(script[0], bytes) else FakeAdapter(script)
    exchange = pipeline.exchange(CHAT, adapter, stream=True, retries=0)
    answer = await pipeline.call(exchange)
    await answer.live.read()
    answer.live.close()
    [event] = await pipeline.settled()
    assert event.outcome == "cancelled"
    check_charged_by_its_bytes(event, exchange, output_tokens=event.output_tokens)


async def test_a_stream_that_cannot_be_let_go_of_is_settled_all_the_same(pipeline, monkeypatch):
    exchange = pipeline.exchange(CHAT, relaying([HEAD, *TEXTS, HANG]), stream=True, retries=0)
    answer = await pipeline.call(exchange)
    await answer.live.read()

    def close(self):
        raise RuntimeError("a defect")

    monkeypatch.setattr("scripted_pipeline.Bytes.close", close)
    with pytest.raises(RuntimeError, match="a defect"):
        answer.live.close()
    [event] = await pipeline.settled()
    assert event.outcome == "cancelled"
    check_estimated(event, exchange, output_tokens=1)
