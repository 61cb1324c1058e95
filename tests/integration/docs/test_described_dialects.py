"""Every path that the document describes is served, every example in it works, and each dialect answers as it says."""

import json
from typing import Any

import httpx
import pytest
from documents import check_answer, check_request, examples_of
from documents.json_schema import faults_of

from app.api.inference_openapi import inference_document

DOCUMENT = json.loads(inference_document(version="1"))
OPERATIONS = [(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item]
EXAMPLES = list(examples_of(DOCUMENT))
COMPLETIONS, RESPONSES, MESSAGES = "/v1/completions", "/v1/responses", "/v1/messages"
COUNT = "/v1/messages/count_tokens"
SPEECH, TRANSCRIPTIONS, TRANSLATIONS = "/v1/audio/speech", "/v1/audio/transcriptions", "/v1/audio/translations"
_SAY = [{"role": "user", "content": "one two three"}]
_BODIES: dict[str, dict[str, Any]] = {
    COMPLETIONS: {"prompt": "one two three"},
    RESPONSES: {"input": "one two three"},
    MESSAGES: {"messages": _SAY, "max_tokens": 64},
}
_SCHEMA = {"type": "object", "properties": {"input": {"type": "string"}}}
_CHANGES: list[tuple[str, dict[str, Any]]] = [
    *((path, changed) for path in _BODIES for changed in ({}, {"stream": True}, {"a_new_field": 1})),
    *((path, {"gateway": {"include": "cost"}, **more}) for path in _BODIES for more in ({}, {"stream": True})),
    (COMPLETIONS, {"n": 2, "echo": True, "max_tokens": 2}),
    (COMPLETIONS, {"stream": True, "stream_options": {"include_usage": True}}),
    (RESPONSES, {"store": False, "max_output_tokens": 2}),
    (RESPONSES, {"tools": [{"type": "function", "name": "f", "parameters": _SCHEMA}], "tool_choice": "required"}),
    (RESPONSES, {"tools": [{"type": "custom", "name": "f"}], "tool_choice": "required", "stream": True}),
    (MESSAGES, {"max_tokens": 2}),
    (MESSAGES, {"tools": [{"name": "f", "input_schema": _SCHEMA}], "tool_choice": {"type": "any"}}),
    (MESSAGES, {"tools": [{"name": "f", "input_schema": _SCHEMA}], "tool_choice": {"type": "any"}, "stream": True}),
]
_GENERATE = {"contents": [{"role": "user", "parts": [{"text": "one two three"}]}]}
_METHODS = [":generateContent", ":streamGenerateContent?alt=sse", ":streamGenerateContent"]
_FAULTY = [
    *("fake-400", "fake-404", "fake-429", "fake-500", "fake-html", "fake-cut", "fake-reset", "fake-refused"),
    *("fake-error-frame", "fake-error-first", "fake-no-usage", "fake-reasoning", "fake-refusal", "fake-crlf"),
]
_FORMS = [
    *({}, {"response_format": "text"}, {"response_format": "srt"}, {"response_format": "vtt"}),
    {"gateway": json.dumps({"include": "cost"})},
]
_RECORDING = {"file": ("a.wav", b"RIFF", "audio/wav")}


def _faults(document: dict[str, Any], answer: httpx.Response) -> list[str]:
    return check_answer(
        document,
        answer.request.url.path,
        answer.request.method,
        answer.status_code,
        answer.content,
        content_type=answer.headers.get("content-type", ""),
        headers=answer.headers,
    )


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_what_is_described_is_served(client, document, method, path):
    assert document["paths"] == DOCUMENT["paths"]
    answer = client.request(method, path.replace("{model}", "nothing").replace("{id}", "nothing"))
    assert answer.status_code != 405
    assert "there is no such path" not in answer.text
    assert _faults(document, answer) == []


@pytest.mark.parametrize(("path", "about", "body"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_every_example_works(client, document, path, about, body):
    """With the built-in provider as it stands; where that cannot serve, with the model of one that can."""
    named = body.get("model", "echo")
    told = body if named == "echo" else body | {"model": "fake-model"}
    answer = client.post(path.replace("{model}", "echo"), json=told)
    assert answer.status_code == 200, about
    assert _faults(document, answer) == []
    if named != "echo":
        refused = client.post(path, json=body | {"model": "echo"})
        assert refused.status_code == 400
        assert _faults(document, refused) == []


@pytest.mark.parametrize("model", ["echo", "fake-model"])
@pytest.mark.parametrize(("path", "changed"), _CHANGES, ids=str)
def test_a_dialect_is_answered_as_described(client, document, path, changed, model):
    body = {"model": model, **_BODIES[path], **changed}
    assert check_request(document, path, "POST", body) == []
    answer = client.post(path, json=body)
    # What only the vendor of a dialect can know is refused where another is to serve.
    assert answer.status_code in ({200, 400} if "a_new_field" in changed else {200})
    assert _faults(document, answer) == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", _FAULTY)
@pytest.mark.parametrize("path", _BODIES)
def test_a_provider_that_fails_is_reported_as_described(client, document, path, model, stream):
    answer = client.post(path, json={"model": model, **_BODIES[path], "stream": stream})
    assert _faults(document, answer) == []


@pytest.mark.parametrize(
    ("status", "call"),
    [
        (400, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (400, {"json": {"model": "echo", "gateway": {"timeout_s": -1}}}),
        (401, {"json": {}, "headers": {"authorization": "Bearer nobody"}}),
        (404, {"json": {"model": "nothing"}}),
        (415, {"content": b"{}", "headers": {"content-type": "text/plain"}}),
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [*_BODIES, COUNT])
def test_a_refusal_is_said_as_described(client, document, path, status, call):
    body = _BODIES.get(path, _BODIES[MESSAGES])
    told = call | {"json": {**body, **call["json"]}} if "json" in call else call
    answer = client.post(path, **told)
    assert answer.status_code == status
    assert _faults(document, answer) == []


def test_a_message_carries_the_id_of_its_request_twice(client):
    answer = client.post(MESSAGES, json={"model": "echo", **_BODIES[MESSAGES]})
    assert answer.headers["request-id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("model", ["echo", "fake-model"])
def test_a_response_is_kept_read_gone_on_from_and_deleted_as_described(client, document, model):
    made = client.post(RESPONSES, json={"model": model, "input": "one"})
    read = client.get(f"{RESPONSES}/{made.json()['id']}")
    gone_on = client.post(RESPONSES, json={"model": model, "input": "two", "previous_response_id": made.json()["id"]})
    deleted = client.delete(f"{RESPONSES}/{made.json()['id']}")
    absent = client.get(f"{RESPONSES}/{made.json()['id']}")
    answers = [made, read, gone_on, deleted, absent]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 404]
    assert [fault for answer in answers for fault in _faults(document, answer)] == []


def test_speech_is_sound_as_described(client, document):
    body = {"model": "fake-model", "input": "hello", "voice": "alloy"}
    answer = client.post(SPEECH, json=body)
    assert answer.headers["content-type"].startswith("audio/")
    assert _faults(document, answer) == []


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        *((path, fields) for path in (TRANSCRIPTIONS, TRANSLATIONS) for fields in _FORMS),
        (TRANSCRIPTIONS, {"stream": "true"}),
    ],
    ids=str,
)
def test_a_transcript_is_answered_as_described(client, document, path, fields):
    answer = client.post(path, data={"model": "fake-model", **fields}, files=_RECORDING)
    assert answer.status_code == 200
    assert _faults(document, answer) == []


@pytest.mark.parametrize("path", [TRANSCRIPTIONS, TRANSLATIONS])
def test_a_form_that_cannot_be_served_is_refused_as_described(client, document, path):
    answers = [
        client.post(path, data={"model": "echo"}, files=_RECORDING),
        client.post(path, data={"model": "fake-model"}, files={"other": b"x"}),
        client.post(path, json={"model": "fake-model"}),
    ]
    assert [answer.status_code for answer in answers] == [400, 400, 415]
    assert [fault for answer in answers for fault in _faults(document, answer)] == []


# -- Google's paths, which name the model ------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["echo", "fake-model"])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"gateway": {"include": "cost"}},
        {"generationConfig": {"maxOutputTokens": 2, "candidateCount": 2}},
        {
            "tools": [{"functionDeclarations": [{"name": "f", "parametersJsonSchema": _SCHEMA}]}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("method", _METHODS)
def test_content_is_generated_as_described(client, document, method, changed, model):
    body = _GENERATE | changed
    assert check_request(document, "/v1beta/models/{model}:generateContent", "POST", body) == []
    answer = client.post(f"/v1beta/models/{model}{method}", json=body)
    assert answer.status_code == 200
    assert _faults(document, answer) == []


@pytest.mark.parametrize("model", [*_FAULTY, "nothing"])
@pytest.mark.parametrize("method", _METHODS)
def test_content_that_fails_is_reported_as_described(client, document, method, model):
    answer = client.post(f"/v1beta/models/{model}{method}", json=_GENERATE)
    if answer.text.startswith("[") and not answer.text.endswith("]"):
        *pieces, last = json.loads(answer.text + "]")
        answer_schema, error_schema = (
            DOCUMENT["components"]["schemas"][name] for name in ("GeminiAnswer", "GeminiError")
        )
        assert [fault for piece in pieces for fault in faults_of(piece, answer_schema, document=document)] == []
        assert faults_of(last, error_schema, document=document) == []
    else:
        assert _faults(document, answer) == []


@pytest.mark.parametrize("method", _METHODS)
def test_content_is_generated_for_clients_that_ask_for_version_1(client, document, method):
    at = [client.post(f"/{version}/models/echo{method}", json=_GENERATE) for version in ("v1beta", "v1")]
    assert [answer.status_code for answer in at] == [200, 200]
    described = f"/v1beta/models/echo{method.partition('?')[0]}"
    kind = at[1].headers["content-type"]
    assert check_answer(document, described, "POST", 200, at[1].content, content_type=kind) == []


def test_an_array_that_breaks_is_not_closed(client):
    said = client.post("/v1beta/models/fake-cut:streamGenerateContent", json=_GENERATE).text
    assert said.startswith("[")
    with pytest.raises(json.JSONDecodeError):
        json.loads(said)


@pytest.mark.parametrize(
    ("status", "call"),
    [
        (400, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (400, {"json": {"contents": []}}),
        (401, {"json": _GENERATE, "headers": {"authorization": "Bearer nobody"}}),
        (415, {"content": b"{}", "headers": {"content-type": "text/plain"}}),
    ],
    ids=str,
)
@pytest.mark.parametrize("method", _METHODS)
def test_content_that_is_refused_is_so_as_described(client, document, method, status, call):
    answer = client.post(f"/v1beta/models/echo{method}", **call)
    assert answer.status_code == status
    assert _faults(document, answer) == []


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "x-goog-api-key"])
def test_every_scheme_of_the_document_opens_every_dialect(embedded_gateway, name):
    key = embedded_gateway.key if name != "authorization" else f"Bearer {embedded_gateway.key}"
    for path, body in [
        (MESSAGES, {"model": "echo", **_BODIES[MESSAGES]}),
        ("/v1beta/models/echo:generateContent", _GENERATE),
    ]:
        assert httpx.post(embedded_gateway.base_url + path, json=body, headers={name: key}).status_code == 200
