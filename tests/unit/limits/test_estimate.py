"""What a prompt is taken for, in the shapes of every dialect."""

import base64
import json

import pytest

from app.limits.estimate import IMAGE_TOKENS, Estimator, Prompt, guess_tokens, measure
from providers.types import Usage

PICTURE = base64.b64encode(bytes(range(256)) * 20).decode()
SOUND = base64.b64encode(bytes(range(255)) * 30).decode()
URL = "https://example.com/cat.png"


def openai(*parts):
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}]}


def openai_picture(url):
    return {"type": "image_url", "image_url": {"url": url, "detail": "high"}}


SOUND_PART = {"type": "input_audio", "input_audio": {"data": SOUND, "format": "wav"}}
ANTHROPIC_PICTURE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PICTURE}}
TEXT = {"type": "text", "text": "What is this?"}

SHAPES = {
    "a text of OpenAI": ({"messages": [{"role": "user", "content": "Hello"}]}, 0, 0, 0),
    "a text part of OpenAI": (openai(TEXT), 0, 0, 0),
    "a picture elsewhere": (openai(TEXT, openai_picture(URL)), 1, 0, 0),
    "a picture in a data URL": (openai(openai_picture(f"data:image/png;base64,{PICTURE}")), 1, 0, len(PICTURE) + 22),
    "a type that is no text": (openai({"type": ["image_url"]}, {"type": {}}), 0, 0, 0),
    "two pictures": (openai(openai_picture(URL), openai_picture(f"data:image/png;base64,{PICTURE}")), 2, 0, None),
    "a sound of OpenAI": (openai(TEXT, SOUND_PART), 0, len(SOUND), len(SOUND)),
    "a picture before a sound": (openai(openai_picture(URL), SOUND_PART), 1, len(SOUND), len(SOUND)),
    "a sound before a picture": (openai(SOUND_PART, openai_picture(URL)), 1, len(SOUND), len(SOUND)),
    "a picture of the Responses API": (
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": URL}]}]}, 1, 0, 0,
    ),
    "a picture of Anthropic": (
        {"messages": [{"role": "user", "content": [TEXT, ANTHROPIC_PICTURE]}]}, 1, 0, len(PICTURE),
    ),
    "a picture in a tool's result": (
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [ANTHROPIC_PICTURE]}]}]},
        1, 0, len(PICTURE),
    ),
    "a picture of Gemini": (
        {"contents": [{"parts": [{"text": "?"}, {"inlineData": {"mimeType": "image/png", "data": PICTURE}}]}]},
        1, 0, len(PICTURE),
    ),
    "a picture of Gemini in the other spelling": (
        {"contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": PICTURE}}]}]}, 1, 0, len(PICTURE),
    ),
    "a picture that Gemini keeps": (
        {"contents": [{"parts": [{"fileData": {"mimeType": "image/jpeg", "fileUri": URL}}]}]}, 1, 0, 0,
    ),
    "a sound of Gemini": (
        {"contents": [{"parts": [{"inlineData": {"mimeType": "audio/mp3", "data": SOUND}}]}]},
        0, len(SOUND), len(SOUND),
    ),
    "a picture and a sound of Gemini": (
        {"contents": [{"parts": [
            {"inlineData": {"mimeType": "image/png", "data": PICTURE}},
            {"inlineData": {"mimeType": "audio/mp3", "data": SOUND}},
        ]}]},
        1, len(SOUND), len(PICTURE) + len(SOUND),
    ),
    "types that are no words": (
        openai(TEXT) | {"tools": [{"type": {}, "parameters": {"type": ["string", "null"]}}, {"type": [[]]}]}, 0, 0, 0,
    ),
    "short base64": (openai({"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}), 0, 0, 0),
    "a long text": (openai({"type": "text", "text": "many words " * 1_000}), 0, 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_media_is_told_from_text(name):
    document, images, media_bytes, taken_bytes = SHAPES[name]
    size = len(json.dumps(document))
    prompt = measure(document, size_bytes=size)
    assert (prompt.images, prompt.media_bytes) == (images, media_bytes)
    if taken_bytes is not None:
        assert prompt.text_bytes == size - taken_bytes


@pytest.mark.parametrize(
    "document", [{}, {"messages": None}, {"messages": [7, None]}, {"input": "text"}, {"contents": {}}]
)
def test_what_has_no_turns_is_text(document):
    assert measure(document, size_bytes=40) == Prompt(40)


def test_a_bound_is_above_a_guess():
    for prompt in (Prompt(1), Prompt(4_000), Prompt(10, images=3), Prompt(10, media_bytes=100_000)):
        assert guess_tokens(prompt) <= prompt.tokens_at_most


def test_a_guess_counts_text_pictures_and_sounds():
    assert guess_tokens(Prompt(9)) == 3
    assert guess_tokens(Prompt(4, images=2)) == 1 + 2 * IMAGE_TOKENS
    assert guess_tokens(Prompt(4, media_bytes=3_000)) == 1 + 10


def test_an_estimator_learns_what_a_model_makes_of_text():
    estimator, prompt = Estimator(), Prompt(4_000)
    assert estimator.input_tokens("m", prompt) == 1_000
    for _ in range(200):
        estimator.learn("m", prompt, Usage(input_tokens=2_000, output_tokens=40))
    assert 1_900 <= estimator.input_tokens("m", prompt) <= 2_000
    assert 40 <= estimator.output_tokens("m") <= 56
    assert estimator.input_tokens("other", prompt) == 1_000


def test_an_estimator_believes_no_absurdity():
    estimator, prompt = Estimator(), Prompt(4_000)
    for _ in range(500):
        estimator.learn("m", prompt, Usage(input_tokens=10**9, output_tokens=0))
    assert estimator.input_tokens("m", prompt) <= 4_000
    for _ in range(500):
        estimator.learn("m", prompt, Usage())
    assert estimator.input_tokens("m", prompt) >= 250


def test_an_estimator_learns_nothing_of_text_from_pictures():
    estimator = Estimator()
    estimator.learn("m", Prompt(4_000, images=1), Usage(input_tokens=9_000, output_tokens=256))
    assert estimator.input_tokens("m", Prompt(4_000)) == 1_000


def test_an_estimator_remembers_so_many_models():
    estimator = Estimator()
    for number in range(5_000):
        estimator.learn(f"m{number}", Prompt(400), Usage(input_tokens=400, output_tokens=10))
    assert len(estimator._models) == 4_096
    assert estimator.output_tokens("m0") == 256
