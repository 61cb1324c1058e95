"""Prices as the admin API speaks them; `StoredPrice` is also the stored record.

Amounts are decimal strings of USD per million tokens; of an image, per image.
"""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.domain.tenants.policies import ModelName, Name, Usd

PriceSource = Literal["api", "config"]

ProviderName = Annotated[Name, Meta(description="A configured provider; null: whichever serves the model.")]
PricedModel = Annotated[
    ModelName,
    Meta(
        description=(
            "With a provider: what the provider calls the model, else the public name. Without: the public name, as "
            "clients ask for it, else what any provider calls it. A price with a provider wins over one without."
        )
    ),
]
Amount = Annotated[Usd, Meta(description="USD per million tokens.")]
ImageAmount = Annotated[Usd, Meta(description="USD per image.")]

AMOUNTS = ("input", "output", "cache_read", "cache_write", "reasoning", "image", "audio_input", "audio_output")


class StoredPrice(msgspec.Struct, frozen=True, kw_only=True):
    """A price made through the API. Each change makes a new version, so what was charged never changes."""

    id: UUID
    provider: str | None = None
    model: str
    input: Usd | None = None
    output: Usd | None = None
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    reasoning: Usd | None = None
    image: Usd | None = None
    audio_input: Usd | None = None
    audio_output: Usd | None = None
    created_at: datetime
    updated_at: datetime
    version: int = 1


class ModelPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs. A price of the file (`source` is `config`) wins, and is read-only here."""

    id: UUID
    provider: ProviderName | None = None
    model: PricedModel
    input: Amount | None = None
    output: Amount | None = None
    cache_read: Amount | None = None
    cache_write: Amount | None = None
    reasoning: Amount | None = None
    image: ImageAmount | None = None
    audio_input: Amount | None = None
    audio_output: Amount | None = None
    created_at: Annotated[datetime | None, Meta(description="Null of a price of the file.")] = None
    updated_at: Annotated[datetime | None, Meta(description="Null of a price of the file.")] = None
    version: Annotated[int | None, Meta(description="Counts changes; it is the ETag. Null of a price of the file.")] = (
        None
    )
    source: PriceSource = "api"


class CreatePrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new price: the model and at least one amount. Absent cache, reasoning and audio amounts are as their direction.

    An absent `input` or `output` is zero.
    """

    provider: ProviderName | None = None
    model: PricedModel
    input: Amount | None = None
    output: Amount | None = None
    cache_read: Amount | None = None
    cache_write: Amount | None = None
    reasoning: Amount | None = None
    image: ImageAmount | None = None
    audio_input: Amount | None = None
    audio_output: Amount | None = None


class PatchPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes to a price: what is absent stays, null removes."""

    provider: ProviderName | UnsetType | None = UNSET
    model: PricedModel | UnsetType = UNSET
    input: Amount | UnsetType | None = UNSET
    output: Amount | UnsetType | None = UNSET
    cache_read: Amount | UnsetType | None = UNSET
    cache_write: Amount | UnsetType | None = UNSET
    reasoning: Amount | UnsetType | None = UNSET
    image: ImageAmount | UnsetType | None = UNSET
    audio_input: Amount | UnsetType | None = UNSET
    audio_output: Amount | UnsetType | None = UNSET
