import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from scripted_pipeline import (
    ANSWER,
    BUDGETED,
    DONE,
    HEAD,
    LIMITED,
    PRICE,
    STREAM,
    TEXTS,
    USAGE,
    WHOLE,
    FakeAdapter,
    read_out,
    read_until_broken,
)

from app.api.llm.chat import LLM_CHAT_WIRE
from app.api.openai.completions import COMPLETIONS_WIRE
from app.api.openai.paths import CHAT_WIRE, EMBEDDINGS_WIRE
from app.domain.prices import bound, cost
from app.kernel.errors import GatewayError, InvalidRequest, ModelNotPriced
from app.kernel.ids import attempt_id
from app.kernel.money import format_usd
from app.limits.accounts import Amounts
from app.limits.estimate import Prompt, guess_tokens
from app.limits.policy import Policy
from app.pipeline.demand import DEFAULT_OUTPUT_CAP, MIN_OUTPUT_TOKENS, Demands
from app.pipeline.meter import add_note, add_note_to_element
from app.pipeline.references import Reference
from app.pipeline.ring import compose
from app.settings.model import Hedge
from app.stores.accounts import Money, money_of
from providers.errors import StreamInterrupted
from providers.framing import sse
from providers.types import Usage

CHAT = CHAT_WIRE.operation
COST = format_usd(cost(PRICE, USAGE))


def relaying(*scripts):
    return FakeAdapter(*scripts, relays=["openai.chat"])


@pytest.mark.parametrize(("stream", "says"), [(True, 1), (False, 2)])
@pytest.mark.parametrize("hedges_at", ["itself", "fallback"])
async def test_two_calls_are_reserved_where_two_may_be_made(pipeline, stream, says, hedges_at):
    pipeline.policies.policy = BUDGETED
    hedge = {"hedge": Hedge(after_s=9.0)}
    for route in ({}, hedge):
        script = STREAM if stream else [WHOLE]
        exchange = pipeline.exchange(
            CHAT, relaying(script), stream=stream, route=route if hedges_at == "itself" else {}
        )
        if hedges_at == "fallback":
            exchange.alternatives = {"other": structs.replace(exchange.route, name="other", **route)}
        await pipeline.call(exchange)
    alone, hedged = pipeline.accounts.demands
    assert (hedged.fixed_nusd, hedged.rate_nusd) == (alone.fixed_nusd * 2, alone.rate_nusd * says)


def note_of(frame):
    return json.loads(sse.data_of(frame))["gateway"]


def is_the_note(exchange, note):
    counts = {"input_tokens": 100, "output_tokens": 7, "cache_read_tokens": 20, "cache_write_tokens": 3}
    return note == {
        "request_id": exchange.request_id,
        "provider": "p0",
        "model": "public",
        "cost": COST,
        "usage": counts | {"reasoning_tokens": 2},
        "price_version": PRICE.version,
        "cache": "off",
    }


async def test_a_whole_answer_gets_the_cost_in_its_body(pipeline):
    exchange = pipeline.exchange(CHAT, relaying([WHOLE]), includes_cost=True)
    body = (await pipeline.call(exchange)).body
    assert is_the_note(exchange, json.loads(body)["gateway"])
    assert body.startswith(WHOLE[:-1])


@pytest.mark.parametrize("script", [STREAM, [b"".join(STREAM)], [HEAD, TEXTS[0] + TEXTS[1], b"".join(STREAM[3:])]])
async def test_a_relayed_stream_gets_the_cost_in_its_last_data_frame(pipeline, script):
    exchange = pipeline.exchange(CHAT, relaying(script), stream=True, includes_cost=True)
    text = await read_out(await pipeline.call(exchange))
    *frames, last, end = sse.split_frames(text)
    assert end == DONE
    assert is_the_note(exchange, note_of(last))
    assert not any(b"gateway" in frame for frame in frames)
    assert b"".join(frames) == b"".join([HEAD, *TEXTS])


@pytest.mark.parametrize("operation", [CHAT, LLM_CHAT_WIRE.operation])
async def test_a_translated_stream_gets_the_cost_in_its_last_data_frame(pipeline, operation):
    exchange = pipeline.exchange(operation, FakeAdapter(ANSWER), stream=True, includes_cost=True)
    frames = sse.split_frames(await read_out(await pipeline.call(exchange)))
    assert frames[-1] == DONE
    assert is_the_note(exchange, note_of(frames[-2]))


async def test_what_came_before_a_break_is_given_away_first(pipeline):
    exchange = pipeline.exchange(CHAT, relaying([HEAD, *TEXTS, StreamInterrupted()]), stream=True, includes_cost=True)
    answer = await pipeline.call(exchange)
    parts, error = await read_until_broken(answer)
    assert isinstance(error, StreamInterrupted)
    assert b"".join(parts) == b"".join([HEAD, *TEXTS])
    assert [event.outcome for event in await pipeline.settled()] == ["interrupted"]


async def test_nobody_who_did_not_ask_gets_a_note(pipeline):
    assert (await pipeline.call(pipeline.exchange(CHAT, relaying([WHOLE])))).body == WHOLE


@pytest.mark.parametrize(
    ("frames", "wanted"),
    [
        (b'data: {"a":1}\n\ndata: [DONE]\n\n', b'data: {"a":1,"gateway":{}}\n\ndata: [DONE]\n\n'),
        (b'event: x\ndata: {"a":1}\n\n: bye\n\n', b'event: x\ndata: {"a":1,"gateway":{}}\n\n: bye\n\n'),
        (b"data: {}\r\n\r\n", b'data: {"gateway":{}}\n\n'),
        (b'data: {"a":1,"a":2}\n\n', b'data: {"a":1,"a":2}\n\n'),
        (b"data: [DONE]\n\n", b"data: [DONE]\n\n"),
        (b": nothing\n\n", b": nothing\n\n"),
        (b"", b""),
    ],
)
def test_the_note_goes_into_the_last_object(frames, wanted):
    assert add_note(frames, b"{}") == wanted


async def test_a_request_within_its_bound_goes_on_uncapped(pipeline):
    adapter = relaying([WHOLE])
    exchange = pipeline.exchange(CHAT, adapter, document={"max_tokens": 10}, max_cost_nusd=10**9)
    await pipeline.call(exchange)
    assert exchange.output_cap is None
    assert adapter.calls[0][0].output_cap is None


async def refused(pipeline, exchange):
    with pytest.raises(InvalidRequest) as caught:
        await pipeline.call(exchange)
    assert not exchange.attempts
    assert not await pipeline.settled()
    return caught.value


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
async def test_a_request_that_may_cost_too_much_is_refused_before_anybody_is_called(pipeline, field):
    exchange = pipeline.exchange(CHAT, relaying([WHOLE]), document={field: 100_000}, max_cost_nusd=1_000)
    error = await refused(pipeline, exchange)
    assert (error.code, error.param) == ("max_cost_exceeded", "x-gateway-max-cost")


async def test_a_request_that_not_even_the_least_output_fits_is_refused(pipeline):
    assert (await refused(pipeline, pipeline.exchange(CHAT, relaying(), max_cost_nusd=0))).code == "max_cost_exceeded"


async def test_many_answers_are_counted_each(pipeline):
    document = {"max_tokens": 100}
    size = len(pipeline.exchange(CHAT, relaying(), document=document).body) + 8
    tokens_in = guess_tokens(Prompt(size))
    most = bound(PRICE, input_tokens=tokens_in, output_tokens=100)
    await pipeline.call(pipeline.exchange(CHAT, relaying([WHOLE]), document=document, max_cost_nusd=most))
    pipeline.events.clear()
    error = await refused(
        pipeline, pipeline.exchange(CHAT, relaying(), document=document | {"n": 3}, max_cost_nusd=most)
    )
    assert error.code == "max_cost_exceeded"


@pytest.mark.parametrize(
    "document", [{"n": -5}, {"n": 0}, {"n": None}, {"n": 10**6}, {"max_tokens": 1, "max_completion_tokens": 10**9}]
)
async def test_odd_numbers_do_not_get_around_the_bound(pipeline, document):
    exchange = pipeline.exchange(CHAT, relaying(), document=document, max_cost_nusd=1)
    assert (await refused(pipeline, exchange)).code == "max_cost_exceeded"


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("value", [0, -1])
async def test_a_cap_that_may_mean_none_bounds_nothing(pipeline, field, value):
    exchange = pipeline.exchange(CHAT, relaying(), document={field: value}, max_cost_nusd=10**9)
    assert (await refused(pipeline, exchange)).param == field


@given(st.integers(0, 10**9), st.integers(0, 200_000), st.integers(1, 8))
def test_the_cap_is_the_largest_that_is_affordable(most, tokens_in, choices):
    def worst_of(out):
        return bound(PRICE, input_tokens=tokens_in, output_tokens=out * choices)

    cap = Demands._affordable(worst_of, most)
    assert MIN_OUTPUT_TOKENS <= cap <= DEFAULT_OUTPUT_CAP
    worst = [worst_of(cap), worst_of(cap + 1)]
    assert worst[0] <= most or cap == MIN_OUTPUT_TOKENS
    assert worst[1] > most or cap == DEFAULT_OUTPUT_CAP


async def test_an_uncapped_request_is_capped_on_either_way(pipeline):
    relayed, translated = relaying([WHOLE]), FakeAdapter(ANSWER)
    for adapter in (relayed, translated):
        exchange = pipeline.exchange(CHAT, adapter, max_cost_nusd=100_000)
        await pipeline.call(exchange)
        assert MIN_OUTPUT_TOKENS <= exchange.output_cap < DEFAULT_OUTPUT_CAP
    assert relayed.calls[0][0].output_cap == translated.calls[0][0].max_output_tokens == exchange.output_cap


async def test_a_bound_needs_a_price(pipeline):
    with pytest.raises(ModelNotPriced):
        await pipeline.call(pipeline.exchange(CHAT, relaying(), price=None, max_cost_nusd=1))


async def test_embeddings_are_bounded_by_their_input(pipeline):
    exchange = pipeline.exchange(EMBEDDINGS_WIRE.operation, FakeAdapter(), document={"input": "x"}, max_cost_nusd=1)
    assert (await refused(pipeline, exchange)).code == "max_cost_exceeded"


@pytest.mark.parametrize("operation", [CHAT, COMPLETIONS_WIRE.operation])
async def test_another_cap_by_a_name_that_only_some_server_reads_is_refused(pipeline, operation):
    document = {"max_tokens": 10, "prompt": "hi", "n_predict": 1 << 30}
    exchange = pipeline.exchange(operation, relaying(), document=document, max_cost_nusd=10**9)
    assert (await refused(pipeline, exchange)).param == "n_predict"


async def test_what_a_provider_adds_out_of_its_store_cannot_be_bounded(pipeline):
    exchange = pipeline.exchange(CHAT, relaying(), document={"max_tokens": 10}, max_cost_nusd=10**9)
    exchange.references = [Reference("previous_response_id", "previous_response_id", "resp_1")]
    assert (await refused(pipeline, exchange)).param == "previous_response_id"
    document = {"max_tokens": 10, "web_search_options": {}}
    hosted = pipeline.exchange(CHAT, relaying(), document=document, max_cost_nusd=10**9)
    assert (await refused(pipeline, hosted)).param == "web_search_options"


async def test_what_is_limited_is_reserved_as_it_is_guessed(pipeline):
    pipeline.policies.policy = LIMITED
    exchange = pipeline.exchange(CHAT, relaying([WHOLE]), relaying(), document={"max_tokens": 50, "n": 2}, price=None)
    await pipeline.call(exchange)
    [demand] = pipeline.accounts.demands
    tokens_in = guess_tokens(Prompt(len(exchange.body)))
    assert (demand.model, demand.input_tokens, demand.output_tokens) == ("public", tokens_in, 100)
    assert (demand.fixed_nusd, demand.rate_nusd) == (0, 0)
    assert pipeline.accounts.grant is exchange.grant
    assert pipeline.accounts.amounts == Amounts(input_tokens=123, output_tokens=7, cost_nusd=0)
    assert len(pipeline.holds) == 0


async def test_what_has_a_budget_holds_what_its_dearest_case_costs(pipeline):
    pipeline.policies.policy = BUDGETED
    exchange = pipeline.exchange(CHAT, relaying([WHOLE]), relaying(), document={"max_tokens": 50, "n": 2})
    await pipeline.call(exchange)
    [demand] = pipeline.accounts.demands
    size = len(exchange.body)
    most = money_of(Money(demand.fixed_nusd, demand.rate_nusd, demand.cap), demand.cap)
    assert (demand.cap, demand.choices, demand.is_priced) == (100, 2, True)
    assert bound(PRICE, input_tokens=size, output_tokens=100) <= most
    assert most <= bound(PRICE, input_tokens=size, output_tokens=100) + 1
    [orphan] = pipeline.accounts.orphaned
    assert (orphan.usage_source, orphan.event_id) == ("orphan", attempt_id(exchange.request_uuid, 1))
    assert orphan.cost_nusd == cost(PRICE, Usage(input_tokens=guess_tokens(Prompt(size))))


async def test_a_model_without_a_price_has_no_demand_for_money(pipeline):
    pipeline.policies.policy = BUDGETED
    await pipeline.call(pipeline.exchange(CHAT, relaying([WHOLE]), price=None))
    [demand] = pipeline.accounts.demands
    assert (demand.unpriced, demand.is_priced) == ("public", False)


@pytest.mark.parametrize(
    ("asked", "granted", "sent"),
    [({}, 40, 40), ({"max_tokens": 30}, 40, None), ({"max_tokens": 50}, 40, 40), ({"n": 2}, 41, 20)],
)
async def test_what_a_budget_pays_for_is_sent_upstream(pipeline, asked, granted, sent):
    pipeline.policies.policy = BUDGETED
    pipeline.accounts.cap = granted
    adapter = relaying([WHOLE])
    await pipeline.call(pipeline.exchange(CHAT, adapter, document=asked))
    [(request, _)] = adapter.calls
    assert request.output_cap == sent


@pytest.mark.parametrize(("asked", "sent"), [({}, 12), ({"max_tokens": 10}, None), ({"max_tokens": 13}, 12)])
async def test_the_cap_of_a_key_is_sent_upstream(pipeline, asked, sent):
    pipeline.policies.policy = Policy(partition=0, output_cap=12)
    adapter = relaying([WHOLE])
    await pipeline.call(pipeline.exchange(CHAT, adapter, document=asked))
    [(request, _)] = adapter.calls
    assert request.output_cap == sent
    assert not pipeline.accounts.demands


async def test_what_was_held_for_an_attempt_that_was_never_made_is_given_back(pipeline):
    pipeline.policies.policy = LIMITED
    exchange = pipeline.exchange(CHAT, relaying([WHOLE]))

    async def fail(exchange):
        raise InvalidRequest("a defect after admission")

    admitted = compose([pipeline.meter, pipeline.admit], fail)
    with pytest.raises(InvalidRequest):
        await admitted(exchange)
    await pipeline.settled()
    assert pipeline.accounts.voided == [exchange.grant]
    assert not pipeline.events
    assert len(pipeline.holds) == 0


async def test_what_is_not_limited_is_not_reserved(pipeline):
    await pipeline.call(pipeline.exchange(CHAT, relaying([WHOLE])))
    assert not pipeline.accounts.demands
    assert pipeline.accounts.grant is None


@pytest.mark.parametrize(
    ("document", "cap"),
    [
        ({}, None),
        ({"max_tokens": None}, None),
        ({"max_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 9}, 9),
        ({"max_tokens": -1}, None),
    ],
)
def test_the_cap_that_a_client_asks_for(document, cap):
    assert CHAT.vocabulary.asked_cap(document) == cap


@pytest.mark.parametrize(
    ("elements", "wanted"),
    [
        (b'[{"a":1}]', b'[{"a":1,"gateway":{"c":2}}]'),
        (b'[{"a":1},\r\n{"b":"}]"}]', b'[{"a":1},\r\n{"b":"}]","gateway":{"c":2}}]'),
        (b',\r\n{"b":{"x":"\\u0041"}}]', b',\r\n{"b":{"x":"\\u0041"},"gateway":{"c":2}}]'),
        (b"]", b"]"),
        (b"", b""),
        (b',\r\n{"cut', b',\r\n{"cut'),
    ],
)
def test_the_last_element_of_an_array_takes_the_note(elements, wanted):
    assert add_note_to_element(elements, b'{"c":2}') == wanted


@pytest.mark.parametrize(
    ("fields", "policy", "code"),
    [
        ({"max_cost_nusd": 1}, Policy(partition=0), "max_cost_exceeded"),
        ({"max_cost_nusd": 1, "price": None}, Policy(partition=0), ModelNotPriced.code),
        ({"document": {"max_tokens": 0}}, BUDGETED, InvalidRequest.code),
    ],
)
async def test_what_is_refused_before_the_store_is_asked_is_noted_too(pipeline, fields, policy, code):
    pipeline.policies.policy = policy
    exchange = pipeline.exchange(CHAT, relaying([WHOLE]), **fields)
    with pytest.raises(GatewayError):
        await pipeline.call(exchange)
    (step,) = exchange.notes.steps
    assert (step.layer, step.verdict, step.error_code) == ("limits", "refused", code)
    assert pipeline.accounts.demands == []
