"""Pictures, sounds, transcripts, verdicts and rankings: what goes to the provider is what the client sent."""

import json

import httpx
import pytest

from providers.catalog import Quirks
from providers.errors import RequestRefused
from providers.framing.multipart import parse
from providers.openai import media
from providers.openai.azure import AzureDialect
from providers.openai.plugin import OpenAIDialect
from providers.types import Edits, RelayRequest, Secret, Target, Usage

TARGET = Target(provider="p", model="real", base_url="https://api.example.com/v1", credential=Secret("sk-1"))
AZURE = Target(provider="p", model="my deploy", base_url="https://r.openai.azure.com", credential=Secret("sk-1"))
PATHS = {
    "openai.moderations": "/moderations",
    "openai.rerank": "/rerank",
    "openai.images": "/images/generations",
    "openai.speech": "/audio/speech",
    "openai.transcriptions": "/audio/transcriptions",
    "openai.translations": "/audio/translations",
}
EDITS = Edits(put={"language": b'"de"', "temperature": b"0.5"}, drop=frozenset({"gateway"}), rename={"hint": "prompt"})


def _json(operation, document, **fields):
    body = json.dumps(document).encode()
    return RelayRequest(operation=operation, body=body, document=document, **fields)


def _form(data, **fields):
    files = {"file": ("a.wav", b"RIFF\xff\r\n", "audio/wav")}
    sent = httpx.Request("POST", "http://gateway.invalid", data=data, files=files)
    content_type = sent.headers["content-type"]
    body = sent.read()
    document = parse(body, content_type).document
    operation = fields.pop("operation", "openai.transcriptions")
    return RelayRequest(operation=operation, body=body, document=document, content_type=content_type, **fields)


def _ask(request, dialect=None, target=TARGET):
    return (dialect or OpenAIDialect(Quirks())).encode_relay(request, target)


@pytest.mark.parametrize("operation", PATHS)
def test_every_vendor_of_the_wire_is_asked_at_openais_path(operation):
    dialect = OpenAIDialect(Quirks())
    assert operation in dialect.relays(TARGET)
    asked = _ask(_json(operation, {"model": "public", "input": "x"}), dialect)
    assert asked.url == f"https://api.example.com/v1{PATHS[operation]}"
    assert (asked.method, dict(asked.headers)["authorization"]) == ("POST", "Bearer sk-1")


@pytest.mark.parametrize(
    ("version", "prefix", "query"),
    [
        ("v1", "/openai/v1", ""),
        ("2025-04-01-preview", "/openai/deployments/my%20deploy", "?api-version=2025-04-01-preview"),
    ],
)
def test_azure_has_paths_of_its_own_and_does_not_moderate_or_rank(version, prefix, query):
    dialect = AzureDialect(Quirks(auth="api-key"), api_version=version)
    served = media.OPERATIONS & dialect.relays(AZURE)
    assert media.OPERATIONS - served == {"openai.moderations", "openai.rerank"}
    for operation in served:
        asked = _ask(_json(operation, {"model": "public"}), dialect, AZURE)
        assert asked.url == f"https://r.openai.azure.com{prefix}{PATHS[operation]}{query}"
        assert json.loads(asked.body) == {"model": "my deploy"}


@pytest.mark.parametrize("operation", PATHS)
def test_the_model_alone_is_changed(operation):
    request = _json(operation, {"model": "public", "n": 1.50, "unknown": {"model": "public"}}, stream=True)
    assert _ask(request).body == request.body.replace(b'"public"', b'"real"', 1)


def test_nothing_is_changed_if_the_model_is_called_alike():
    request = _json("openai.images", {"model": "real", "stream": True}, stream=True, output_cap=5)
    assert _ask(request).body is request.body


def test_a_model_that_was_not_named_is():
    assert json.loads(_ask(_json("openai.moderations", {"input": "x"})).body) == {"input": "x", "model": "real"}


def test_edits_are_made():
    document = {"model": "public", "hint": "x", "gateway": {}, "temperature": 1}
    body = json.loads(_ask(_json("openai.transcriptions", document, edits=EDITS)).body)
    assert body == {"model": "real", "prompt": "x", "temperature": 0.5, "language": "de"}


def test_a_form_keeps_its_type_and_all_bytes_but_the_models():
    request = _form({"model": "public", "include[]": ["logprobs"], "stream": "true"}, stream=True)
    asked = _ask(request)
    assert asked.body == request.body.replace(b"public", b"real")
    headers = dict(asked.headers)
    assert headers["content-type"] == request.content_type
    assert headers["authorization"] == "Bearer sk-1"


def test_a_form_in_other_letters_is_one():
    request = _form({"model": "public"})
    odd = RelayRequest(
        operation=request.operation,
        body=request.body,
        document=request.document,
        content_type="Multipart/Form-Data" + request.content_type.removeprefix("multipart/form-data"),
    )
    assert dict(_ask(odd).headers)["content-type"] == odd.content_type


def test_edits_of_a_form_are_made_as_text():
    asked = _ask(_form({"model": "public", "hint": "x", "gateway": "{}", "temperature": "1"}, edits=EDITS))
    form = parse(asked.body, dict(asked.headers)["content-type"])
    assert form.document == {"model": "real", "prompt": "x", "temperature": "0.5", "language": "de"}
    assert [file.filename for file in form.files] == ["a.wav"]


def test_an_edit_that_no_form_can_hold_is_refused():
    with pytest.raises(RequestRefused, match="no field of a form"):
        _ask(_form({"model": "public"}, edits=Edits(put={'a"b': b"1"})))


def test_a_form_and_json_do_not_share_headers():
    dialect = OpenAIDialect(Quirks(headers={"X-Title": "t"}))
    form = dict(_ask(_form({"model": "public"}), dialect).headers)
    again = dict(_ask(_json("openai.images", {"model": "public"}), dialect).headers)
    assert again["content-type"] == "application/json"
    assert form["x-title"] == again["x-title"] == "t"


@pytest.mark.parametrize(
    ("operation", "document", "takes", "refuses"),
    [
        (
            "openai.speech",
            {},
            ["audio/mpeg", "audio/pcm", "application/octet-stream"],
            ["text/html", "application/json"],
        ),
        ("openai.speech", {"stream_format": "audio"}, ["audio/wav"], ["text/event-stream"]),
        ("openai.transcriptions", {}, ["text/event-stream", "application/json", "text/plain"], ["text/html"]),
    ],
)
def test_an_answer_may_be_of_the_types_that_were_asked_for(operation, document, takes, refuses):
    types = _ask(_json(operation, {"model": "m", **document}, stream=True)).answer_types
    assert all(kind.startswith(types) for kind in takes)
    assert not any(kind.startswith(types) for kind in refuses)


@pytest.mark.parametrize(
    ("operation", "document"), [("openai.speech", {"stream_format": "sse"}), ("openai.images", {})]
)
def test_events_are_asked_for_as_ever(operation, document):
    assert _ask(_json(operation, {"model": "m", **document}, stream=True)).answer_types == ()


@pytest.mark.parametrize(
    ("operation", "document", "tokens"),
    [
        ("openai.moderations", {"input": "12345678"}, 2),
        ("openai.moderations", {"input": ["1234", "12345"]}, 3),
        (
            "openai.moderations",
            {"input": [{"type": "text", "text": "1234"}, {"type": "image_url", "image_url": {}}]},
            1601,
        ),
        ("openai.rerank", {"query": "1234", "documents": ["1234", {"text": "1234"}, {"image": "1234"}, 7]}, 1603),
        ("openai.rerank", {"query": {"text": "1234"}, "documents": [{"title": "1234", "body": ["1234"]}]}, 3),
        ("openai.images", {"prompt": "éééé"}, 2),
        ("openai.speech", {"input": "1234", "instructions": "1"}, 2),
        ("openai.transcriptions", {"prompt": None}, 0),
        ("openai.translations", {}, 0),
        ("openai.images", {"prompt": 7}, 0),
    ],
)
def test_what_is_not_reported_is_estimated_from_what_a_model_reads(operation, document, tokens):
    assert media.estimate(_json(operation, document)) == Usage(input_tokens=tokens, estimated=True)


@pytest.mark.parametrize("operation", ["openai.transcriptions", "openai.translations"])
def test_a_recording_is_estimated_by_its_size(operation):
    form = RelayRequest(
        operation=operation,
        body=bytes(2999),
        document={"prompt": "1234"},
        content_type="multipart/form-data; boundary=x",
    )
    assert media.estimate(form) == Usage(input_tokens=11, audio_input_tokens=10, estimated=True)
