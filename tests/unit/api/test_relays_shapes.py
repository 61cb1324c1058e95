"""What the paths of completions, verdicts, rankings, pictures and sounds take, and what they ask the pipeline for."""

import pytest

from app.api.body import read_form
from app.api.openai.audio import SPEECH_WIRE, TRANSCRIPTIONS_WIRE, TRANSLATIONS_WIRE
from app.api.openai.completions import COMPLETIONS_WIRE
from app.api.openai.images import IMAGES_WIRE
from app.api.openai.moderations import DEFAULT_MODEL, MODERATIONS_WIRE
from app.api.openai.rerank import RERANK_WIRE
from app.api.understanding import Call, narrowed
from app.kernel.errors import InvalidRequest
from app.pipeline.operation import Asked
from app.routing.table import Route, RouteTarget
from app.routing.transform import apply_edits, transform_edits
from app.settings.model import Transform
from providers.echo.adapter import EchoAdapter
from providers.types import Target

CALL = Call("", "")
FILE = {"filename": "x.wav"}
RELAYED = (MODERATIONS_WIRE, RERANK_WIRE, IMAGES_WIRE, SPEECH_WIRE, TRANSCRIPTIONS_WIRE, TRANSLATIONS_WIRE)
FORM = "multipart/form-data; boundary=xYz"


def _form(*parts):
    written = [
        b"--xYz\r\ncontent-disposition: form-data; " + head + b"\r\n\r\n" + value + b"\r\n" for head, value in parts
    ]
    return b"".join([*written, b"--xYz--\r\n"])


@pytest.mark.parametrize(
    ("wire", "document", "asked"),
    [
        (COMPLETIONS_WIRE, {"prompt": "x"}, Asked(model="m")),
        (COMPLETIONS_WIRE, {"prompt": None, "logprobs": 0, "n": None}, Asked(model="m")),
        (
            COMPLETIONS_WIRE,
            {"prompt": [[1], [2]], "stream": True, "stream_options": {"include_usage": True}},
            Asked(model="m", stream=True, keep_usage=True),
        ),
        (MODERATIONS_WIRE, {"input": "x"}, Asked(model="m")),
        (MODERATIONS_WIRE, {"input": "x", "model": None}, Asked(model=DEFAULT_MODEL)),
        (MODERATIONS_WIRE, {"input": ["x", {"type": "text", "text": "x"}]}, Asked(model="m")),
        (RERANK_WIRE, {"query": "x", "documents": ["x", {"text": "x"}], "top_n": None}, Asked(model="m")),
        (IMAGES_WIRE, {"prompt": "x", "n": 2, "stream": False}, Asked(model="m")),
        (IMAGES_WIRE, {"prompt": "x", "stream": True}, Asked(model="m", stream=True)),
        (SPEECH_WIRE, {"input": "x", "voice": {"id": "v"}}, Asked(model="m", stream=True, framing="raw")),
        (SPEECH_WIRE, {"input": "x", "stream_format": "audio"}, Asked(model="m", stream=True, framing="raw")),
        (SPEECH_WIRE, {"input": "x", "stream_format": "sse"}, Asked(model="m", stream=True)),
        (TRANSCRIPTIONS_WIRE, {"file": FILE}, Asked(model="m")),
        (TRANSCRIPTIONS_WIRE, {"file": FILE, "stream": "true"}, Asked(model="m", stream=True)),
        (TRANSCRIPTIONS_WIRE, {"file": FILE, "stream": "True"}, Asked(model="m", stream=True)),
        (TRANSCRIPTIONS_WIRE, {"file": FILE, "stream": "false"}, Asked(model="m")),
        (TRANSLATIONS_WIRE, {"url": "https://example.com/x.wav"}, Asked(model="m")),
    ],
)
def test_what_is_asked(wire, document, asked):
    assert wire.read({"model": "m", **document}, CALL) == asked


@pytest.mark.parametrize(
    ("wire", "document", "param"),
    [
        (COMPLETIONS_WIRE, {"prompt": []}, "prompt"),
        (COMPLETIONS_WIRE, {"prompt": ["a", 1]}, "prompt"),
        (COMPLETIONS_WIRE, {"prompt": "x", "best_of": "2"}, "best_of"),
        (COMPLETIONS_WIRE, {"prompt": "x", "suffix": 7}, "suffix"),
        (COMPLETIONS_WIRE, {"prompt": "x", "echo": "yes"}, "echo"),
        (COMPLETIONS_WIRE, {"prompt": "x", "stop": [1]}, "stop"),
        (COMPLETIONS_WIRE, {"prompt": "x", "stream_options": {"include_usage": 1}}, "stream_options"),
        (MODERATIONS_WIRE, {}, "input"),
        (MODERATIONS_WIRE, {"input": 7}, "input"),
        (MODERATIONS_WIRE, {"input": [7]}, "input[0]"),
        (RERANK_WIRE, {"query": "x", "documents": []}, "documents"),
        (RERANK_WIRE, {"query": 7, "documents": ["x"]}, "query"),
        (RERANK_WIRE, {"query": "x", "documents": ["x"], "return_documents": 1}, "return_documents"),
        (IMAGES_WIRE, {"prompt": 7}, "prompt"),
        (IMAGES_WIRE, {"prompt": "x", "partial_images": True}, "partial_images"),
        (SPEECH_WIRE, {"input": ["x"]}, "input"),
        (SPEECH_WIRE, {"input": "x", "stream_format": 7}, "stream_format"),
        (TRANSCRIPTIONS_WIRE, {}, "file"),
        (TRANSCRIPTIONS_WIRE, {"file": "text"}, "file"),
        (TRANSCRIPTIONS_WIRE, {"file": FILE, "stream": FILE}, "stream"),
        (TRANSCRIPTIONS_WIRE, {"file": FILE, "model": FILE}, "model"),
        (TRANSLATIONS_WIRE, {"url": "ftp://example.com/x"}, "url"),
        (TRANSLATIONS_WIRE, {"file": FILE, "Model": "x"}, "Model"),
        (TRANSLATIONS_WIRE, {"file": FILE, "model[]": ["x"]}, "model[]"),
        (TRANSCRIPTIONS_WIRE, {"file": FILE, "URL[0]": "x"}, "URL[0]"),
    ],
)
def test_what_is_wrong_is_named(wire, document, param):
    with pytest.raises(InvalidRequest) as caught:
        wire.read({"model": "m", **document}, CALL)
    assert caught.value.param == param


@pytest.mark.parametrize("wire", RELAYED)
def test_what_is_no_conversation_is_given_no_instructions_and_no_caps(wire):
    vocabulary = wire.operation.vocabulary
    edits = transform_edits(Transform(system_prefix="Be brief."), {"model": "m", "n": 3}, vocabulary)
    assert not edits.put
    assert vocabulary.asked_choices({"n": 3}) == 1
    assert vocabulary.asked_cap({"max_tokens": 3}) is None
    assert wire.operation.is_media


@pytest.mark.parametrize(
    ("prompt", "prefixed"),
    [("x", "Be brief.\n\nx"), (["x", "y"], ["Be brief.\n\nx", "Be brief.\n\ny"]), ([1, 2], [1, 2]), (None, None)],
)
def test_instructions_begin_every_prompt(prompt, prefixed):
    document = {"model": "m", "prompt": prompt}
    edits = transform_edits(Transform(system_prefix="Be brief."), document, COMPLETIONS_WIRE.operation.vocabulary)
    assert apply_edits(document, edits) == {"model": "m", "prompt": prefixed}


@pytest.mark.parametrize(
    ("document", "choices"),
    [
        ({"prompt": "x"}, 1),
        ({"prompt": "x", "n": 2}, 2),
        ({"prompt": "x", "n": 2, "best_of": 5}, 5),
        ({"prompt": ["x", "y", "z"], "n": 2}, 6),
        ({"prompt": [[1, 2], [3]]}, 2),
        ({"prompt": [1, 2, 3]}, 1),
        ({"prompt": "x", "n": 0}, 1),
        ({}, 1),
    ],
)
def test_all_answers_that_a_completion_costs_are_counted(document, choices):
    assert COMPLETIONS_WIRE.operation.vocabulary.asked_choices(document) == choices


# --- Forms


def test_a_form_is_read():
    body = _form(
        (b'name="model"', b"m"),
        (b'name="include[]"', b"a"),
        (b'name="include[]"', b"b"),
        (b'name="file"; filename="x.wav"', b"\xff"),
        (b'name="gateway"', b'{"timeout_s": 5}'),
    )
    assert read_form(body, FORM) == {
        "model": "m",
        "include[]": ["a", "b"],
        "file": FILE,
        "gateway": {"timeout_s": 5},
    }


def test_a_file_that_is_called_like_a_field_is_no_field():
    with pytest.raises(InvalidRequest) as caught:
        TRANSCRIPTIONS_WIRE.read(read_form(_form((b'name="model"; filename="m"', b"m")), FORM), CALL)
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    "body", [b"", b"{}", _form((b'name="a"', b"1"), (b'name="a"', b"2")), _form((b'name="gateway"', b"[]"))]
)
def test_a_bad_form_is_refused(body):
    with pytest.raises(InvalidRequest):
        read_form(body, FORM)


# --- Who can serve


def _route(*relays):
    where = Target(provider="p", model="up", base_url="http://x")
    targets = [
        RouteTarget(provider=f"p{at}", adapter=EchoAdapter(), target=where, whole_target=where, relays=frozenset(names))
        for at, names in enumerate(relays)
    ]
    return Route(name="m", label="m", targets=tuple(targets), owned_by="p")


@pytest.mark.parametrize("wire", RELAYED)
def test_a_route_is_narrowed_to_those_that_can_serve(wire):
    name = wire.operation.relay
    both = _route({name}, {name, "openai.chat"})
    assert narrowed(both, wire.operation) is both
    found = narrowed(_route({"openai.chat"}, {name}), wire.operation)
    assert [target.provider for target in found.targets] == ["p1"]
    with pytest.raises(InvalidRequest, match=wire.operation.endpoint) as caught:
        narrowed(_route({"openai.chat"}), wire.operation)
    assert (caught.value.param, caught.value.code) == ("model", "unsupported_operation")


def test_what_can_be_translated_is_served_by_all():
    route = _route(set())
    assert narrowed(route, COMPLETIONS_WIRE.operation) is route
