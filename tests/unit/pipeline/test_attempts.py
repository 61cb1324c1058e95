import asyncio
import json
import time

import msgspec
import pytest
from scripted_pipeline import (
    ANSWER,
    COUNTS,
    DONE,
    HANG,
    HEAD,
    PRICE,
    STOP,
    STREAM,
    TEXTS,
    USAGE,
    WHOLE,
    FakeAdapter,
    frame,
    read_out,
    read_until_broken,
)

from app.api.llm.chat import LLM_CHAT_WIRE
from app.api.openai.paths import CHAT_WIRE, EMBEDDINGS_WIRE
from app.domain.prices import cost
from app.kernel.errors import (
    GatewayError,
    NotFound,
    UpstreamFailed,
    UpstreamRateLimited,
    UpstreamRefused,
    UpstreamTimedOut,
)
from app.kernel.ids import attempt_id
from app.limits.estimate import Prompt, guess_tokens
from app.pipeline.routed import client_error
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
from providers.types import Embeddings, Finished, Started, TextDelta, Timeouts, Usage, UsageReported

CHAT = CHAT_WIRE.operation
LLM = LLM_CHAT_WIRE.operation
RELAYED = ("openai.chat",)
OVERLOADED = ProviderOverloaded(status=503)


def relaying(*scripts):
    return FakeAdapter(*scripts, relays=RELAYED)


def translating(*scripts):
    return FakeAdapter(*scripts)


def is_once_each(exchange, events):
    """Check that every attempt has one event, under its derived id."""
    ids = [attempt_id(exchange.request_uuid, number + 1) for number in range(len(exchange.attempts))]
    return [event.event_id for event in events] == ids


COUNTS_OF_ONE = frame(id="1", choices=[], usage={"prompt_tokens": 9, "completion_tokens": 1})
TOLD = [TextDelta(text=text) for text in "word"]
UNSAYABLE = [Started(id="a-1", model="up", created=1), TextDelta(text="")]


async def test_what_a_client_has_no_words_for_is_no_content(pipeline):
    adapter = translating([*UNSAYABLE, StreamInterrupted()], ANSWER)
    exchange = pipeline.exchange(LLM, adapter, stream=True, retries=1)
    assert b"lo" in await read_out(await pipeline.call(exchange))
    assert [event.outcome for event in await pipeline.settled()] == ["interrupted", "ok"]


async def test_a_whole_answer_without_any_words_is_one(pipeline):
    exchange = pipeline.exchange(LLM, translating([*UNSAYABLE, Finished(reason="stop")]), stream=True)
    assert b'"finished"' in await read_out(await pipeline.call(exchange))
    [event] = await pipeline.settled()
    assert event.outcome == "ok"


async def test_the_end_of_a_broken_relay_is_made_from_what_was_passed(pipeline):
    operation = msgspec.structs.replace(
        CHAT, say_break=lambda exchange, error, passed: repr((error.code, passed.ids, passed.last)).encode()
    )
    exchange = pipeline.exchange(operation, relaying([HEAD, *TEXTS, StreamInterrupted()]), stream=True)
    answer = await pipeline.call(exchange)
    for expected in (HEAD + TEXTS[0], TEXTS[1]):
        assert await answer.live.read() == expected
    with pytest.raises(StreamInterrupted):
        await answer.live.read()
    assert exchange.say_failure(UpstreamFailed()) == repr(("upstream_error", [], TEXTS[1])).encode()


@pytest.mark.parametrize(
    ("make", "unary", "stream"),
    [(relaying, [WHOLE], STREAM), (translating, ANSWER, ANSWER)],
    ids=["relay", "translate"],
)
async def test_a_call_costs_the_same_streamed_or_not(pipeline, make, unary, stream):
    whole, live = pipeline.exchange(CHAT, make(unary)), pipeline.exchange(CHAT, make(stream), stream=True)
    await pipeline.call(whole)
    await read_out(await pipeline.call(live))
    first, second = await pipeline.settled()
    assert first.cost_nusd == second.cost_nusd == cost(PRICE, USAGE)
    assert first.price_version == PRICE.version
    for event, exchange in ((first, whole), (second, live)):
        assert event.event_id == attempt_id(exchange.request_uuid, 1)
        assert (event.outcome, event.usage_source, event.status, event.error_code) == ("ok", "provider", 200, None)
        counts = (event.input_tokens, event.output_tokens, event.cache_read_tokens, event.cache_write_tokens)
        assert counts == (100, 7, 20, 3)
        assert event.reasoning_tokens == 2
        assert (event.provider, event.model, event.upstream_model) == ("p0", "public", "up")
        assert (event.stream, event.operation, event.dialect) == (exchange.stream, "chat", "openai")
    assert pipeline.accounts.calls == 2


async def test_the_same_dialect_is_relayed_byte_by_byte(pipeline):
    exchange = pipeline.exchange(CHAT, relaying([WHOLE]))
    assert (await pipeline.call(exchange)).body == WHOLE


async def test_a_relayed_stream_loses_only_the_usage_that_nobody_asked_for(pipeline):
    adapter = relaying(STREAM, STREAM)
    assert await read_out(await pipeline.call(pipeline.exchange(CHAT, adapter, stream=True))) == b"".join(
        [HEAD, *TEXTS, STOP, DONE]
    )
    asking = pipeline.exchange(CHAT, adapter, stream=True, keep_usage=True)
    assert await read_out(await pipeline.call(asking)) == b"".join(STREAM)
    assert all(answer.is_closed for answer in adapter.opened)


async def test_another_dialect_is_translated(pipeline):
    answer = await pipeline.call(pipeline.exchange(CHAT, translating(ANSWER)))
    body = json.loads(answer.body)
    assert body["choices"][0]["message"]["content"] == "Hello"
    text = await read_out(await pipeline.call(pipeline.exchange(LLM, relaying(ANSWER), stream=True)))
    assert text.endswith(DONE)
    finished = json.loads(text.split(b"data: ")[-2])
    assert finished["type"] == "finished"
    assert finished["output"]["content"] == "Hello"
    assert finished["cost"] == f"0.{cost(PRICE, USAGE):09d}"


async def test_embeddings_are_charged(pipeline):
    vectors = Embeddings(model="up", vectors=[[0.5]], usage=Usage(input_tokens=9))
    exchange = pipeline.exchange(EMBEDDINGS_WIRE.operation, translating(vectors), document={"input": "x"})
    body = json.loads((await pipeline.call(exchange)).body)
    assert body["data"][0]["embedding"] == [0.5]
    [event] = pipeline.events
    assert (event.operation, event.input_tokens, event.cost_nusd) == (
        "embeddings",
        9,
        cost(PRICE, Usage(input_tokens=9)),
    )


NO_USAGE = [event for event in ANSWER if not isinstance(event, UsageReported)]


@pytest.mark.parametrize(
    ("make", "script", "tokens_out"),
    [(relaying, [HEAD, *TEXTS, STOP, DONE], 3), (translating, NO_USAGE, 3)],
    ids=["relay", "translate"],
)
async def test_missing_usage_is_estimated_never_free(pipeline, make, script, tokens_out):
    exchange = pipeline.exchange(CHAT, make(script), stream=True)
    await read_out(await pipeline.call(exchange))
    [event] = await pipeline.settled()
    tokens_in = guess_tokens(Prompt(len(exchange.body)))
    assert (event.outcome, event.usage_source) == ("ok", "estimated")
    assert (event.input_tokens, event.output_tokens) == (tokens_in, tokens_out)
    assert event.cost_nusd == cost(PRICE, Usage(input_tokens=tokens_in, output_tokens=tokens_out))
    assert event.cost_nusd > 0


async def test_a_model_without_a_price_costs_nobody_knows_what(pipeline):
    exchange = pipeline.exchange(CHAT, relaying([WHOLE]), price=None)
    await pipeline.call(exchange)
    [event] = pipeline.events
    assert (event.cost_nusd, event.price_version, exchange.cost_nusd) == (None, None, None)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("make", [relaying, translating])
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RequestRefused("no", status=400, vendor_code="bad_n", param="n"), (UpstreamRefused, "bad_n")),
        (RequestRefused(status=404), (NotFound, "upstream_invalid_request")),
        (RequestRefused(status=404, vendor_code="model_not_found"), (NotFound, "model_not_found")),
        (ContextTooLong(status=400), (UpstreamRefused, "context_length_exceeded")),
        (ContextTooLong(status=400, vendor_code="ValidationException"), (UpstreamRefused, "context_length_exceeded")),
    ],
)
async def test_a_refusal_is_not_tried_again(pipeline, make, stream, error, kind):
    adapter, other = make(error), make(ANSWER)
    exchange = pipeline.exchange(CHAT, adapter, other, stream=stream)
    with pytest.raises(GatewayError) as caught:
        await pipeline.call(exchange)
    assert (type(caught.value), caught.value.code) == kind
    [event] = await pipeline.settled()
    assert (event.outcome, event.cost_nusd, event.input_tokens, event.error_code) == ("refused", 0, 0, error.code)
    assert event.status == error.status
    assert not other.calls


@pytest.mark.parametrize(
    "error",
    [
        OVERLOADED, ConnectFailed(), ProviderTimedOut(phase="connect"), StreamInterrupted(), BadAnswer(),
        CredentialRefused(status=401), ProviderRateLimited(status=429),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True])
async def test_what_may_work_elsewhere_is_tried_elsewhere(pipeline, error, stream):
    exchange = pipeline.exchange(CHAT, translating(error), translating(ANSWER), stream=stream)
    answer = await pipeline.call(exchange)
    if stream:
        await read_out(answer)
    failed, served = await pipeline.settled()
    assert is_once_each(exchange, [failed, served])
    assert (failed.provider, failed.cost_nusd, failed.error_code) == ("p0", 0, error.code)
    assert (served.provider, served.outcome, served.cost_nusd) == ("p1", "ok", cost(PRICE, USAGE))
    assert exchange.cost_nusd == cost(PRICE, USAGE)


async def test_the_same_provider_is_tried_again_after_a_pause(pipeline):
    exchange = pipeline.exchange(CHAT, relaying(OVERLOADED, OVERLOADED, [WHOLE]))
    assert (await pipeline.call(exchange)).body == WHOLE
    assert [event.outcome for event in pipeline.events] == ["error", "error", "ok"]
    assert is_once_each(exchange, pipeline.events)


async def test_when_all_fail_the_last_says_why(pipeline):
    exchange = pipeline.exchange(CHAT, relaying(OVERLOADED, ConnectFailed()), relaying(ProviderTimedOut()), retries=2)
    with pytest.raises(UpstreamFailed) as caught:
        await pipeline.call(exchange)
    events = await pipeline.settled()
    assert caught.value.code == "upstream_unreachable"
    assert [event.provider for event in events] == ["p0", "p1", "p0"]
    assert [event.outcome for event in events] == ["error", "timeout", "error"]
    assert is_once_each(exchange, events)
    assert pipeline.accounts.calls == 1


async def test_without_retries_there_is_one_attempt(pipeline):
    adapter = relaying(OVERLOADED, [WHOLE])
    with pytest.raises(UpstreamFailed):
        await pipeline.call(pipeline.exchange(CHAT, adapter, retries=0))
    assert len(adapter.calls) == 1


async def test_a_provider_that_asks_for_a_long_wait_is_not_waited_for(pipeline):
    adapter = relaying(ProviderRateLimited(status=429, retry_after_s=30), [WHOLE])
    with pytest.raises(UpstreamRateLimited) as caught:
        await pipeline.call(pipeline.exchange(CHAT, adapter))
    assert caught.value.retry_after_s == 30
    assert len(adapter.calls) == 1


async def test_no_pause_goes_past_the_deadline(pipeline):
    adapter = relaying(ProviderRateLimited(status=429, retry_after_s=1), [WHOLE])
    exchange = pipeline.exchange(CHAT, adapter)
    exchange.deadline_ns = pipeline.clock.monotonic_ns() + 500_000_000
    with pytest.raises(UpstreamRateLimited):
        await pipeline.call(exchange)
    assert len(adapter.calls) == 1


@pytest.mark.parametrize(
    ("make", "empty"),
    [
        (relaying, [HEAD, DONE]),
        (relaying, [DONE]),
        (relaying, [b": comment\n\n", HEAD]),
        (translating, [ANSWER[0]]),
        (translating, []),
    ],
)
async def test_a_stream_without_content_is_tried_elsewhere(pipeline, make, empty):
    first, second = make(empty), translating(ANSWER)
    exchange = pipeline.exchange(CHAT, first, second, stream=True)
    text = await read_out(await pipeline.call(exchange))
    assert text.endswith(DONE)
    prompt = Usage(input_tokens=guess_tokens(exchange.measured()))
    assert [event.cost_nusd for event in await pipeline.settled()] == [cost(PRICE, prompt), cost(PRICE, USAGE)]
    assert first.opened[0].is_closed


@pytest.mark.parametrize("make", [relaying, translating])
async def test_a_provider_that_sends_no_content_in_time_is_left(pipeline, make):
    head = [HEAD, HANG] if make is relaying else [ANSWER[0], HANG]
    adapter = make(head)
    exchange = pipeline.exchange(CHAT, adapter, stream=True, retries=0, timeouts=Timeouts(first_token_s=0.02))
    with pytest.raises(UpstreamTimedOut):
        await pipeline.call(exchange)
    [event] = await pipeline.settled()
    assert (event.outcome, event.usage_source, event.error_code) == ("timeout", "estimated", "upstream_timeout")
    assert event.cost_nusd == cost(PRICE, Usage(input_tokens=guess_tokens(exchange.measured())))
    assert adapter.opened[0].is_closed


@pytest.mark.parametrize(
    ("make", "script", "tokens_out"),
    [
        (relaying, [HEAD, *TEXTS, StreamInterrupted()], 2),
        (relaying, [HEAD, *TEXTS], 2),
        (relaying, [HEAD, *TEXTS, b'data: {"error": {"code": 500}}\n\n'], 2),
        (translating, [*ANSWER[:3], StreamInterrupted()], 2),
    ],
)
async def test_what_was_delivered_before_a_break_is_charged(pipeline, make, script, tokens_out):
    exchange = pipeline.exchange(CHAT, make(script), stream=True)
    answer = await pipeline.call(exchange)
    parts, _ = await read_until_broken(answer)
    [event] = await pipeline.settled()
    assert b"Hel" in b"".join(parts)
    assert DONE not in b"".join(parts)
    assert event.outcome in {"interrupted", "error"}
    assert (event.usage_source, event.output_tokens) == ("estimated", tokens_out)
    assert event.cost_nusd == cost(PRICE, Usage(input_tokens=event.input_tokens, output_tokens=tokens_out))


async def started(work):
    task = asyncio.create_task(work)
    for _ in range(10):
        await asyncio.sleep(0)
    return task


async def cancelled(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("is_expired", [False, True])
@pytest.mark.parametrize("make", [relaying, translating])
async def test_a_client_that_leaves_before_the_head_pays_for_its_prompt(pipeline, make, is_expired):
    exchange = pipeline.exchange(CHAT, make(HANG))
    task = await started(pipeline.call(exchange))
    if is_expired:
        exchange.expire()
    await cancelled(task)
    [event] = await pipeline.settled()
    assert event.outcome == ("timeout" if is_expired else "cancelled")
    assert event.error_code == ("upstream_timeout" if is_expired else None)
    assert (event.usage_source, event.output_tokens) == ("estimated", 0)
    assert event.cost_nusd == cost(PRICE, Usage(input_tokens=guess_tokens(Prompt(len(exchange.body)))))


@pytest.mark.parametrize(
    ("make", "script"),
    [(relaying, [HEAD, *TEXTS, HANG]), (translating, [*ANSWER[:3], HANG])],
    ids=["relay", "translate"],
)
async def test_a_client_that_leaves_in_mid_stream_pays_for_what_it_got(pipeline, make, script):
    adapter = make(script)
    answer = await pipeline.call(pipeline.exchange(CHAT, adapter, stream=True))

    async def read_on():
        try:
            while True:
                await answer.live.read()
        finally:
            answer.live.close()

    await cancelled(await started(read_on()))
    [event] = await pipeline.settled()
    assert (event.outcome, event.output_tokens, event.usage_source) == ("cancelled", 2, "estimated")
    assert event.cost_nusd > 0
    assert adapter.opened[0].is_closed


async def test_a_client_that_leaves_between_two_reads_pays_for_what_it_got(pipeline):
    adapter = relaying(STREAM)
    answer = await pipeline.call(pipeline.exchange(CHAT, adapter, stream=True))
    await answer.live.read()
    answer.live.close()
    answer.live.close()
    [event] = await pipeline.settled()
    assert (event.outcome, event.output_tokens) == ("cancelled", 1)
    assert adapter.opened[0].is_closed


@pytest.mark.parametrize(
    ("make", "script"),
    [
        (relaying, [HEAD, TEXTS[0], COUNTS_OF_ONE, *TEXTS, *TEXTS, HANG]),
        (translating, [*ANSWER[:2], UsageReported(usage=Usage(input_tokens=9, output_tokens=1)), *TOLD, HANG]),
        (translating, [ANSWER[0], UsageReported(usage=Usage(input_tokens=9)), *TOLD, ANSWER[1], HANG]),
    ],
    ids=["relay", "translate", "nothing yet"],
)
async def test_an_early_count_is_not_all_that_a_client_got(pipeline, make, script):
    answer = await pipeline.call(pipeline.exchange(CHAT, make(script), stream=True))

    async def read_on():
        while True:
            await answer.live.read()

    await cancelled(await started(read_on()))
    answer.live.close()
    [event] = await pipeline.settled()
    assert (event.outcome, event.input_tokens, event.output_tokens) == ("cancelled", 9, 5)
    assert event.usage_source == "estimated"


async def test_one_word_after_a_count_of_none_is_one(pipeline):
    script = [ANSWER[0], UsageReported(usage=Usage(input_tokens=9)), ANSWER[1], HANG]
    answer = await pipeline.call(pipeline.exchange(CHAT, translating(script), stream=True))
    answer.live.close()
    [event] = await pipeline.settled()
    assert (event.output_tokens, event.usage_source) == (1, "estimated")


async def test_a_client_that_leaves_after_the_usage_pays_what_the_provider_counted(pipeline):
    answer = await pipeline.call(pipeline.exchange(CHAT, relaying([HEAD, TEXTS[0] + STOP + COUNTS, HANG]), stream=True))
    await answer.live.read()
    answer.live.close()
    [event] = await pipeline.settled()
    assert (event.outcome, event.usage_source, event.cost_nusd) == ("cancelled", "provider", cost(PRICE, USAGE))


@pytest.mark.parametrize("stream", [False, True])
async def test_the_last_bytes_are_given_away_only_when_the_exchange_is_settled(pipeline, stream):
    pipeline.accounts.gate = asyncio.Event()
    exchange = pipeline.exchange(CHAT, relaying(STREAM if stream else [WHOLE]), stream=stream)
    seen = []

    async def consume():
        answer = await pipeline.call(exchange)
        if not stream:
            seen.append(answer.body)
        while stream and not answer.live.is_finished:
            seen.append(await answer.live.read())

    task = await started(consume())
    assert not task.done()
    assert DONE not in b"".join(seen)
    assert WHOLE not in seen
    pipeline.accounts.gate.set()
    await task
    assert b"".join(seen).endswith(DONE if stream else WHOLE)
    assert len(pipeline.events) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_while_its_call_is_settled_is_settled_all_the_same(pipeline, stream):
    pipeline.accounts.gate = asyncio.Event()
    exchange = pipeline.exchange(CHAT, relaying(STREAM if stream else [WHOLE]), stream=stream)

    async def consume():
        answer = await pipeline.call(exchange)
        try:
            while not answer.live.is_finished:
                await answer.live.read()
        finally:
            answer.live.close()

    await cancelled(await started(consume()))
    assert not pipeline.events
    pipeline.accounts.gate.set()
    [event] = await pipeline.settled()
    assert (event.outcome, event.cost_nusd) == ("ok", cost(PRICE, USAGE))


async def test_a_time_to_first_token_is_that_of_the_content(pipeline):
    exchange = pipeline.exchange(CHAT, relaying(STREAM), stream=True)
    answer = await pipeline.call(exchange)
    pipeline.clock.advance(2)
    await read_out(answer)
    [event] = pipeline.events
    assert (event.ttft_ms, event.duration_ms) == (0, 2_000)


async def test_tags_of_the_key_and_of_the_request_are_joined(pipeline):
    await pipeline.call(pipeline.exchange(CHAT, relaying([WHOLE]), tags={"run": "7", "by": "caller"}))
    assert pipeline.events[0].tags == {"run": "7", "by": "caller"}
    await pipeline.call(pipeline.exchange(CHAT, relaying([WHOLE])))
    assert pipeline.events[1].tags == {"by": "key"}


async def test_a_whole_answer_is_asked_for_with_the_clocks_of_whole_answers(pipeline):
    adapter = relaying([WHOLE])
    exchange = pipeline.exchange(CHAT, adapter)
    await pipeline.call(exchange)
    [(request, target)] = adapter.calls
    assert request.body is exchange.body
    assert target is exchange.route.targets[0].whole_target


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (RequestRefused(), UpstreamRefused, "upstream_invalid_request"),
        (RequestRefused(vendor_code="x"), UpstreamRefused, "x"),
        (RequestRefused(status=404), NotFound, "upstream_invalid_request"),
        (ProviderRateLimited(), UpstreamRateLimited, "upstream_rate_limited"),
        (ProviderTimedOut(), UpstreamTimedOut, "upstream_timeout"),
        (OVERLOADED, UpstreamFailed, "upstream_error"),
        (ConnectFailed(), UpstreamFailed, "upstream_unreachable"),
        (CredentialRefused(), UpstreamFailed, "upstream_auth_failed"),
        (StreamInterrupted(), UpstreamFailed, "upstream_interrupted"),
        (BadAnswer(), UpstreamFailed, "upstream_bad_response"),
    ],
)
def test_every_failure_of_a_provider_is_one_of_ours(error, kind, code):
    made = client_error(error)
    assert (type(made), made.code) == (kind, code)


@pytest.mark.parametrize(("asked", "said"), [(None, 1.0), (0.5, 0.5), (3_600, 60.0)])
def test_a_wait_that_a_provider_asks_for_is_bounded(asked, said):
    assert client_error(ProviderRateLimited(retry_after_s=asked)).retry_after_s == said


def test_events_of_one_choice_are_content():
    assert {type(event) for event in ANSWER} == {Started, TextDelta, Finished, UsageReported}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_without_id_and_date_gets_those_of_the_request(pipeline, stream):
    bare = [Started(id="", model="", created=0), *ANSWER[1:]]
    asked = pipeline.exchange(CHAT, translating(bare), stream=stream)
    answer = await pipeline.call(asked)
    body = await read_out(answer) if stream else answer.body
    said = json.loads(body.split(b"\n\n")[0].removeprefix(b"data: "))
    assert said["id"] == "chatcmpl-" + asked.request_uuid.hex
    assert abs(said["created"] - time.time()) < 60


@pytest.mark.parametrize(
    "nonsense",
    [{"input_tokens": -1_000_000}, {"output_tokens": -1}, {"cache_read_tokens": 1 << 70}, {"reasoning_tokens": -5}],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_counts_that_cannot_be_are_no_credit(pipeline, nonsense, stream):
    reported = UsageReported(usage=Usage(**{"input_tokens": 9, "output_tokens": 9} | nonsense))
    events = [*ANSWER[:-1], reported]
    exchange = pipeline.exchange(LLM, FakeAdapter(events), stream=stream)
    answer = await pipeline.call(exchange)
    if stream:
        await read_out(answer)
    attempt = exchange.last_attempt
    assert attempt.usage_source == "estimated"
    assert attempt.usage.input_tokens == guess_tokens(Prompt(exchange.text_bytes))
    assert attempt.cost_nusd == cost(PRICE, attempt.usage) > 0
