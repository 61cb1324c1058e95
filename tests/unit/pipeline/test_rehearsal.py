"""What a dry run says of targets that cannot be told a request is what a real one then meets."""

import msgspec
import pytest
from scripted_pipeline import ANSWER, FakeAdapter

from app.api.openai.paths import CHAT_WIRE
from app.kernel.errors import UpstreamRefused
from app.pipeline.rehearsal import refusal_of_all, rehearse
from app.settings.model import Transform
from providers.echo.adapter import EchoAdapter

BIASED = {"logit_bias": {"1": 2}}


def rehearsed(pipeline, exchange):
    return rehearse(exchange, pipeline.routed.lanes)


async def outcome(pipeline, exchange):
    try:
        await pipeline.call(exchange)
    except UpstreamRefused as error:
        return error.message, error.param, error.code
    return None


@pytest.mark.parametrize("document", [{}, BIASED, {"n": 0}, {"top_p": 7}])
async def test_a_refusal_is_that_of_the_real_call(pipeline, document):
    exchange = pipeline.exchange(CHAT_WIRE.operation, EchoAdapter(), document=document)
    refusal = refusal_of_all(rehearsed(pipeline, exchange))
    told = None if refusal is None else (refusal.message, refusal.param, refusal.code)
    assert told == await outcome(pipeline, exchange)


async def test_only_who_is_called_first_decides(pipeline):
    hears = FakeAdapter(list(ANSWER))
    for adapters, refused in (((EchoAdapter(), hears), {0}), ((hears, EchoAdapter()), {1})):
        exchange = pipeline.exchange(CHAT_WIRE.operation, *adapters, document=BIASED)
        (found,) = rehearsed(pipeline, exchange)
        assert set(found.refusals) == refused
        assert (
            (refusal_of_all([found]) is not None) == (await outcome(pipeline, exchange) is not None) == (0 in refused)
        )


def test_who_is_left_alone_is_not_called_first(pipeline):
    exchange = pipeline.exchange(CHAT_WIRE.operation, EchoAdapter(), FakeAdapter([]), document=BIASED)
    pipeline.health.lane("p0", "up").cool(pipeline.clock.monotonic_ns() + 60 * 10**9)
    assert refusal_of_all(rehearsed(pipeline, exchange)) is None


def test_an_adapter_that_does_not_tell_is_said_to_be_unknown(pipeline):
    exchange = pipeline.exchange(CHAT_WIRE.operation, FakeAdapter([]), document=BIASED)
    (found,) = rehearsed(pipeline, exchange)
    assert (found.unknown, found.refusals, found.refusal) == ([0], {}, None)


async def test_what_its_operator_adds_is_nobodys_fault(pipeline):
    transform = Transform(default=BIASED)
    exchange = pipeline.exchange(CHAT_WIRE.operation, EchoAdapter(), route={"transform": transform})
    assert refusal_of_all(rehearsed(pipeline, exchange)) is None
    assert await outcome(pipeline, exchange) is None


def test_what_no_other_dialect_can_say_is_refused(pipeline):
    operation = msgspec.structs.replace(CHAT_WIRE.operation, parse=None, renderer=None)
    (found,) = rehearsed(pipeline, pipeline.exchange(operation, EchoAdapter()))
    assert found.refusal is not None
    assert found.refusal.param == "model"
