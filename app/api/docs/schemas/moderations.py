"""Verdicts on what is harmful. Source: OpenAI's API reference, moderations, read 2026-11."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.api.docs.schemas.chat import ModelName
from app.api.docs.schemas.gateway import GatewayNote, GatewayOptions
from app.api.docs.schemas.messages import ImageUrl
from app.api.docs.schemas.references import reference


class ModerationText(msgspec.Struct, kw_only=True):
    """A text to judge."""

    type: Literal["text"]
    text: str


class ModerationImage(msgspec.Struct, kw_only=True):
    """An image to judge."""

    type: Literal["image_url"]
    image_url: ImageUrl


_INPUTS = [
    {"type": "string"},
    {"type": "array", "items": {"type": "string"}},
    {"type": "array", "items": {"anyOf": [reference("ModerationText"), reference("ModerationImage")]}},
]


class ModerationRequest(msgspec.Struct, kw_only=True):
    """What to judge."""

    input: Annotated[
        Any, Meta(description="A text, several, or texts and images together.", extra_json_schema={"anyOf": _INPUTS})
    ]
    model: Annotated[ModelName | None, Meta(description="Without it, `omni-moderation-latest`.")] = None
    gateway: GatewayOptions | None = None


class ModerationVerdict(msgspec.Struct, kw_only=True):
    """What was found in one input."""

    flagged: Annotated[bool, Meta(description="Whether anything was found.")]
    categories: Annotated[
        dict[str, bool | None], Meta(description="What was found, by category.", examples=[{"violence": True}])
    ]
    category_scores: Annotated[dict[str, float | None], Meta(description="How sure the model is, from 0 to 1.")]
    category_applied_input_types: Annotated[
        dict[str, list[str] | None] | UnsetType, Meta(description="Whether the text, the image or both led to it.")
    ] = UNSET


class Moderation(msgspec.Struct, kw_only=True):
    """One verdict for each input, in order."""

    id: str
    model: Annotated[str, Meta(description="As the provider calls it.")]
    results: list[ModerationVerdict]
    gateway: GatewayNote | UnsetType = UNSET


MODELS = (ModerationRequest, ModerationText, ModerationImage, Moderation)
