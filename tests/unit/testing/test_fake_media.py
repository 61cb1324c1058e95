"""The fake provider's other endpoints say what OpenAI's SDK accepts."""

import base64
import json

import httpx
import pytest
from openai.types import Completion, ImagesResponse, ModerationCreateResponse
from openai.types.audio import Transcription
from openai.types.image_gen_completed_event import ImageGenCompletedEvent
from openai.types.image_gen_partial_image_event import ImageGenPartialImageEvent

from providers.framing import sse
from providers.testing import FakeProvider
from providers.testing.media import SOUND


@pytest.fixture
def ask(fake_provider: FakeProvider):
    with httpx.Client(base_url=fake_provider.url) as client:
        yield client.post


def _events(answer):
    return [sse.data_of(frame) for frame in sse.split_frames(answer.content)]


def test_completions(ask):
    body = {"model": "m", "prompt": ["a b c", "d"], "max_tokens": 2}
    whole = ask("/completions", json=body)
    Completion.model_validate_json(whole.content)
    assert [choice["text"] for choice in whole.json()["choices"]] == ["a b ", "d"]
    *chunks, done = _events(
        ask("/completions", json={**body, "stream": True, "stream_options": {"include_usage": True}})
    )
    assert done == b"[DONE]"
    assert json.loads(chunks[-1])["usage"] == whole.json()["usage"]
    assert ask("/completions", json={"model": "m", "prompt": [1, 2]}).status_code == 400


def test_verdicts(ask):
    answer = ask("/moderations", json={"model": "m", "input": "harm"})
    assert ModerationCreateResponse.model_validate_json(answer.content).results[0].flagged


def test_rankings(ask):
    answer = ask("/rerank", json={"model": "m", "query": "b", "documents": ["a", {"text": "b"}]}).json()
    assert [result["index"] for result in answer["results"]] == [1, 0]
    assert answer["usage"] == {"total_tokens": 3}


def test_pictures(ask):
    body = {"model": "m", "prompt": "a cat", "n": 2}
    ImagesResponse.model_validate_json(ask("/images/generations", json=body).content, strict=True)
    partial, completed = _events(ask("/images/generations", json={**body, "stream": True, "partial_images": 1}))
    ImageGenPartialImageEvent.model_validate_json(partial, strict=True)
    ImageGenCompletedEvent.model_validate_json(completed, strict=True)


def test_sounds(ask):
    body = {"model": "m", "input": "say this"}
    answer = ask("/audio/speech", json=body)
    assert (answer.content, answer.headers["content-type"]) == (SOUND, "audio/mpeg")
    *deltas, done = (json.loads(data) for data in _events(ask("/audio/speech", json={**body, "stream_format": "sse"})))
    assert b"".join(base64.b64decode(delta["audio"]) for delta in deltas) == SOUND
    assert done["usage"]["input_tokens"] == 2


def test_transcripts(ask, fake_provider: FakeProvider):
    files = {"file": ("x.wav", b"12345", "audio/wav")}
    whole = ask("/audio/transcriptions", data={"model": "m"}, files=files)
    Transcription.model_validate_json(whole.content, strict=True)
    assert fake_provider.journal.last.model == "m"
    for form in ("text", "srt", "vtt"):
        answer = ask("/audio/translations", data={"model": "m", "response_format": form}, files=files)
        assert answer.text == whole.json()["text"] == "a recording of 5 bytes"
    events = [json.loads(data) for data in _events(ask("/audio/transcriptions", data={"stream": "true"}, files=files))]
    assert [event["type"] for event in events] == ["transcript.text.delta"] * 5 + ["transcript.text.done"]
    assert ask("/audio/transcriptions", data={"model": "m"}, files={"other": b"x"}).status_code == 400
    assert (
        ask("/audio/transcriptions", content=b"x", headers={"content-type": "multipart/form-data"}).status_code == 400
    )
