"""Providers and models as the admin API speaks them, and as they are stored.

Their settings are those of the file, by the file's names; what is here describes them to readers of the API, and
`app.settings.bodies` is what reads them.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from app.domain.tenants.policies import Usd
from app.settings.upstream import Balance, Hedge, Sticky, TargetSettings, TimeoutSettings, Transform
from app.settings.upstream import Fallbacks as FallbackLists

Source = Literal["api", "config"]
Reach = Literal["public", "private"]
"""Where a provider may be: at public addresses only, or also within `network.allowed_private_cidrs`."""

_TEXT = r"^[^\s/\x00-\x1f\x7f]+$"
ProviderName = Annotated[
    str, Meta(min_length=1, max_length=64, pattern=_TEXT, description="Unique; without spaces and slashes.")
]
PublicName = Annotated[str, Meta(min_length=1, max_length=256, description="What clients ask for; unique.")]


class CredentialMark(msgspec.Struct, frozen=True, kw_only=True):
    """One credential of a provider, told from others without being told."""

    fingerprint: Annotated[str, Meta(description="Eight digits of a keyed hash: equal for equal credentials.")]
    created_at: Annotated[datetime | None, Meta(description="When it was sent; null of one of the file.")] = None


class StoredProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A provider made through the API. Of its secrets `spec` holds the place only, and `***` in it."""

    id: UUID
    name: str
    spec: dict[str, Any]
    reach: Reach
    credentials: list[CredentialMark]
    credential_version: int
    created_at: datetime
    updated_at: datetime
    version: int = 1


class StoredModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model made through the API."""

    id: UUID
    name: str
    spec: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    version: int = 1


class Described(dict[str, Any]):
    """An object as it is answered: what all have, and its settings by the names that they have in the file."""

    @property
    def version(self) -> int | None:
        """How often it was changed; nothing of an object of the file."""
        version: int | None = self["version"]
        return version


class SecretMark(msgspec.Struct, frozen=True):
    """A secret: only whether there is one."""

    set: bool


class _FromFile(msgspec.Struct, frozen=True, kw_only=True):
    source: Annotated[Source, Meta(description="`config`: of the file, which wins, and read-only here.")]
    origin: Annotated[str | None, Meta(description="Where the file says it; null of one made here.")]
    problem: Annotated[str | None, Meta(description="Why it is not served, if it is not.")]
    created_at: Annotated[datetime | None, Meta(description="Null of one of the file.")]
    updated_at: Annotated[datetime | None, Meta(description="Null of one of the file.")]
    version: Annotated[int | None, Meta(description="Counts changes; it is the ETag. Null of one of the file.")]


class Provider(_FromFile, frozen=True, kw_only=True):
    """An account at a vendor, as in the file; the options of its adapter stand beside the fields here."""

    id: UUID
    name: str
    adapter: str
    base_url: str | None
    credentials: Annotated[list[CredentialMark], Meta(description="One for each credential, in order.")]
    api_key: Annotated[SecretMark, Meta(description="Whether there is a credential.")]
    headers: dict[str, SecretMark]
    organization: str | None
    api_version: str | None
    bills_after_disconnect: bool | None
    dedicated_to: str | None
    timeouts: TimeoutSettings


class CreateProvider(msgspec.Struct, frozen=True, kw_only=True):
    """A new provider: its name, and what the file would say of it, the options of its adapter among it.

    Credentials are sent themselves and never shown again; `env:` and `file:` are for the file only.
    """

    name: ProviderName
    adapter: Annotated[str | None, Meta(description="An adapter, or a catalogue row; absent: the name.")] = None
    base_url: Annotated[
        str | None,
        Meta(description="Public, https and port 443; or within `network.allowed_private_cidrs`, for owners."),
    ] = None
    api_key: Annotated[str | None, Meta(description="The credential itself. Write-only.")] = None
    api_keys: Annotated[list[str] | None, Meta(description="Several, in place of `api_key`. Write-only.")] = None
    headers: Annotated[dict[str, str] | None, Meta(description="Added to each call. Values are write-only.")] = None
    organization: str | None = None
    api_version: str | None = None
    bills_after_disconnect: bool | None = None
    dedicated_to: str | None = None
    timeouts: TimeoutSettings | None = None


class PatchProvider(msgspec.Struct, frozen=True, kw_only=True):
    """Changes to a provider: what is absent stays, null removes. `base_url` only together with the credential."""

    adapter: str | None = None
    base_url: str | None = None
    api_key: str | None = None
    api_keys: list[str] | None = None
    headers: dict[str, str] | None = None
    organization: str | None = None
    api_version: str | None = None
    bills_after_disconnect: bool | None = None
    dedicated_to: str | None = None
    timeouts: TimeoutSettings | None = None


class ListedPrice(msgspec.Struct, frozen=True, kw_only=True):
    """What a model costs, USD per million tokens; of an image, per image."""

    input: Usd | None = None
    output: Usd | None = None
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    image: Usd | None = None
    audio_input: Usd | None = None
    audio_output: Usd | None = None


class Model(_FromFile, frozen=True, kw_only=True):
    """A public model name and what serves it, as in the file."""

    id: UUID
    name: str
    targets: list[TargetSettings]
    balance: Balance
    sticky: Sticky
    fallbacks: FallbackLists
    retries: int
    breaker: bool
    hedge: Hedge | Literal[False]
    timeouts: TimeoutSettings
    transform: Transform
    price: ListedPrice | None


class CreateModel(msgspec.Struct, frozen=True, kw_only=True):
    """A new model: its name, and what the file would say of it."""

    name: PublicName
    targets: Annotated[list[TargetSettings], Meta(min_length=1)]
    balance: Balance = "weighted"
    sticky: Sticky = "none"
    fallbacks: Annotated[list[str] | FallbackLists | None, Meta(description="A list is `any`.")] = None
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    breaker: bool = True
    hedge: Annotated[Hedge | bool | None, Meta(description="False: never.")] = None
    timeouts: TimeoutSettings | None = None
    transform: Transform | None = None
    price: ListedPrice | None = None


class PatchModel(msgspec.Struct, frozen=True, kw_only=True):
    """Changes to a model: what is absent stays, null takes it back to its default."""

    targets: Annotated[list[TargetSettings], Meta(min_length=1)] | None = None
    balance: Balance | None = None
    sticky: Sticky | None = None
    fallbacks: list[str] | FallbackLists | None = None
    retries: Annotated[int, Meta(ge=0, le=10)] | None = None
    breaker: bool | None = None
    hedge: Hedge | bool | None = None
    timeouts: TimeoutSettings | None = None
    transform: Transform | None = None
    price: ListedPrice | None = None
