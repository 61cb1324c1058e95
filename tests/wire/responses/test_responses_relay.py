"""Responses that go to a provider as they came: what is edited on the way there, and what is read on the way back."""

import json
import time

import msgspec
import pytest

from providers.catalog import Quirks, load_catalog
from providers.errors import BadAnswer, ProviderOverloaded, ProviderRateLimited, RequestRefused, StreamInterrupted
from providers.openai.azure import AzureDialect
from providers.openai.plugin import OpenAIDialect
from providers.openai.responses.inspect import ResponseStreamInspector, WholeResponse
from providers.openai.responses.seals import seal_content
from providers.types import Edits, RelayRequest, Target, Usage

KEEPS = Quirks(is_openai=True, keeps_responses=True, serves=frozenset({"responses"}))
TARGET = Target(provider="p", model="real", base_url="https://api.example.com/v1")
ALL = {"openai.responses", "openai.response_get", "openai.response_delete"}
USAGE = {
    "input_tokens": 9,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 14,
}
READ = Usage(input_tokens=4, output_tokens=5, cache_read_tokens=4, cache_write_tokens=1, reasoning_tokens=2)


# --- What is relayed, and where to


def _served(dialect, target=TARGET):
    return {name for name in dialect.relays(target) if name in ALL}


def test_who_serves_responses():
    assert _served(OpenAIDialect(KEEPS)) == ALL
    assert _served(OpenAIDialect(Quirks(serves=frozenset({"responses"})))) == {"openai.responses"}
    assert _served(OpenAIDialect(Quirks())) == set()
    assert _served(OpenAIDialect(KEEPS, home="https://elsewhere.example.com/v1")) == set()
    assert _served(OpenAIDialect(Quirks(), serves=frozenset({"responses"}))) == {"openai.responses"}


def test_azure_serves_responses_by_its_versionless_api_only():
    assert _served(AzureDialect(KEEPS)) == ALL
    assert _served(AzureDialect(KEEPS, api_version="2024-10-21")) == set()


def test_openai_and_azure_keep_responses():
    rows = load_catalog().vendors
    assert {name for name, row in rows.items() if row.quirks.keeps_responses} == {"openai", "azure"}
    assert all("responses" in rows[name].quirks.serves for name in ("openai", "azure"))


@pytest.mark.parametrize(
    ("operation", "subject", "method", "path"),
    [
        ("openai.responses", None, "POST", "/responses"),
        ("openai.response_get", "resp_1", "GET", "/responses/resp_1"),
        ("openai.response_delete", "a/b?c", "DELETE", "/responses/a%2Fb%3Fc"),
    ],
)
def test_where_it_goes(operation, subject, method, path):
    request = RelayRequest(operation=operation, body=b"{}", document={"model": "real"}, subject=subject)
    sent = OpenAIDialect(KEEPS).encode_relay(request, TARGET)
    assert (sent.method, sent.url) == (method, TARGET.base_url + path)
    azure = AzureDialect(KEEPS).encode_relay(request, TARGET)
    assert azure.url == f"{TARGET.base_url}/openai/v1{path}"


def test_a_stored_response_must_be_named():
    request = RelayRequest(operation="openai.response_get", body=b"", document={})
    with pytest.raises(RequestRefused):
        OpenAIDialect(KEEPS).encode_relay(request, TARGET)


# --- What is edited


def _sent(document, quirks=KEEPS, **fields):
    body = json.dumps(document).encode()
    request = RelayRequest(operation="openai.responses", body=body, document=document, **fields)
    return body, OpenAIDialect(quirks).encode_relay(request, TARGET).body


def _relayed(document, quirks=KEEPS, **fields):
    return json.loads(_sent(document, quirks, **fields)[1])


def test_a_body_that_needs_no_edit_is_not_touched():
    body, sent = _sent({"model": "real", "input": "x", "store": True, "stream": True}, stream=True)
    assert sent is body


def test_only_the_model_is_replaced():
    body, sent = _sent({"model": "public", "input": [{"model": "public"}], "odd": 1})
    assert sent == body.replace(b'"public"', b'"real"', 1)


@pytest.mark.parametrize(
    ("given", "sent"), [({}, 20), ({"max_output_tokens": None}, 20), ({"max_output_tokens": 30}, 20)]
)
def test_an_output_cap_is_lowered(given, sent):
    assert _relayed({"model": "real", **given}, output_cap=20) == {"model": "real", "max_output_tokens": sent}


def test_a_lower_cap_stays():
    body, sent = _sent({"model": "real", "max_output_tokens": 10}, output_cap=20)
    assert sent is body


def test_a_server_that_keeps_nothing_is_not_asked_to():
    assert _relayed({"model": "real", "store": True}, Quirks()) == {"model": "real"}
    assert _relayed({"model": "real", "store": False}, Quirks()) == {"model": "real", "store": False}
    edits = Edits(put={"store": b"false"})
    assert _relayed({"model": "real", "store": True}, Quirks(), edits=edits) == {"model": "real", "store": False}


def test_edits_of_the_request_are_made_too():
    edits = Edits(put={"temperature": b"0.5"}, drop=frozenset({"user"}), rename={"old": "new"})
    assert _relayed({"model": "m", "user": "u", "old": 1}, edits=edits) == {
        "model": "real",
        "new": 1,
        "temperature": 0.5,
    }


def _reasoning(content):
    return {"type": "reasoning", "summary": [], "encrypted_content": content}


def test_reasoning_that_another_vendor_signed_stays_behind():
    own, user = _reasoning("gAAA"), {"role": "user", "content": "x"}
    foreign = [_reasoning(seal_content("anthropic:a")), _reasoning(seal_content("gemini:g", "before"))]
    document = {"model": "real", "input": [user, own, *foreign, user]}
    assert _relayed(document) == {"model": "real", "input": [user, own, user]}


def test_a_seal_that_is_only_spoken_of_stays():
    body, sent = _sent({"model": "real", "input": f"what is {seal_content('anthropic:a')}?"})
    assert sent is body


# --- Whole answers


def _whole(fields, **options):
    inspector = WholeResponse(**options)
    body = json.dumps(fields).encode()
    assert inspector.feed(body) is body
    return inspector


def test_a_whole_response_is_counted_and_its_ids_are_noted():
    items = [
        {"id": "rs_1", "type": "reasoning"},
        {"id": "ci_1", "type": "code_interpreter_call", "container_id": "cntr_1"},
        {"type": "odd"},
    ]
    inspector = _whole({"id": "resp_1", "status": "completed", "output": items, "usage": USAGE})
    assert inspector.usage == READ
    assert inspector.issued == ["resp_1", "rs_1", "ci_1", "cntr_1"]
    assert inspector.is_finished
    assert inspector.has_content


@pytest.mark.parametrize(
    "usage", [None, 7, {}, {"input_tokens": "9"}, {"input_tokens": -1, "output_tokens": 1}, {"output_tokens": 10**12}]
)
def test_usage_that_cannot_be_is_none(usage):
    inspector = _whole({"id": "resp_1", "output": [], "usage": usage})
    assert inspector.usage is None
    assert inspector.output_tokens_seen > 0


@pytest.mark.parametrize("output", [7, [7], {"a": 1}])
def test_odd_output_does_not_hide_the_usage(output):
    assert _whole({"id": "resp_1", "output": output, "usage": USAGE}).usage == READ


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[]", b"7", b"{", b"\xff", b"[" * 5000])
def test_a_whole_response_must_be_an_object(body):
    with pytest.raises(BadAnswer):
        WholeResponse().feed(body)
    with pytest.raises(StreamInterrupted):
        WholeResponse().end()


def test_a_failed_response_is_an_error():
    with pytest.raises(ProviderRateLimited):
        _whole({"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "m"}})
    with pytest.raises(ProviderOverloaded):
        _whole({"error": {"code": "server_error", "message": "m"}})
    assert _whole({"error": {"code": "odd", "message": "m"}, "output": 7}).is_finished


def test_a_stored_response_is_not_charged_again():
    inspector = _whole({"id": "resp_1", "status": "failed", "error": {}, "usage": USAGE}, is_billed=False)
    assert inspector.usage == Usage()
    assert inspector.output_tokens_seen == 0


# --- Streams


def _frame(kind, **fields):
    event = {"type": kind, "sequence_number": 1, **fields}
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"


NOTHING = {"id": "resp_1", "status": "in_progress", "error": None, "usage": None, "output": []}
CREATED = _frame("response.created", response=NOTHING)
ADDED = _frame("response.output_item.added", output_index=0, item={"id": "msg_1", "type": "message"})
DELTA = _frame("response.output_text.delta", delta='see "usage", "error" and "response.failed"')
MORE = _frame("response.output_text.delta", delta="more")
CALL = _frame("response.output_item.added", output_index=1, item={"id": "ci_1", "container_id": "cntr_1"})
END = {
    "id": "resp_1",
    "status": "completed",
    "error": None,
    "usage": USAGE,
    "output": [{"id": "msg_1"}, {"id": "ci_1"}],
}
DONE = _frame("response.completed", response=END)
COMMENT = b": keep-alive\n\n"
STREAM = CREATED + COMMENT + ADDED + DELTA + MORE + CALL + DONE


def _watch(pieces):
    inspector = ResponseStreamInspector()
    return inspector, b"".join([inspector.feed(piece) for piece in pieces])


def test_a_stream_passes_unchanged_and_is_read():
    inspector, passed = _watch([STREAM])
    assert passed == STREAM
    assert inspector.usage == READ
    assert inspector.issued == ["resp_1", "msg_1", "ci_1", "cntr_1"]
    assert inspector.is_finished
    assert inspector.error is None
    assert inspector.output_tokens_seen == 2


def test_a_stream_is_read_alike_cut_at_any_byte():
    for place in range(len(STREAM)):
        inspector, passed = _watch([STREAM[:place], STREAM[place:]])
        assert passed == STREAM, place
        assert (inspector.usage, inspector.issued[-1]) == (READ, "cntr_1")
        assert inspector.output_tokens_seen == 2


def test_a_crlf_stream_is_read_alike():
    stream = STREAM.replace(b"\n", b"\r\n")
    inspector, passed = _watch([stream[at : at + 7] for at in range(0, len(stream), 7)])
    assert (passed, inspector.usage) == (stream, READ)


def test_content_begins_with_the_first_delta():
    inspector = ResponseStreamInspector()
    inspector.feed(CREATED + ADDED + _frame("response.output_text.delta", delta=""))
    assert not inspector.has_content
    inspector.feed(_frame("response.function_call_arguments.delta", delta="{"))
    assert inspector.has_content


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete"])
def test_an_answer_without_deltas_is_one(kind):
    inspector, _ = _watch([CREATED, _frame(kind, response=END)])
    assert inspector.has_content
    assert inspector.is_finished


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        (
            _frame("response.failed", response={**NOTHING, "error": {"code": "rate_limit_exceeded"}}),
            ProviderRateLimited,
        ),
        (_frame("response.failed", response=NOTHING), ProviderOverloaded),
        (_frame("error", code="server_error", message="m", param=None), ProviderOverloaded),
        (_frame("error", error={"code": "invalid_prompt", "message": "m"}), RequestRefused),
        (b'data: {"error": {"message": "m"}}\n\n', ProviderOverloaded),
    ],
)
@pytest.mark.parametrize("before", [CREATED, CREATED + ADDED + DELTA])
def test_an_error_stops_the_stream_and_is_kept_back(frame, error, before):
    for pieces in ([before + frame + MORE + DONE], [before, frame, MORE, DONE]):
        inspector, passed = _watch(pieces)
        assert passed == before
        assert isinstance(inspector.error, error)
        assert not inspector.is_finished


def test_what_follows_the_end_is_dropped():
    inspector, passed = _watch([STREAM + b"data: [DONE]\n\n", MORE])
    assert passed == STREAM
    assert inspector.is_finished


def test_a_stream_that_is_cut_has_no_end():
    for length in range(0, len(STREAM), 9):
        inspector, passed = _watch([STREAM[:length]])
        assert not inspector.is_finished
        assert b"response.completed" not in passed.replace(DELTA, b"")
        with pytest.raises(StreamInterrupted):
            inspector.end()


@pytest.mark.parametrize("data", [b"{", b"[]", b"7", b"<html>", b"\xff"])
def test_an_event_that_is_none_is_a_bad_answer(data):
    with pytest.raises(BadAnswer):
        ResponseStreamInspector().feed(b"data: " + data + b"\n\n")
    inspector, _ = _watch([CREATED + ADDED + DELTA])
    with pytest.raises(BadAnswer):
        inspector.feed(MORE + b"data: " + data + b"\n\n")


@pytest.mark.parametrize("response", [7, [], {"usage": 7, "output": 7, "id": 7}])
def test_odd_events_pass(response):
    stream = _frame("response.created", response=response) + _frame("response.completed", response=response)
    inspector, passed = _watch([stream])
    assert (passed, inspector.usage, inspector.issued) == (stream, None, [])


def test_an_event_of_more_than_a_mebibyte_is_a_bad_answer():
    with pytest.raises(BadAnswer) as caught:
        ResponseStreamInspector().feed(b"data: " + b"x" * (1 << 20))
    assert caught.value.code == "upstream_too_large"


def test_looking_costs_little():
    inspector = ResponseStreamInspector()
    inspector.feed(CREATED + DELTA)
    best = min(_timed(inspector) for _ in range(5))
    assert best < 60e-6, "ten times the goal, for slow machines"


def _timed(inspector):
    begun = time.perf_counter()
    for _ in range(1000):
        inspector.feed(MORE)
    return (time.perf_counter() - begun) / 1000
