"""The wire of `POST /v1/responses`: how answers are said, and what of them is handed over to be kept."""

import json
from types import SimpleNamespace

import pytest

from app.api.openai.responses import RESPONSES_WIRE
from app.api.understanding import Call
from app.kernel.errors import InvalidRequest, UpstreamFailed
from app.pipeline.operation import Asked, Passed
from providers.framing import sse
from providers.openai.render import DONE
from providers.stream import replay
from providers.types import Choice, Completion, TextPart, Usage

REQUEST = "01890a5d-ac96-774b-bcce-b302099a8057"
ID = "resp_01890a5dac96774bbcceb302099a8057"
DOCUMENT = {"model": "public", "input": "hi", "instructions": "Be brief."}
OPERATION = RESPONSES_WIRE.operation
ANSWER = Completion(
    id="up-1",
    model="up",
    created=7,
    choices=[Choice(index=0, content=[TextPart(text="Hello")], finish_reason="stop")],
    usage=Usage(input_tokens=3, output_tokens=2),
)


def _exchange(**fields):
    given = {"is_kept": True, "previous_id": None, "new_input": None, "produced": None, "document": DOCUMENT} | fields
    return SimpleNamespace(request_id=REQUEST, route=SimpleNamespace(name="public"), **given)


def _streamed(exchange):
    renderer = OPERATION.renderer.stream(exchange)
    stream = b"".join([renderer.feed(event) for event in replay(ANSWER)])
    assert exchange.produced is None, "nothing is kept before the end"
    return stream + renderer.finish()


def test_a_body_says_what_it_asks():
    asked = RESPONSES_WIRE.read({**DOCUMENT, "stream": True}, Call("", ""))
    assert asked == Asked(model="public", stream=True, keep_usage=True)
    with pytest.raises(InvalidRequest) as caught:
        RESPONSES_WIRE.read({"model": "public"}, Call("", ""))
    assert caught.value.param == "input"


def test_the_request_becomes_canonical():
    request = OPERATION.parse(DOCUMENT, Asked(model="public"))
    assert [message.role for message in request.messages] == ["system", "user"]


def test_an_answer_has_the_requests_id_and_the_public_name():
    body = json.loads(OPERATION.renderer.whole(_exchange(), ANSWER))
    assert (body["id"], body["model"], body["instructions"]) == (ID, "public", "Be brief.")
    assert body["usage"]["total_tokens"] == 5


def test_a_whole_and_a_streamed_answer_are_kept_alike():
    whole, streamed = _exchange(), _exchange()
    body = json.loads(OPERATION.renderer.whole(whole, ANSWER))
    stream = _streamed(streamed)
    assert whole.produced == streamed.produced
    assert whole.produced.response == body
    assert whole.produced.input == [{"role": "user", "content": "hi"}]
    assert whole.produced.item_ids == [body["output"][0]["id"]]
    last = json.loads(sse.data_of(sse.split_frames(stream)[-1]))
    assert (last["type"], last["response"]) == ("response.completed", body)
    assert DONE not in stream


def test_what_went_on_from_another_says_so_and_keeps_only_what_is_new():
    written_out = {**DOCUMENT, "input": [{"role": "user", "content": "before"}, {"role": "user", "content": "hi"}]}
    new = [{"role": "user", "content": "hi"}]
    exchange = _exchange(previous_id="resp_0", new_input=new, document=written_out)
    body = json.loads(OPERATION.renderer.whole(exchange, ANSWER))
    assert body["previous_response_id"] == "resp_0"
    assert (exchange.produced.input, exchange.produced.previous_id) == (new, "resp_0")


def test_what_is_not_to_be_kept_is_not_handed_over():
    exchange = _exchange(is_kept=False)
    said = json.loads(OPERATION.renderer.whole(exchange, ANSWER))
    _streamed(exchange)
    assert exchange.produced is None
    assert said["store"] is False


def test_a_late_error_is_an_error_and_a_failed_response():
    said = RESPONSES_WIRE.say_late_error(UpstreamFailed("it broke", code="upstream_interrupted"), REQUEST)
    error, failed = [json.loads(sse.data_of(frame)) for frame in sse.split_frames(said)]
    assert (error["type"], error["code"], error["message"]) == ("error", "upstream_interrupted", "it broke")
    assert (failed["type"], failed["response"]["id"], failed["response"]["status"]) == ("response.failed", ID, "failed")


@pytest.mark.parametrize(
    ("ids", "last", "number", "name"),
    [
        (["resp_up", "msg_1"], b'data: {"sequence_number":6}\n\ndata: {"sequence_number": 7}\n\n', 8, "resp_up"),
        (["resp_up"], b'data: {"delta":"\\"sequence_number\\":9"}\n\n', 0, "resp_up"),
        ([], b"", 0, ID),
    ],
)
def test_a_relayed_response_that_breaks_goes_on_from_what_was_passed(ids, last, number, name):
    said = OPERATION.say_break(_exchange(), UpstreamFailed("it broke"), Passed(ids, last))
    error, failed = [json.loads(sse.data_of(frame)) for frame in sse.split_frames(said)]
    assert (error["sequence_number"], failed["sequence_number"]) == (number, number + 1)
    assert failed["response"]["id"] == name


def test_errors_before_an_answer_are_openais():
    said = json.loads(RESPONSES_WIRE.say_error(InvalidRequest("no", param="input"), REQUEST))
    assert said["error"]["param"] == "input"


@pytest.mark.parametrize(
    ("name", "path"),
    [("messages", "input"), ("max_tokens", "max_output_tokens"), ("response_format", "text.format"), ("user", "user")],
)
def test_fields_are_named_in_the_clients_words(name, path):
    assert OPERATION.vocabulary.path(name) == path


def test_the_operators_instructions_come_first():
    prefix = OPERATION.vocabulary.system_prefix
    assert prefix(DOCUMENT, "Obey.") == {"instructions": "Obey.\n\nBe brief."}
    assert prefix({"input": "x"}, "Obey.") == {"instructions": "Obey."}
    assert OPERATION.vocabulary.asked_cap({"max_output_tokens": 9}) == 9
