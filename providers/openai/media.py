"""Operations that only OpenAI's wire has words for, and that are therefore relayed or not served at all.

Source: https://developers.openai.com/api/reference/overview, read 2026-11; `rerank` is Jina's and Cohere's, which vLLM
and most hosts of rerankers serve beside it. Source: https://docs.vllm.ai/en/stable/serving/online_serving.html, read
2026-11.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from providers.errors import RequestRefused
from providers.framing import members, multipart
from providers.openai.wire import IMAGES, MODERATIONS, RERANK, SPEECH, TRANSCRIPTIONS, TRANSLATIONS
from providers.types import RelayRequest, Usage

PATHS = {
    MODERATIONS: "/moderations",
    RERANK: "/rerank",
    IMAGES: "/images/generations",
    SPEECH: "/audio/speech",
    TRANSCRIPTIONS: "/audio/transcriptions",
    TRANSLATIONS: "/audio/translations",
}
OPERATIONS = frozenset(PATHS)
_FORM = "multipart/form-data"
HEARD = frozenset({TRANSCRIPTIONS, TRANSLATIONS})
"""The operations that make text of a recording."""
_BYTES_PER_TOKEN = 4
_SOUND_BYTES_PER_TOKEN = 300
"""Speech at 48 kbit/s, of which vendors make about 20 tokens a second."""
_SPOKEN_TOKENS_IN_4_CHARACTERS = 5
"""A minute of speech is about 1,000 characters, and 1,250 tokens of sound."""
_SEEN_IMAGE_TOKENS = 1_600
_PICTURES = frozenset({"image", "image_url"})
_NO_TEXT = _PICTURES | {"type"}
_DRAWN_IMAGE_TOKENS = 1_056
"""A picture of 1024x1024 at medium quality.
Source: https://platform.openai.com/docs/guides/image-generation, read 2026-11."""
_EVENTS = "text/event-stream"
_SOUND = ("audio/", "video/", "application/octet-stream", "binary/octet-stream", "application/ogg")
_TRANSCRIPT = (_EVENTS, "application/json", "text/plain", "text/vtt", "application/x-subrip", "text/srt")
_READ_BY_MODELS = {
    MODERATIONS: ("input",),
    RERANK: ("query", "documents"),
    IMAGES: ("prompt",),
    SPEECH: ("input", "instructions"),
    TRANSCRIPTIONS: ("prompt",),
    TRANSLATIONS: ("prompt",),
}
"""The fields whose text a model reads."""


def answer_types(request: RelayRequest) -> tuple[str, ...]:
    """Return what the media type of an answer that is passed on as it comes may begin with.

    Speech is sound unless events are asked for; a transcript comes whole from models that cannot stream it.
    """
    if request.operation == SPEECH and not wants_events(request.document):
        return _SOUND
    return _TRANSCRIPT if request.operation in HEARD else ()


def wants_events(document: Mapping[str, Any]) -> bool:
    """Whether speech is asked for as events rather than as sound."""
    return document.get("stream_format") == "sse"


def is_form(request: RelayRequest) -> bool:
    """Whether the body of a request is a form."""
    return request.content_type[: len(_FORM)].lower() == _FORM


def edited(request: RelayRequest, *, model: str) -> bytes:
    """Return the body with the edits made and the upstream `model` named, JSON or form as it is.

    Raises `RequestRefused` for what no form can say.
    """
    put, drop, rename = dict(request.edits.put), request.edits.drop, request.edits.rename
    if request.document.get("model") != model:
        put["model"] = msgspec.json.encode(model)
    if not (put or drop or rename):
        return request.body
    if not is_form(request):
        return members.splice(request.body, put=put, drop=drop, rename=rename)
    try:
        texts = {name: _form_text(value) for name, value in put.items()}
        return multipart.splice(request.body, request.content_type, put=texts, drop=drop, rename=rename)
    except multipart.BadForm as error:
        raise RequestRefused(str(error), status=400) from error


def _form_text(value: bytes) -> str:
    """Return a JSON value as the text of a field: forms know no types."""
    decoded = msgspec.json.decode(value)
    return decoded if isinstance(decoded, str) else value.decode()


def estimate(request: RelayRequest) -> Usage:
    """Return what the input of a request comes to where the provider does not say.

    Its text counts at four bytes a token, a recording by its size, a picture as what it usually is.
    """
    fields = _READ_BY_MODELS.get(request.operation, ())
    text = text_tokens(sum(_text_bytes(request.document.get(name)) for name in fields))
    sound = -(-len(request.body) // _SOUND_BYTES_PER_TOKEN) if is_form(request) else 0
    return Usage(input_tokens=text + sound, audio_input_tokens=sound, estimated=True)


def text_tokens(size_bytes: int) -> int:
    """Return about how many tokens a text is."""
    return -(-size_bytes // _BYTES_PER_TOKEN)


def spoken_tokens(request: RelayRequest) -> int:
    """Return about how many tokens the sound is that speaks the input of a request."""
    text = request.document.get("input")
    return -(-len(text) * _SPOKEN_TOKENS_IN_4_CHARACTERS // 4) if isinstance(text, str) else 0


def drawn_tokens(images: int) -> int:
    """Return about how many tokens so many pictures are that were made."""
    return images * _DRAWN_IMAGE_TOKENS


def _text_bytes(value: Any) -> int:
    """Return how much text a value holds, in bytes; a picture counts as the text of as many tokens."""
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, list):
        return sum(map(_text_bytes, value))
    if not isinstance(value, dict):
        return 0
    pictures = sum(name in _PICTURES for name in value) * _SEEN_IMAGE_TOKENS * _BYTES_PER_TOKEN
    return pictures + sum(_text_bytes(item) for name, item in value.items() if name not in _NO_TEXT)
