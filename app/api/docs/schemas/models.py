"""The list of models, in OpenAI's shape and in Anthropic's."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Model(msgspec.Struct, kw_only=True):
    """A model that the key may use."""

    id: Annotated[str, Meta(description="Its public name.")]
    object: Literal["model"]
    created: Annotated[int, Meta(description="Seconds since the Unix epoch.")]
    owned_by: str


class ModelList(msgspec.Struct, kw_only=True):
    """All models that the key may use."""

    object: Literal["list"]
    data: list[Model]


class AnthropicModel(msgspec.Struct, kw_only=True):
    """A model, as Anthropic's clients read it."""

    type: Literal["model"]
    id: str
    display_name: str
    created_at: Annotated[str, Meta(extra_json_schema={"format": "date-time"})]


class AnthropicModelPage(msgspec.Struct, kw_only=True):
    """A page of models, as Anthropic's clients read it."""

    data: list[AnthropicModel]
    has_more: bool
    first_id: str | None
    last_id: str | None


MODELS = (Model, ModelList, AnthropicModel, AnthropicModelPage)
