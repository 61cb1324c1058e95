"""The native wire by itself: errors and their table, heads, relays, and lines that are none."""

import msgspec
import pytest

import providers.errors
from providers.errors import BadAnswer, ProviderError, ProviderOverloaded, ProviderTimedOut, RequestRefused
from providers.native import wire
from providers.native.errors import KINDS, Fault, Refusal, decode_error, error_of, fault_of
from providers.native.plugin import NativeOptions
from providers.native.stream import StreamWatch, WholeWatch
from providers.types import Edits, EmbeddingRequest, RelayRequest, Timeouts, Usage


def test_the_table_of_errors_is_total():
    found = {
        name: value
        for name, value in vars(providers.errors).items()
        if isinstance(value, type) and issubclass(value, ProviderError)
    }
    assert found == KINDS


@pytest.mark.parametrize("kind", KINDS.values())
def test_an_error_is_the_same_on_the_other_side(kind):
    known = {
        "status": 418,
        "vendor_code": "v",
        "param": "p",
        "retry_after_s": 0.25,
        "body": b"\x00{}",
        "is_accepted": True,
    }
    error = kind("said")
    for name, value in known.items():
        setattr(error, name, value)
    error.code = "c"
    body = msgspec.json.encode(Refusal(error=fault_of(error)))
    back = decode_error(500, {}, body)
    assert type(back) is kind
    assert {name: getattr(back, name) for name in known} == known
    assert (back.message, str(back), back.code) == ("said", "said", "c")


def test_the_phase_of_a_time_out_travels():
    assert error_of(fault_of(ProviderTimedOut(phase="idle"))).phase == "idle"


def test_a_kind_of_somebody_elses_is_the_nearest_one_known_and_one_of_the_future_a_failure():
    class Odd(RequestRefused):
        """Not in the table."""

    assert fault_of(Odd()).kind == "RequestRefused"
    assert type(error_of(Fault(kind="Tired", message="zzz", code="x"))) is ProviderOverloaded


def test_what_stands_before_the_service_is_read_by_its_status():
    assert decode_error(502, {"retry-after": "3"}, b"<html>").retry_after_s == 3


@pytest.mark.parametrize("relay", [RelayRequest(operation="openai.chat", body=b'{"a":\n 1}', document={"a": 1})])
def test_a_relay_travels_whole(relay):
    for request in (
        relay,
        msgspec.structs.replace(
            relay,
            edits=Edits(put={"a": b"2"}, drop=frozenset({"b"}), rename={"c": "d"}),
            output_cap=7,
            stream=True,
            keep_usage=True,
            headers=(("anthropic-beta", "x"),),
            framing="array",
        ),
        msgspec.structs.replace(
            relay, body=b"--x\r\n\n\x00\xff", document={"model": "m"}, content_type="multipart/form-data; boundary=x"
        ),
        msgspec.structs.replace(relay, body=b"", document={}, subject="resp_1"),
    ):
        body = wire.write_relay(request, model="m", timeouts=Timeouts(idle_s=1))
        ask = wire.read_relay(body)
        assert ask.request == request
        assert (ask.model, ask.timeouts.idle_s) == ("m", 1)
        assert body.endswith(b"\n" + request.body)


def test_the_form_of_embeddings_has_all_fields_of_the_request():
    form, request = (
        {field.name for field in msgspec.structs.fields(kind)} for kind in (wire.EmbeddingForm, EmbeddingRequest)
    )
    assert form == request


def test_a_head_tells_as_much_as_fits():
    headers = {"content-type": "audio/mpeg", "x-id": "é\x00"}
    assert wire.read_told({wire.TOLD_HEADER: wire.write_told(headers, dropped=("seed",))}) == wire.Told(
        headers=headers, dropped=("seed",)
    )
    text = wire.write_told({**headers, "x-large": "x" * 9000}, dropped=tuple("ü" * at for at in range(100)))
    assert text.isascii()
    assert len(text) <= 8192
    told = wire.read_told({wire.TOLD_HEADER: text})
    assert told.headers == {"content-type": "audio/mpeg"}
    assert told.dropped[3] == "üüü"
    assert wire.read_told({}) == wire.read_told({wire.TOLD_HEADER: "{"}) == wire.Told()


def test_what_is_known_of_relayed_bytes_comes_with_them():
    watch = StreamWatch()
    first = wire.Relayed(data=b"\x00one", has_content=True, output_tokens_seen=1)
    last = wire.Relayed(data=b"two", has_content=True, is_finished=True, usage=Usage(output_tokens=2), issued=["r"])
    sent = wire.write_line(first) + wire.write_line(last) + wire.write_line(wire.End())
    passed = b"".join(watch.feed(sent[at : at + 5]) for at in range(0, len(sent), 5))
    assert passed == b"\x00onetwo"
    assert (watch.usage, watch.is_finished, watch.issued) == (Usage(output_tokens=2), True, ["r"])
    assert watch.end() == b""


def test_a_relayed_stream_without_its_end_was_cut():
    watch = StreamWatch()
    watch.feed(wire.write_line(wire.Relayed(data=b"x")))
    with pytest.raises(providers.errors.StreamInterrupted):
        watch.end()
    watch.feed(
        wire.write_line(wire.Failed(error=fault_of(BadAnswer("odd")))) + wire.write_line(wire.Relayed(data=b"y"))
    )
    assert isinstance(watch.error, BadAnswer)


@pytest.mark.parametrize("line", [b"{}", b"7", b'{"type": "text", "text": "x"}', b'{"type":"end"}', b"[" * 5000])
def test_what_is_no_relayed_answer_is_a_bad_one(line):
    with pytest.raises(BadAnswer):
        WholeWatch().feed(line)


def test_a_line_over_4_mib_is_a_bad_answer():
    with pytest.raises(BadAnswer) as caught:
        StreamWatch().feed(b"x" * ((4 << 20) + 1))
    assert caught.value.code == "upstream_too_large"


@pytest.mark.parametrize("name", ["openai", "openai.chat.x", "OpenAI.chat", ""])
def test_only_names_of_operations_can_be_relayed(name):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"relays": [name]}, NativeOptions)
