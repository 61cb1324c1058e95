"""Operations that only OpenAI's wire has words for, and that are therefore relayed or not served at all.

Source: https://developers.openai.com/api/reference/overview, read 2026-11; `rerank` is Jina's and Cohere's, which vLLM
and most hosts of rerankers serve beside it. Source: https://docs.vllm.ai/en/stable/serving/online_serving.html, read
2026-11.
"""

from collections.abc import Iterator, Mapping
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
_BYTES_PER_TOKEN = 4
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
    return _TRANSCRIPT if request.operation in {TRANSCRIPTIONS, TRANSLATIONS} else ()


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
    """Return what a request comes to where the provider does not say: its text, at four bytes a token.

    Sounds and pictures are not guessed at: they count as nothing, and the usage says that it is estimated.
    """
    fields = _READ_BY_MODELS.get(request.operation, ())
    size = sum(len(text.encode()) for name in fields for text in _texts(request.document.get(name)))
    return Usage(input_tokens=-(-size // _BYTES_PER_TOKEN), estimated=True)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        yield from _texts(value.get("text"))
