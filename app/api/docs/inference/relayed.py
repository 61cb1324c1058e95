"""The paths of OpenAI's dialect that have no equal in others: only providers that serve them can."""

from app.api.docs.inference.operations import FORM, SOUND, Title, body, inference, shaped, until
from app.api.docs.inference.refusals import JSON, Object
from app.api.docs.schemas.headers import TEXT
from app.api.docs.schemas.references import reference

_RELAYED = "Needs a provider that serves this; the built-in `echo` does not."
_TEXTS = ("text/plain", "text/vtt", "text/srt", "application/x-subrip")
_SOUND: Object = {"schema": {"type": "string", "contentMediaType": "application/octet-stream"}}


def relayed_paths() -> Object:
    """Return the descriptions of these paths."""
    return {
        "/v1/rerank": {"post": _rerank()},
        "/v1/moderations": {"post": _moderations()},
        "/v1/images/generations": {"post": _images()},
        "/v1/audio/speech": {"post": _speech()},
        "/v1/audio/transcriptions": {"post": _transcriptions()},
        "/v1/audio/translations": {"post": _translations()},
    }


def _rerank() -> Object:
    example = {"model": "rerank-v3.5", "query": "Where is the fox?", "documents": ["A fox in the wood.", "A dog."]}
    return inference(
        Title("Embeddings", "createRanking", "Rank documents by what they have to do with a question", _RELAYED),
        request=body("RerankRequest", {"Two documents": example}),
        content=shaped(json="Ranking"),
    )


def _moderations() -> Object:
    return inference(
        Title("Moderation", "createModeration", "Judge whether something is harmful", _RELAYED),
        request=body("ModerationRequest", {"A text": {"model": "omni-moderation-latest", "input": "Hello"}}),
        content=shaped(json="Moderation"),
    )


def _images() -> Object:
    example = {"model": "gpt-image-2", "prompt": "A red fox in the snow"}
    return inference(
        Title("Media", "createImage", "Draw a picture", _RELAYED),
        request=body("ImageRequest", {"A picture": example, "A stream": example | {"stream": True}}),
        content=shaped(json="ImageList", events="ImageEvent"),
        says=until("image_generation.completed"),
    )


def _speech() -> Object:
    example = {"model": "gpt-4o-mini-tts", "voice": "alloy", "input": "Hello"}
    return inference(
        Title("Media", "createSpeech", "Read a text aloud", _RELAYED),
        request=body("SpeechRequest", {"Sound": example, "Events": example | {"stream_format": "sse"}}),
        content={SOUND: _SOUND, "application/octet-stream": _SOUND, **shaped(events="SpeechEvent")},
        says=until("speech.audio.done", asked="`stream_format` `sse`"),
    )


def _transcriptions() -> Object:
    return inference(
        Title("Media", "createTranscription", "Write down what is said", _RELAYED),
        request={FORM: {"schema": reference("TranscriptionForm")}},
        content=_transcript() | shaped(events="TranscriptEvent"),
        says=until("transcript.text.done"),
    )


def _translations() -> Object:
    return inference(
        Title("Media", "createTranslation", "Write down in English what is said", _RELAYED),
        request={FORM: {"schema": reference("TranslationForm")}},
        content=_transcript(),
    )


def _transcript() -> Object:
    return {JSON: {"schema": reference("Transcript")}, **{kind: {"schema": TEXT} for kind in _TEXTS}}
