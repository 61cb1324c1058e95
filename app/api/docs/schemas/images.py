"""Pictures made from words. Source: OpenAI's API reference, images, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.chat import ModelName, UserName
from app.api.docs.schemas.gateway import GatewayNote, GatewayOptions


class ImageRequest(msgspec.Struct, kw_only=True):
    """What to draw."""

    model: ModelName
    prompt: Annotated[str, Meta(description="What the picture is to show.")]
    n: Annotated[int | None, Meta(description="How many pictures to draw.")] = None
    size: Annotated[str | None, Meta(examples=["1024x1024", "auto"])] = None
    quality: Annotated[str | None, Meta(examples=["low", "medium", "high", "auto"])] = None
    background: Annotated[str | None, Meta(examples=["transparent", "opaque", "auto"])] = None
    output_format: Annotated[str | None, Meta(examples=["png", "jpeg", "webp"])] = None
    output_compression: Annotated[int | None, Meta(description="In percent; of `jpeg` and `webp`.")] = None
    response_format: Annotated[
        str | None, Meta(description="`url` or `b64_json`, of models that can give either.", examples=["b64_json"])
    ] = None
    moderation: Annotated[str | None, Meta(description="How strict to be.", examples=["auto", "low"])] = None
    style: Annotated[str | None, Meta(examples=["vivid", "natural"])] = None
    stream: Annotated[bool | None, Meta(description="Whether to send the picture as it grows.")] = None
    partial_images: Annotated[int | None, Meta(description="How many unfinished pictures to send, streamed.")] = None
    user: UserName | None = None
    gateway: GatewayOptions | None = None


class Image(msgspec.Struct, kw_only=True):
    """One picture: in the answer itself, or where it is."""

    b64_json: Annotated[str | None, Meta(description="The picture, in base64.")] = None
    url: str | None = None
    revised_prompt: Annotated[str | None, Meta(description="What was drawn indeed.")] = None


class ImageUsage(msgspec.Struct, kw_only=True):
    """Token counts, of models that draw by the token."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: Annotated[dict[str, Any] | None, Meta(description="Of which: text, images.")] = None
    output_tokens_details: Annotated[dict[str, Any] | None, Meta(description="Of which: text, images.")] = None


class ImageList(msgspec.Struct, kw_only=True):
    """The pictures."""

    created: Annotated[int, Meta(description="Seconds since the Unix epoch.")]
    data: list[Image] | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None
    usage: ImageUsage | None = None
    gateway: GatewayNote | UnsetType = UNSET


class _Drawn(msgspec.Struct, kw_only=True):
    b64_json: Annotated[str, Meta(description="The picture, in base64.")]
    created_at: int | None = None
    size: str | None = None
    quality: str | None = None
    background: str | None = None
    output_format: str | None = None


class ImagePartial(_Drawn, kw_only=True):
    """A picture that is not finished."""

    type: Literal["image_generation.partial_image"]
    partial_image_index: int


class ImageCompleted(_Drawn, kw_only=True):
    """A finished picture. The stream ends when there is one for each that was asked for."""

    type: Literal["image_generation.completed"]
    usage: ImageUsage | None = None
    gateway: GatewayNote | UnsetType = UNSET


EVENTS = {"image_generation.partial_image": ImagePartial, "image_generation.completed": ImageCompleted}
"""The events of a streamed picture by their `type`."""

MODELS = (ImageRequest, ImageList, *EVENTS.values())
