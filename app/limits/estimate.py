"""How much a request may use, told beforehand. Law: from bytes, never by a tokenizer; money is a bound, tokens a guess.

A token is at least one byte of text, so the bytes of a text bound its tokens; on average it is about four.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from providers.types import Usage

_BYTES_PER_TOKEN = 4
_FIRST_OUTPUT_TOKENS = 256
_WEIGHT = 16
"""How many requests the memory of a model spans."""
_THOUSAND = 1_000
_FACTOR_MIN, _FACTOR_MAX = 250, 4_000
_LEARNT_FROM_BYTES = 256
_MAX_MODELS = 4_096
_MEDIA_FROM_BYTES = 1_024
"""Base64 of a picture or a sound is longer than this; anything shorter counts as text."""

IMAGE_TOKENS, IMAGE_TOKENS_AT_MOST = 1_600, 36_000
"""What a picture usually takes, and what the most expensive model makes of a large one (gpt-4o-mini, high detail).
Source: https://platform.openai.com/docs/guides/images-vision, read 2026-11."""
_SOUND_BYTES_PER_TOKEN, _SOUND_BYTES_PER_TOKEN_AT_LEAST = 300, 80
"""Speech at 48 kbit/s, of which vendors make about 20 tokens a second; and at 16 kbit/s, of which they make 25."""


class Prompt(NamedTuple):
    """The size of what goes in: text in bytes, pictures, and the bytes of sounds and other files as they are sent."""

    text_bytes: int
    images: int = 0
    media_bytes: int = 0

    @property
    def tokens_at_most(self) -> int:
        """More tokens than this are not charged for."""
        return (
            self.text_bytes + self.images * IMAGE_TOKENS_AT_MOST + self.media_bytes // _SOUND_BYTES_PER_TOKEN_AT_LEAST
        )


_IMAGE_MEMBERS = frozenset({"image_url", "input_image", "image", "inlineData", "inline_data", "fileData", "file_data"})
_IMAGE_TYPES = ("image_url", "input_image", "image")
_PICTURES = ("data:image/",)


def measure(document: Mapping[str, Any], *, size_bytes: int) -> Prompt:
    """Return the size of a decoded body of `size_bytes`; what media it holds is not text."""
    if not _may_hold_media(document):
        return Prompt(size_bytes)
    images = media_bytes = taken_bytes = 0
    stack: list[tuple[str, Any, bool]] = [("", document, False)]
    while stack:
        name, value, is_pictured = stack.pop()
        if isinstance(value, Mapping):
            is_picture = _is_picture(name, value)
            images += is_picture
            stack.extend((member, item, is_picture or is_pictured) for member, item in value.items())
        elif isinstance(value, list):
            stack.extend((name, item, is_pictured) for item in value)
        elif isinstance(value, str) and len(value) >= _MEDIA_FROM_BYTES and _is_media(value):
            taken_bytes += len(value)
            media_bytes += 0 if is_pictured or value.startswith(_PICTURES) else len(value)
    return Prompt(max(1, size_bytes - taken_bytes), images, media_bytes)


def _may_hold_media(document: Mapping[str, Any]) -> bool:
    """Whether any turn is made of parts; plain text, which most requests are, needs no search."""
    turns = document.get("messages") or document.get("input") or document.get("contents")
    if not isinstance(turns, list):
        return False
    for turn in turns:
        if isinstance(turn, dict):
            content = turn.get("content")
            if "parts" in turn or not (content is None or isinstance(content, str)):
                return True
    return False


def _is_picture(name: str, value: Mapping[str, Any]) -> bool:
    # A tuple, as the type of a JSON Schema may be a list, which no set can be asked for.
    if value.get("type") in _IMAGE_TYPES:
        return True
    media_type = value.get("mimeType") or value.get("mime_type")
    return name in _IMAGE_MEMBERS and isinstance(media_type, str) and media_type.startswith("image/")


def _is_media(value: str) -> bool:
    """Whether a long text is base64: it has no blank in its first part."""
    return value.startswith("data:") or " " not in value[:_MEDIA_FROM_BYTES]


def guess_tokens(prompt: Prompt) -> int:
    """Return roughly how many tokens a prompt is to any model."""
    text = -(-prompt.text_bytes // _BYTES_PER_TOKEN)
    return text + prompt.images * IMAGE_TOKENS + prompt.media_bytes // _SOUND_BYTES_PER_TOKEN


class _Learnt:
    """What a model made of its last requests: tokens for each thousand of our guess, and its mean output."""

    __slots__ = ("factor", "output_tokens")

    def __init__(self) -> None:
        self.factor = _THOUSAND
        self.output_tokens = _FIRST_OUTPUT_TOKENS


class Estimator:
    """Guesses tokens, and learns from what providers report. One for each worker."""

    def __init__(self) -> None:
        self._models: dict[str, _Learnt] = {}

    def input_tokens(self, model: str, prompt: Prompt) -> int:
        """Return roughly how many tokens a prompt is to a model."""
        learnt = self._models.get(model)
        factor = learnt.factor if learnt is not None else _THOUSAND
        if factor == _THOUSAND:
            return guess_tokens(prompt)
        text = -(-prompt.text_bytes * factor // (_BYTES_PER_TOKEN * _THOUSAND))
        return text + prompt.images * IMAGE_TOKENS + prompt.media_bytes // _SOUND_BYTES_PER_TOKEN

    def output_tokens(self, model: str) -> int:
        """Return how many tokens a model usually answers."""
        learnt = self._models.get(model)
        return learnt.output_tokens if learnt is not None else _FIRST_OUTPUT_TOKENS

    def learn(self, model: str, prompt: Prompt, usage: Usage) -> None:
        """Take note of what a provider reported."""
        learnt = self._models.get(model)
        if learnt is None:
            if len(self._models) >= _MAX_MODELS:
                del self._models[next(iter(self._models))]
            learnt = self._models[model] = _Learnt()
        learnt.output_tokens += (usage.output_tokens - learnt.output_tokens) // _WEIGHT
        if prompt.text_bytes >= _LEARNT_FROM_BYTES and not prompt.images and not prompt.media_bytes:
            seen = usage.prompt_tokens * _BYTES_PER_TOKEN * _THOUSAND // prompt.text_bytes
            learnt.factor += (min(max(seen, _FACTOR_MIN), _FACTOR_MAX) - learnt.factor) // _WEIGHT


class Demand(NamedTuple):
    """What one request asks for.

    Tokens are what its limits count, guessed; money is what its budgets hold, bounded: `fixed_nusd`, and `rate_nusd`
    for each million of output tokens up to `cap`, that of all its `choices` together. `unpriced` is the model, or one
    of several, of which a target has no price. `likely_nusd` is what its input costs, guessed.
    """

    model: str
    input_tokens: int
    output_tokens: int
    fixed_nusd: int = 0
    rate_nusd: int = 0
    cap: int = 0
    unpriced: str | None = None
    choices: int = 1
    likely_nusd: int = 0

    @property
    def is_priced(self) -> bool:
        """Whether all its targets have a price."""
        return self.unpriced is None
