"""What calls go to: providers, and the models that are made of their models."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from app.settings.forms import HeaderValue, Seconds, Usd, derived, list_as, off_or
from providers.types import Secret

Balance = Literal["weighted", "priority", "least_busy", "latency", "cost"]
Sticky = Literal["none", "prefix", "session"]


class TimeoutSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Clocks of one upstream call, in seconds; an absent one is taken from the next wider scope.

    Scopes: the model, then the provider, then 5, 30, 60 and 600. `Settings.timeouts_for` merges them.
    """

    connect_s: Annotated[Seconds | None, Meta(description="For TCP and TLS; 5 unless given.")] = None
    first_token_s: Annotated[Seconds | None, Meta(description="Until the first content; 30 unless given.")] = None
    idle_s: Annotated[Seconds | None, Meta(description="Between two chunks; 60 unless given.")] = None
    total_s: Annotated[Seconds | None, Meta(description="For the whole call; 600 unless given.")] = None


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An account at a vendor. Keys that are not listed here are the adapter's own options."""

    adapter: Annotated[
        str,
        Meta(description="Who speaks to it: an adapter, a catalogue row or a plug-in; absent: the provider's name."),
    ] = ""
    api_key: Annotated[
        Secret | None,
        Meta(description="The credential, as `env:NAME` or `file:/path`.", examples=["env:OPENAI_API_KEY"]),
    ] = None
    api_keys: Annotated[
        tuple[Secret, ...], Meta(description="Several credentials to spread calls over, in place of `api_key`.")
    ] = ()
    base_url: Annotated[str | None, Meta(description="Where its API begins; absent: the adapter's own address.")] = None
    organization: Annotated[str | None, Meta(description="The account's organisation, for vendors that ask.")] = None
    api_version: Annotated[
        str | None, Meta(description="The API's version, for vendors that ask.", examples=["2024-10-21"])
    ] = None
    bills_after_disconnect: Annotated[
        bool | None,
        Meta(description="Whether it bills a stream that was abandoned; absent: as the adapter knows the vendor."),
    ] = None
    dedicated_to: Annotated[
        str | None,
        Meta(description="The id of the one organisation that may use this account, and name what is stored there."),
    ] = None
    timeouts: Annotated[TimeoutSettings, Meta(description="Clocks for all calls to it.")] = TimeoutSettings()
    headers: Annotated[
        Mapping[str, HeaderValue], Meta(description="Headers added to each call; credentials as `env:` or `file:`.")
    ] = {}
    ca_file: Annotated[
        str | None, Meta(description="A PEM file of the authorities to trust; absent: the system's.")
    ] = None
    options: Annotated[Any, derived()] = None
    """The adapter's own options struct, filled from the provider's other keys; `None` if the adapter has none."""

    @property
    def credentials(self) -> tuple[Secret, ...]:
        """All credentials, whichever way they were written; empty for servers that need none."""
        return (self.api_key,) if self.api_key is not None else self.api_keys


class TargetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One upstream model at one provider."""

    provider: Annotated[str, Meta(description="A name under `providers`.", min_length=1)]
    model: Annotated[str, Meta(description="What the provider calls the model.", min_length=1)]
    weight: Annotated[
        int, Meta(description="Its share of the calls; 0: only when the others fail.", ge=0, le=1_000_000)
    ] = 1


class Fallbacks(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Models to try in turn, by what went wrong; a plain list is `any`."""

    any: Annotated[tuple[str, ...], Meta(description="When every attempt failed.")] = ()
    context_length: Annotated[tuple[str, ...], Meta(description="When the prompt does not fit the model.")] = ()
    content_policy: Annotated[tuple[str, ...], Meta(description="When the provider's content policy refused.")] = ()


class Hedge(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second call when the first is slow."""

    after_s: Annotated[Seconds | None, Meta(description="How long to wait; absent: the model's own p95.")] = None
    budget: Annotated[float, Meta(description="Extra calls, at most this fraction of all.", gt=0, le=1)] = 0.05


class Transform(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes to the request body, in this order: rename, drop, default, set, system_prefix.

    A field is named as in OpenAI's chat completions, whichever dialect the client speaks, or as on the provider's own
    wire. What a provider has no words for is left out, and listed in `x-gateway-dropped-params`.
    """

    default: Annotated[
        Mapping[str, Any],
        Meta(description="Fields to add where the client sent none.", examples=[{"temperature": 0.2}]),
    ] = {}
    set: Annotated[Mapping[str, Any], Meta(description="Fields to write whatever the client sent.")] = {}
    drop: Annotated[tuple[str, ...], Meta(description="Fields to remove.", examples=[["logit_bias"]])] = ()
    rename: Annotated[Mapping[str, str], Meta(description="Fields to rename, old name to new.")] = {}
    system_prefix: Annotated[str | None, Meta(description="Text to put before the system message.")] = None


class PriceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices in nano-USD per million tokens (an image: per image); written as decimal strings of USD."""

    input_nusd: Annotated[Usd | None, Meta(description="Input, USD per million tokens.", examples=["0.15"])] = (
        msgspec.field(default=None, name="input")
    )
    output_nusd: Annotated[Usd | None, Meta(description="Output, USD per million tokens.", examples=["0.60"])] = (
        msgspec.field(default=None, name="output")
    )
    cache_read_nusd: Annotated[Usd | None, Meta(description="Cached input read; absent: as `input`.")] = msgspec.field(
        default=None, name="cache_read"
    )
    cache_write_nusd: Annotated[Usd | None, Meta(description="Cached input written; absent: as `input`.")] = (
        msgspec.field(default=None, name="cache_write")
    )
    image_nusd: Annotated[Usd | None, Meta(description="One image, USD.")] = msgspec.field(default=None, name="image")
    audio_input_nusd: Annotated[Usd | None, Meta(description="Audio in, USD per million tokens.")] = msgspec.field(
        default=None, name="audio_input"
    )
    audio_output_nusd: Annotated[Usd | None, Meta(description="Audio out, USD per million tokens.")] = msgspec.field(
        default=None, name="audio_output"
    )


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public model name and what serves it."""

    targets: Annotated[
        tuple[TargetSettings, ...],
        Meta(
            description="Where its calls go.", min_length=1, examples=[[{"provider": "openai", "model": "gpt-4o-mini"}]]
        ),
    ]
    balance: Annotated[Balance, Meta(description="How a target is chosen; `priority` is the file's order.")] = (
        "weighted"
    )
    sticky: Annotated[
        Sticky, Meta(description="What keeps to one target: nothing, equal prompt beginnings, or a session.")
    ] = "none"
    fallbacks: Annotated[
        Fallbacks, list_as("any", description="Models to try after this one: a list, or lists by what went wrong.")
    ] = Fallbacks()
    retries: Annotated[
        int, Meta(description="Extra attempts over the targets, in the balancer's order, wrapping.", ge=0, le=10)
    ] = 2
    breaker: Annotated[
        bool, Meta(description="Whether a target that keeps failing, or asks for it, is left alone for a while.")
    ] = True
    hedge: Annotated[Hedge | None, off_or("Send a second call when the first is slow; false: never.")] = None
    timeouts: Annotated[TimeoutSettings, Meta(description="Clocks for its calls.")] = TimeoutSettings()
    transform: Annotated[Transform, Meta(description="Changes to the request body.")] = Transform()
    price: Annotated[PriceSettings | None, Meta(description="Its prices; absent: the catalogue's.")] = None
