"""Pictures, sounds and transcripts through the layers: their types, their clocks, their usage and what is held."""

import asyncio
import json

import msgspec
import pytest
from scripted_pipeline import HANG, LIMITED, Bytes, FakeAdapter, Pipeline, read_out, read_until_broken

from app.api.openai.audio import SPEECH_WIRE, TRANSCRIPTIONS_WIRE
from app.api.openai.images import IMAGES_WIRE
from app.api.openai.rerank import RERANK_WIRE
from app.kernel.errors import GatewayError, InvalidRequest
from app.pipeline.operation import Asked
from providers.errors import ProviderTimedOut, StreamInterrupted
from providers.http.adapter import HttpRelay
from providers.openai.inspect_media import media_inspector
from providers.types import Timeouts

SOUND = [b"ID3", b"\n\n\x00", b"\xff"]
COMPLETED = {"type": "image_generation.completed", "usage": {"input_tokens": 100, "output_tokens": 7}}
PICTURE = b"data: " + json.dumps(COMPLETED).encode() + b"\n\n"


class MediaAdapter(FakeAdapter):
    """Relays what its scripts say, with a media type."""

    def __init__(self, *scripts, content_type, operation):
        super().__init__(*scripts, relays={operation.relay})
        self._content_type = content_type

    async def relay(self, request, target):
        answer = Bytes(await self._next(request, target))
        answer.headers = {} if self._content_type is None else {"content-type": self._content_type}
        self.opened.append(answer)
        return HttpRelay(answer, media_inspector(request))


def _ask(pipeline, wire, script, *, content_type="audio/mpeg", framing="sse", stream=True, patient=None, **more):
    operation = wire.operation
    adapter = MediaAdapter(script, content_type=content_type, operation=operation)
    exchange = pipeline.exchange(operation, adapter, stream=stream, retries=0, **more)
    exchange.asked = Asked(model="public", stream=stream, framing=framing)
    if patient is not None:
        (target,) = exchange.route.targets
        whole = msgspec.structs.replace(target.target, timeouts=Timeouts(first_token_s=patient))
        targets = (msgspec.structs.replace(target, whole_target=whole),)
        exchange.route = msgspec.structs.replace(exchange.route, targets=targets)
    return exchange, adapter


@pytest.mark.parametrize(("content_type", "said"), [("audio/mpeg", b"audio/mpeg"), (None, b"application/octet-stream")])
async def test_sound_keeps_its_type_and_is_passed_on_in_pieces(content_type, said):
    pipeline = Pipeline()
    exchange, adapter = _ask(
        pipeline, SPEECH_WIRE, list(SOUND), content_type=content_type, framing="raw", document={"input": "12345678"}
    )
    answer = await pipeline.call(exchange)
    assert answer.content_type == said
    assert not adapter.opened[0].at_end
    assert await read_out(answer) == b"".join(SOUND)
    (event,) = await pipeline.settled()
    assert (event.operation, event.outcome, event.usage_source) == ("speech", "ok", "estimated")
    assert (event.input_tokens, event.output_tokens, event.details["audio_output_tokens"]) == (2, 10, 10)
    assert adapter.calls[0][0].framing == "raw"


async def test_the_note_of_the_cost_is_kept_out_of_what_is_no_json():
    pipeline = Pipeline()
    exchange, _ = _ask(pipeline, SPEECH_WIRE, list(SOUND), framing="raw", includes_cost=True)
    assert await read_out(await pipeline.call(exchange)) == b"".join(SOUND)
    document = {"response_format": "text"}
    exchange, _ = _ask(
        pipeline, TRANSCRIPTIONS_WIRE, [b"Hi"], content_type="text/plain", stream=False, document=document,
        includes_cost=True,
    )  # fmt: skip
    answer = await pipeline.call(exchange)
    assert (answer.body, answer.content_type) == (b"Hi", b"text/plain")


async def test_the_note_of_the_cost_is_in_the_last_event_of_a_picture():
    pipeline = Pipeline()
    exchange, _ = _ask(pipeline, IMAGES_WIRE, [PICTURE], content_type="text/event-stream", includes_cost=True)
    answer = await read_out(await pipeline.call(exchange))
    assert json.loads(answer[6:])["gateway"]["usage"]["output_tokens"] == 7


async def test_a_picture_may_be_long_in_coming():
    pipeline = Pipeline()
    clocks = {"timeouts": Timeouts(first_token_s=0.01)}
    exchange, adapter = _ask(pipeline, IMAGES_WIRE, [HANG], content_type="text/event-stream", patient=0.2, **clocks)
    call = asyncio.ensure_future(pipeline.call(exchange))
    done, _ = await asyncio.wait([call], timeout=0.05)
    assert not done, "the clock for the first token of a chat ran"
    with pytest.raises(Exception) as caught:  # noqa: PT011 - as a client is told
        await call
    assert isinstance(caught.value.__cause__, ProviderTimedOut)
    assert adapter.calls[0][1].timeouts.first_token_s == 0.2


@pytest.mark.parametrize(
    ("stream", "framing", "script"), [(True, "raw", [SOUND[0]]), (True, "raw", []), (False, "sse", [SOUND[0]])]
)
async def test_sound_that_breaks_is_charged_for_the_text_that_was_sent(stream, framing, script):
    pipeline = Pipeline()
    script, more = [*script, StreamInterrupted()], {"document": {"input": "12345678"}}
    exchange, _ = _ask(pipeline, SPEECH_WIRE, script, framing=framing, stream=stream, **more)
    try:
        parts, _ = await read_until_broken(await pipeline.call(exchange))
    except GatewayError:
        parts = []
    assert parts == (script[:1] if stream and len(script) > 1 else [])
    (event,) = await pipeline.settled()
    assert (event.outcome, event.input_tokens, event.usage_source) == ("interrupted", 2, "estimated")
    assert event.output_tokens == (10 if parts else 0)
    assert event.cost_nusd > 0


async def test_a_transcript_that_breaks_is_charged_for_what_was_heard():
    pipeline = Pipeline()
    heard = b'data: {"type": "transcript.text.delta", "delta": "Hi"}\n\n'
    exchange, _ = _ask(
        pipeline, TRANSCRIPTIONS_WIRE, [heard, heard, StreamInterrupted()], content_type="text/event-stream"
    )
    await read_until_broken(await pipeline.call(exchange))
    (event,) = await pipeline.settled()
    assert (event.outcome, event.output_tokens, event.usage_source) == ("interrupted", 2, "estimated")


async def test_pictures_that_came_before_a_break_are_charged():
    pipeline = Pipeline()
    more = {"content_type": "text/event-stream", "document": {"prompt": "two", "n": 2}}
    exchange, _ = _ask(pipeline, IMAGES_WIRE, [PICTURE, StreamInterrupted()], **more)
    await read_until_broken(await pipeline.call(exchange))
    (event,) = await pipeline.settled()
    assert (event.outcome, event.usage_source) == ("interrupted", "estimated")
    assert (event.input_tokens, event.output_tokens, event.details["images"]) == (100, 7, 1)


async def test_whoever_leaves_is_charged_for_the_text_that_was_sent():
    pipeline = Pipeline()
    exchange, _ = _ask(pipeline, SPEECH_WIRE, [SOUND[0], HANG], framing="raw", document={"input": "12345678"})
    answer = await pipeline.call(exchange)
    await answer.live.read()
    answer.live.close()
    (event,) = await pipeline.settled()
    assert (event.outcome, event.input_tokens, event.usage_source) == ("cancelled", 2, "estimated")


async def test_a_recording_is_not_held_as_if_it_were_text():
    pipeline = Pipeline()
    pipeline.policies.policy = LIMITED
    exchange, _ = _ask(
        pipeline, TRANSCRIPTIONS_WIRE, [b'{"text": "Hi"}'], content_type="application/json", stream=False
    )
    exchange.body = bytes(20 << 20)
    exchange.text_bytes = 40
    await pipeline.call(exchange)
    (demand,) = pipeline.accounts.demands
    assert demand.input_tokens == 10


@pytest.mark.parametrize("wire", [IMAGES_WIRE, SPEECH_WIRE, TRANSCRIPTIONS_WIRE])
async def test_a_cost_that_cannot_be_bounded_is_not_promised(wire):
    exchange, adapter = _ask(Pipeline(), wire, [], max_cost_nusd=10**12)
    with pytest.raises(InvalidRequest) as caught:
        await Pipeline().call(exchange)
    assert caught.value.param == "x-gateway-max-cost"
    assert not adapter.calls


async def test_the_cost_of_a_ranking_is_that_of_its_text():
    pipeline = Pipeline()
    ranked = [b'{"results": [], "usage": {"total_tokens": 9}}']
    more = {"content_type": "application/json", "stream": False, "max_cost_nusd": 10**12}
    exchange, _ = _ask(pipeline, RERANK_WIRE, ranked, **more)
    assert (await pipeline.call(exchange)).body == ranked[0]
    exchange, adapter = _ask(pipeline, RERANK_WIRE, ranked, **{**more, "max_cost_nusd": 1})
    with pytest.raises(InvalidRequest):
        await pipeline.call(exchange)
    assert not adapter.calls
