"""OpenAI's SDK asks for completions, verdicts, pictures, sounds and transcripts through a served gateway."""

import base64
import io
import json

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from outside.caller import Caller
from outside.ledger import Ledger, usd

from providers.framing.multipart import parse
from providers.testing import FakeProvider, Script
from providers.testing.media import PICTURE, SOUND

RECORDING = b"RIFF\x00\xff\r\n--" * 1000
SPEECH = {"model": "fake-model", "voice": "alloy", "input": "say this aloud"}


# --- Text completions


@pytest.mark.parametrize("model", ["echo", "fake-model", "fake-local"])
def test_completes_a_text(client: OpenAI, model: str):
    answer = client.completions.create(model=model, prompt="Once upon a time", max_tokens=3)
    assert answer.object == "text_completion"
    assert answer.choices[0].text.startswith("Once upon")
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


@pytest.mark.parametrize("model", ["echo", "fake-model", "fake-local"])
def test_streams_a_text(client: OpenAI, model: str):
    chunks = list(client.completions.create(model=model, prompt="Once upon a time", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Once upon a time"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("model", ["echo", "fake-model", "fake-local"])
def test_streams_usage_when_asked(client: OpenAI, model: str):
    options = {"include_usage": True}
    last = list(client.completions.create(model=model, prompt="a b c", stream=True, stream_options=options))[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 3


def test_a_prompt_is_echoed_where_it_is_said_as_a_chat(client: OpenAI, fake_provider: FakeProvider):
    answer = client.completions.create(model="fake-model", prompt="a b", echo=True, logprobs=None)
    assert answer.choices[0].text == "a ba b"
    assert fake_provider.journal.last.path == "/v1/chat/completions"


def test_logprobs_are_said_in_the_form_of_texts(client: OpenAI):
    answer = client.completions.create(model="fake-model", prompt="a b", logprobs=2)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert "".join(logprobs.tokens or []) == answer.choices[0].text
    assert logprobs.text_offset == [0, 2]


def test_what_only_completions_can_do_is_relayed_to_those_that_serve_them(client: OpenAI, fake_provider: FakeProvider):
    answer = client.completions.create(model="fake-local", prompt=["a", "b"], suffix="c", best_of=2)
    assert [choice.text for choice in answer.choices] == ["a", "b"]
    assert fake_provider.journal.last.path == "/v1/completions"
    assert fake_provider.journal.last.json["suffix"] == "c"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "best_of": 3}, "best_of"),
        ({"prompt": "a", "logprobs": 1, "echo": True}, "echo"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": "a", "logprobs": "x"}, "logprobs"),
    ],
)
def test_what_a_chat_cannot_do_is_a_400_that_names_it(client: OpenAI, fields, param):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="fake-model", **fields)
    assert caught.value.param == param


def test_a_completion_that_breaks_ends_with_an_error(client: OpenAI, fake_provider: FakeProvider):
    fake_provider.script(Script(times=1, fault="close", fault_after_frames=2), model="fake-local")
    with pytest.raises(openai.APIError):
        list(client.completions.create(model="fake-local", prompt="a b c d e f", stream=True))


# --- Moderation and ranking


def test_moderates(client: OpenAI):
    answer = client.moderations.create(model="fake-model", input=["peace", "harm"])
    assert [result.flagged for result in answer.results] == [False, True]


def test_a_moderation_without_a_model_asks_for_the_usual_one(client: OpenAI):
    with pytest.raises(openai.NotFoundError) as caught:
        client.moderations.create(input="x")
    assert caught.value.param == "model"
    assert "omni-moderation-latest" in str(caught.value)


def test_ranks(http: httpx.Client):
    body = {"model": "fake-model", "query": "red apple", "documents": ["a blue sky", "a red apple"], "top_n": 1}
    answer = http.post("/v1/rerank", json=body)
    assert answer.status_code == 200
    assert [result["index"] for result in answer.json()["results"]] == [1]


# --- Pictures


def test_draws(client: OpenAI, fake_provider: FakeProvider):
    answer = client.images.generate(model="fake-model", prompt="a cat", n=2, extra_body={"moderation": "low"})
    assert [image.b64_json for image in answer.data or []] == [PICTURE, PICTURE]
    assert answer.usage is not None
    assert answer.usage.output_tokens == 200
    assert fake_provider.journal.last.json["moderation"] == "low"


def test_draws_clearer_and_clearer(client: OpenAI):
    events = list(client.images.generate(model="fake-model", prompt="a cat", stream=True, partial_images=2))
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert events[-1].b64_json == PICTURE


def test_a_picture_that_breaks_is_no_whole_one(client: OpenAI, fake_provider: FakeProvider):
    fake_provider.script(Script(times=1, fault="close", fault_after_frames=1))
    with pytest.raises(openai.APIError):
        list(client.images.generate(model="fake-model", prompt="a cat", stream=True, partial_images=2))


# --- Speech


def test_speaks(client: OpenAI):
    with client.audio.speech.with_streaming_response.create(**SPEECH) as answer:
        assert answer.headers["content-type"] == "audio/mpeg"
        assert b"".join(answer.iter_bytes()) == SOUND
    assert client.audio.speech.create(**SPEECH).content == SOUND


async def test_speaks_asynchronously(async_client: AsyncOpenAI):
    async with async_client.audio.speech.with_streaming_response.create(**SPEECH) as answer:
        assert b"".join([piece async for piece in answer.iter_bytes()]) == SOUND


def test_speaks_in_events(client: OpenAI):
    with client.audio.speech.with_streaming_response.create(**SPEECH, stream_format="sse") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line.startswith("data:")]
    assert b"".join(base64.b64decode(event["audio"]) for event in events[:-1]) == SOUND
    assert events[-1]["usage"]["input_tokens"] == 3


def test_sound_comes_as_it_is_spoken(http: httpx.Client, fake_provider: FakeProvider):
    fake_provider.script(Script(times=1, chunk_delay_ms=150))
    with http.stream("POST", "/v1/audio/speech", json=SPEECH) as answer:
        pieces = list(answer.iter_raw())
    assert b"".join(pieces) == SOUND
    assert len(pieces) > 1


def test_sound_that_breaks_is_torn_and_nothing_is_said_in_it(http: httpx.Client, fake_provider: FakeProvider):
    fake_provider.script(Script(times=1, fault="close", fault_after_frames=2, chunk_delay_ms=50))
    heard: list[bytes] = []
    with http.stream("POST", "/v1/audio/speech", json=SPEECH) as answer, pytest.raises(httpx.RemoteProtocolError):
        heard.extend(answer.iter_raw())
    assert SOUND.startswith(b"".join(heard))


def test_the_note_of_the_cost_is_kept_out_of_sound(http: httpx.Client):
    answer = http.post("/v1/audio/speech", json=SPEECH, headers={"x-gateway-include": "cost"})
    assert answer.content == SOUND


def test_what_sound_costs_is_known_before_it_comes(caller: Caller, ledger: Ledger):
    answer = caller.http.post("/v1/audio/speech", json=SPEECH)
    (event,) = ledger.wait(1, key_id=caller.key_id)
    assert answer.headers["x-gateway-cost"] == usd(event["cost_nusd"]) > "0.000000000"


def test_what_sound_costs_is_told_to_every_caller_of_one_key(caller: Caller):
    first, again = (
        caller.http.post("/v1/audio/speech", json=SPEECH, headers={"idempotency-key": "speak"}) for _ in range(2)
    )
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["x-gateway-cost"] == again.headers["x-gateway-cost"] > "0.000000000"
    assert first.content == again.content == SOUND


def test_what_events_of_sound_cost_is_told_at_their_end(caller: Caller):
    answer = caller.http.post("/v1/audio/speech", json={**SPEECH, "stream_format": "sse"})
    assert answer.status_code == 200
    assert "x-gateway-cost" not in answer.headers


# --- Transcripts


def test_transcribes(client: OpenAI, fake_provider: FakeProvider):
    answer = client.audio.transcriptions.create(
        model="fake-model",
        file=("talk.wav", io.BytesIO(RECORDING), "audio/wav"),
        language="de",
        timestamp_granularities=["word", "segment"],
    )
    assert answer.text == f"a recording of {len(RECORDING)} bytes"
    sent = fake_provider.journal.last
    form = parse(sent.body, sent.headers["content-type"])
    assert form.document == {
        "model": "fake-model",
        "language": "de",
        "timestamp_granularities[]": ["word", "segment"],
    }
    assert [file.filename for file in form.files] == ["talk.wav"]


def test_the_model_of_a_form_is_the_targets(caller: Caller, fake_provider: FakeProvider):
    files = {"file": ("x.wav", RECORDING, "audio/wav")}
    fake_provider.reset()
    answer = caller.http.post("/v1/audio/transcriptions", data={"model": "fake/other-name"}, files=files)
    assert answer.status_code == 404, "the file names all models"
    assert not fake_provider.journal.entries


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
def test_transcribes_as_text(http: httpx.Client, form: str):
    data = {"model": "fake-model", "response_format": form}
    answer = http.post("/v1/audio/transcriptions", data=data, files={"file": ("x.wav", b"12345", "audio/wav")})
    assert answer.text == "a recording of 5 bytes"
    assert answer.headers["content-type"].split(";")[0] in {"text/plain", "application/x-subrip", "text/vtt"}
    assert "x-gateway-cost" in answer.headers


def test_streams_a_transcript(client: OpenAI):
    stream = client.audio.transcriptions.create(model="fake-model", file=("x.wav", b"12345"), stream=True)
    events = list(stream)
    assert "".join(event.delta for event in events if event.type == "transcript.text.delta") == events[-1].text
    assert events[-1].type == "transcript.text.done"


def test_translates(client: OpenAI, fake_provider: FakeProvider):
    with pytest.warns(DeprecationWarning, match="deprecated"):  # the SDK's own
        answer = client.audio.translations.create(model="fake-model", file=("x.wav", b"12345"))
    assert answer.text == "a recording of 5 bytes"
    assert fake_provider.journal.last.path == "/v1/audio/translations"


def test_a_large_recording_is_taken(http: httpx.Client):
    files = {"file": ("x.wav", bytes(22 << 20), "audio/wav")}
    answer = http.post("/v1/audio/transcriptions", data={"model": "fake-model"}, files=files)
    assert answer.json()["text"] == f"a recording of {22 << 20} bytes"
    files["file"] = ("x.wav", bytes(27 << 20), "audio/wav")
    assert http.post("/v1/audio/transcriptions", data={"model": "fake-model"}, files=files).status_code == 413


@pytest.mark.parametrize(
    ("request_fields", "status", "says"),
    [
        ({"data": {"model": "fake-model"}, "files": {"other": ("x.wav", b"1")}}, 400, "file must be a file"),
        ({"data": {}, "files": {"file": ("x.wav", b"1")}}, 400, "model must be"),
        ({"data": {"model": "fake-model"}, "files": {"file": ("a/b.wav", b"1")}}, 400, "is a path"),
        ({"data": {"model": ["a", "b"]}, "files": {"file": ("x.wav", b"1")}}, 400, "stands twice"),
        ({"data": {"model": "fake-model", "url": "http://127.0.0.1/x"}, "files": {"a": ("x", b"1")}}, 400, "url must"),
        ({"data": {"model": "fake-model", "api_base": "x"}, "files": {"file": ("x", b"1")}}, 400, "api_base"),
        ({"json": {"model": "fake-model"}}, 415, "multipart/form-data"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "names no boundary"),
        ({"data": {f"f{at}": "x" for at in range(1001)}, "files": {"file": ("x", b"1")}}, 400, "more than 100 parts"),
        ({"data": {"gateway": "{"}, "files": {"file": ("x", b"1")}}, 400, "gateway must be a JSON object"),
    ],
)
def test_a_form_that_is_wrong_is_refused(http: httpx.Client, request_fields, status, says):
    answer = http.post("/v1/audio/transcriptions", **request_fields)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["error"]["message"]


# --- What all have in common


REQUESTS = {
    "/v1/moderations": {"json": {"input": "x"}},
    "/v1/rerank": {"json": {"query": "x", "documents": ["x"]}},
    "/v1/images/generations": {"json": {"prompt": "x"}},
    "/v1/audio/speech": {"json": {"input": "x"}},
    "/v1/audio/transcriptions": {"data": {}, "files": {"file": ("x.wav", b"1")}},
    "/v1/audio/translations": {"data": {}, "files": {"file": ("x.wav", b"1")}},
}


def _with_model(fields, model):
    kind = "json" if "json" in fields else "data"
    return {**fields, kind: {**fields[kind], "model": model}}


@pytest.mark.parametrize("path", REQUESTS)
def test_a_provider_that_cannot_is_named_a_400(http: httpx.Client, path: str):
    answer = http.post(path, **_with_model(REQUESTS[path], "echo"))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["param"], error["code"]) == ("model", "unsupported_operation")
    assert path in error["message"]


@pytest.mark.parametrize("path", REQUESTS)
def test_what_a_provider_refuses_is_said(http: httpx.Client, path: str):
    answer = http.post(path, **_with_model(REQUESTS[path], "fake-429"))
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "1"
    assert http.post(path, **_with_model(REQUESTS[path], "fake-400")).status_code == 400
    assert http.post(path, **_with_model(REQUESTS[path], "fake-500")).status_code == 502


@pytest.mark.parametrize("path", [path for path in REQUESTS if path != "/v1/audio/speech"])
def test_garbage_is_no_answer(http: httpx.Client, path: str):
    assert http.post(path, **_with_model(REQUESTS[path], "fake-bad-json")).status_code == 502


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/moderations", {}, "input"),
        ("/v1/moderations", {"input": []}, "input"),
        (
            "/v1/moderations",
            {"input": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}]},
            "input[0].image_url.url",
        ),
        ("/v1/rerank", {"documents": ["x"]}, "query"),
        ("/v1/rerank", {"query": "x"}, "documents"),
        ("/v1/rerank", {"query": "x", "documents": [7]}, "documents"),
        ("/v1/rerank", {"query": "x", "documents": ["x"], "top_n": "1"}, "top_n"),
        ("/v1/images/generations", {}, "prompt"),
        ("/v1/images/generations", {"prompt": "x", "n": "2"}, "n"),
        ("/v1/images/generations", {"prompt": "x", "stream": "yes"}, "stream"),
        ("/v1/audio/speech", {}, "input"),
        ("/v1/audio/speech", {"input": "x", "voice": 7}, "voice"),
        ("/v1/audio/speech", {"input": "x", "base_url": "x"}, "base_url"),
    ],
)
def test_a_body_that_is_wrong_is_refused_by_name(http: httpx.Client, path, fields, param):
    answer = http.post(path, json={"model": "fake-model", **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_each_is_settled_with_what_it_used(caller: Caller, ledger: Ledger):
    post = caller.http.post
    assert post("/v1/images/generations", json={"model": "fake-model", "prompt": "a cat"}).status_code == 200
    assert post("/v1/audio/speech", json=SPEECH).status_code == 200
    files = {"file": ("x.wav", b"12345")}
    assert post("/v1/audio/transcriptions", data={"model": "fake-model"}, files=files).status_code == 200
    events = ledger.wait(3, key_id=caller.key_id)
    found = {
        event["operation"]: (event["input_tokens"], event["output_tokens"], event["usage_source"]) for event in events
    }
    assert found == {
        "images": (2, 100, "provider"),
        "speech": (4, 18, "estimated"),
        "transcriptions": (5, 5, "provider"),
    }


@pytest.mark.parametrize("form", ["text", "srt", "vtt"])
@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/v1/audio/translations"])
def test_a_transcript_that_does_not_tell_its_tokens_is_charged_by_estimate(
    caller: Caller, ledger: Ledger, path: str, form: str
):
    files = {"file": ("x.wav", RECORDING)}
    answer = caller.http.post(path, data={"model": "fake-model", "response_format": form}, files=files)
    assert answer.headers["x-gateway-cost"] > "0.000000000"
    (event,) = ledger.wait(1, key_id=caller.key_id)
    assert event["usage_source"] == "estimated"
    assert event["input_tokens"] >= len(RECORDING) // 300
    assert event["output_tokens"] == -(-len(answer.content) // 4)
