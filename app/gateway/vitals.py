"""How an installation is, as the admin API tells it. Law: no secret, and nothing that only one organisation knows."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from app.routing.breaker import State

Status = Annotated[
    Literal["ok", "degraded", "down"],
    Meta(description="`ok`: nothing speaks against it. `down`: nothing of it can be used. `degraded`: in between."),
]


class LaneHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream model of a provider with one of its credentials: what is called, and may be broken, by itself."""

    model: Annotated[str, Meta(description="What the provider calls it; `*`: models that nobody has listed.")]
    credential: Annotated[int, Meta(description="Which of the provider's credentials, counted from 1.")]
    models: Annotated[list[str], Meta(description="The file's models that have it among their targets.")]
    status: Status
    breaker: State
    retry_s: Annotated[
        float | None, Meta(description="Until one call may find out whether it is well again; null while closed.")
    ]
    cooled_s: Annotated[float, Meta(description="How long the provider asked to leave it alone still (429); 0: not.")]
    locked_out_s: Annotated[
        float, Meta(description="How long its credential stays taken out still (401, 403); 0: not.")
    ]
    in_flight: Annotated[int | None, Meta(description="Calls under way; null: this process makes none.")]
    ttft_s: Annotated[
        float | None, Meta(description="The expected time to the first token; null: not measured of late, or not here.")
    ]
    samples: Annotated[
        int | None, Meta(description="How many answers that is from; null: this process makes no calls.")
    ]


class ProviderHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One configured provider."""

    name: str
    adapter: str
    status: Status
    credentials: Annotated[int, Meta(description="How many it has.")]
    lanes: Annotated[list[LaneHealth], Meta(description="Every target of the file, and whatever else was called.")]


class StoreHealth(msgspec.Struct, frozen=True, kw_only=True):
    """One store, up if it answers every process of this installation that this one can see."""

    name: Literal["state", "database"]
    kind: Annotated[str, Meta(description="Such as `memory`, `redis`, `sqlite`, `postgresql`.")]
    up: bool


class LedgerHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How far the ledger is behind."""

    lag_s: Annotated[
        float | None, Meta(description="The age of the oldest usage event that is not in it; null: unknown.")
    ]
    queue_depth: Annotated[int | None, Meta(description="Usage events on their way to it; null: unknown.")]


class InstallationHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Providers, breakers, stores and ledger, at one moment."""

    status: Status
    providers: list[ProviderHealth]
    stores: list[StoreHealth]
    ledger: LedgerHealth
