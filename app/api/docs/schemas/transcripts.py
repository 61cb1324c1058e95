"""Sound as text. Source: OpenAI's API reference, audio, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.gateway import GatewayNote, GatewayOptions

_ModelName = Annotated[
    str,
    Meta(
        description="A public name of `GET /v1/models`, or `provider/model`.",
        min_length=1,
        max_length=512,
        examples=["gpt-transcribe"],
    ),
]
_Sound = Annotated[
    Any,
    Meta(
        description="The recording: flac, mp3, mp4, mpeg, mpga, m4a, ogg, wav or webm.",
        extra_json_schema={"type": "string", "contentMediaType": "application/octet-stream"},
    ),
]


class TranslationForm(msgspec.Struct, kw_only=True):
    """A recording to write down in English."""

    model: _ModelName
    file: _Sound = UNSET
    url: Annotated[
        str | UnsetType, Meta(description="In the file's place: where it is, if the provider reads URLs.")
    ] = UNSET
    prompt: Annotated[str | UnsetType, Meta(description="A text whose style and words to follow.")] = UNSET
    response_format: Annotated[
        str | UnsetType,
        Meta(description="The form of the answer.", examples=["json", "text", "srt", "vtt", "verbose_json"]),
    ] = UNSET
    temperature: float | UnsetType = UNSET
    gateway: GatewayOptions | UnsetType = UNSET


class TranscriptionForm(TranslationForm, kw_only=True):
    """A recording to write down."""

    language: Annotated[str | UnsetType, Meta(description="The language spoken, in ISO 639-1.", examples=["en"])] = (
        UNSET
    )
    stream: Annotated[bool | UnsetType, Meta(description="Whether to answer piece by piece.")] = UNSET
    timestamp_granularities: Annotated[
        list[Literal["word", "segment"]] | UnsetType, Meta(description="What to time, in `verbose_json`.")
    ] = msgspec.field(default=UNSET, name="timestamp_granularities[]")
    include: Annotated[list[str] | UnsetType, Meta(description="What else to tell.", examples=[["logprobs"]])] = (
        msgspec.field(default=UNSET, name="include[]")
    )
    chunking_strategy: Annotated[
        str | UnsetType, Meta(description="Where to cut the sound: `auto`, or an object as JSON.", examples=["auto"])
    ] = UNSET
    known_speaker_names: Annotated[list[str] | UnsetType, Meta(description="Who may be speaking.")] = msgspec.field(
        default=UNSET, name="known_speaker_names[]"
    )
    known_speaker_references: Annotated[
        list[str] | UnsetType, Meta(description="How each of them sounds, as data: URLs.")
    ] = msgspec.field(default=UNSET, name="known_speaker_references[]")


class TranscriptSegment(msgspec.Struct, kw_only=True):
    """One stretch of speech; times are in seconds."""

    id: int | str
    start: float
    end: float
    text: str
    speaker: Annotated[str | UnsetType, Meta(description="Who speaks, of models that tell voices apart.")] = UNSET
    avg_logprob: float | UnsetType = UNSET
    no_speech_prob: float | UnsetType = UNSET


class TranscriptWord(msgspec.Struct, kw_only=True):
    """One word; times are in seconds."""

    word: str
    start: float
    end: float


class TranscriptUsage(msgspec.Struct, kw_only=True):
    """What it came to, in tokens or in seconds of sound."""

    type: Annotated[str, Meta(examples=["tokens", "duration"])]
    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    input_token_details: Annotated[dict[str, Any] | None, Meta(description="Of which: sound, text.")] = None
    seconds: float | None = None


class Transcript(msgspec.Struct, kw_only=True):
    """What was said. Times and words come with `verbose_json`, speakers with `diarized_json`."""

    text: str
    task: str | UnsetType = UNSET
    language: str | None = None
    duration: Annotated[float | str | None, Meta(description="In seconds.")] = None
    segments: list[TranscriptSegment] | None = None
    words: list[TranscriptWord] | None = None
    logprobs: list[dict[str, Any]] | None = None
    usage: TranscriptUsage | None = None
    gateway: GatewayNote | UnsetType = UNSET


class TranscriptDelta(msgspec.Struct, kw_only=True):
    """More text."""

    type: Literal["transcript.text.delta"]
    delta: str
    logprobs: list[dict[str, Any]] | None = None
    segment_id: str | None = None


class TranscriptSpoken(msgspec.Struct, kw_only=True):
    """One stretch of speech is complete; times are in seconds."""

    type: Literal["transcript.text.segment"]
    id: str
    start: float
    end: float
    text: str
    speaker: str | None = None


class TranscriptDone(msgspec.Struct, kw_only=True):
    """The transcript is complete."""

    type: Literal["transcript.text.done"]
    text: str
    logprobs: list[dict[str, Any]] | None = None
    usage: TranscriptUsage | None = None
    gateway: GatewayNote | UnsetType = UNSET


EVENTS = {
    "transcript.text.delta": TranscriptDelta,
    "transcript.text.segment": TranscriptSpoken,
    "transcript.text.done": TranscriptDone,
}
"""The events of a streamed transcript by their `type`."""

MODELS = (TranscriptionForm, TranslationForm, Transcript, *EVENTS.values())
