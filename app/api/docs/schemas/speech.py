"""Texts read aloud. Source: OpenAI's API reference, audio, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.chat import ModelName
from app.api.docs.schemas.gateway import GatewayNote, GatewayOptions


class SpeechRequest(msgspec.Struct, kw_only=True):
    """A text to read aloud."""

    model: ModelName
    input: Annotated[str, Meta(description="The text.")]
    voice: Annotated[
        str | dict[str, Any] | None,
        Meta(description="Who reads it: a name, or the `id` of a voice.", examples=["alloy"]),
    ] = None
    instructions: Annotated[str | None, Meta(description="How to read it.")] = None
    response_format: Annotated[
        str | None, Meta(description="The form of the sound.", examples=["mp3", "opus", "aac", "flac", "wav", "pcm"])
    ] = None
    speed: float | None = None
    stream_format: Annotated[
        Literal["audio", "sse"] | None, Meta(description="`sse`: the sound in events, with the token counts.")
    ] = None
    gateway: GatewayOptions | None = None


class SpeechUsage(msgspec.Struct, kw_only=True):
    """Token counts."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class SpeechDelta(msgspec.Struct, kw_only=True):
    """More sound."""

    type: Literal["speech.audio.delta"]
    audio: Annotated[str, Meta(description="The sound, in base64.")]


class SpeechDone(msgspec.Struct, kw_only=True):
    """The sound is complete."""

    type: Literal["speech.audio.done"]
    usage: SpeechUsage | None = None
    gateway: GatewayNote | UnsetType = UNSET


EVENTS = {"speech.audio.delta": SpeechDelta, "speech.audio.done": SpeechDone}
"""The events of streamed speech by their `type`."""

MODELS = (SpeechRequest, *EVENTS.values())
