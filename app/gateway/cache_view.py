"""The cache of an organisation, as the admin API tells it. Law: no text of a question or of an answer."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from app.settings.policy import CacheMode, CacheScope

Usd = Annotated[str, Meta(description="USD with nine places.")]


class CacheKept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept now, in all scopes."""

    entries: int
    size_bytes: int
    most_bytes: Annotated[int, Meta(description="What it may keep: `cache.max_mb`. Its oldest entries make room.")]


class CacheUse(msgspec.Struct, frozen=True, kw_only=True):
    """The requests of a range that the cache had a part in, as the ledger has them: those that were answered."""

    since: datetime
    until: datetime
    exact: Annotated[int, Meta(description="Answered as the very same request had been.")]
    semantic: Annotated[int, Meta(description="Answered as a request that means the same had been.")]
    coalesced: Annotated[int, Meta(description="Answered with what was just being made for another request.")]
    misses: Annotated[int, Meta(description="Answered by a provider, and kept where that may be.")]
    bypassed: Annotated[int, Meta(description="Not of a kind that has one answer: tools, variety, references.")]
    saved_cost: Usd


class CacheEmbedder(msgspec.Struct, frozen=True, kw_only=True):
    """What compares questions."""

    name: Annotated[str, Meta(description="`cache.embedder`.")]
    id: Annotated[
        str | None,
        Meta(description="The weights and their version; vectors of two are never compared. Null: not installed here."),
    ]


class CacheThreshold(msgspec.Struct, frozen=True, kw_only=True):
    """The least similarity of a semantic hit."""

    value: float
    source: Annotated[
        Literal["setting", "calibrated", "followed"],
        Meta(description="`calibrated` for the embedder; `followed`: raised from that, or the setting, to the target."),
    ]


class ShadowStep(msgspec.Struct, frozen=True, kw_only=True):
    """The comparisons at one hundredth of similarity."""

    similarity: Annotated[float, Meta(description="From here to the next hundredth.")]
    compared: int
    agreed: int


class FalseHits(msgspec.Struct, frozen=True, kw_only=True):
    """How often a semantic hit would have been wrong."""

    compared: int
    wrong: int
    rate: Annotated[float | None, Meta(description="Null: nothing was compared.")]
    rate_at_most: Annotated[
        float, Meta(description="The upper end of the 95 % interval of Clopper and Pearson; 1: nothing is known.")
    ]


class ShadowReport(msgspec.Struct, frozen=True, kw_only=True):
    """Would-be semantic hits, compared with the answers that were made instead, since 90 days without any at most.

    In the mode `shadow` each of them is compared, in the mode `semantic` one in fifty.
    """

    steps: list[ShadowStep]
    overall: FalseHits
    from_threshold: Annotated[FalseHits, Meta(description="Those from the threshold in force on.")]
    target_false_hits: Annotated[float | None, Meta(description="`cache.target_false_hits`; null: none is followed.")]
    target_threshold: Annotated[
        float | None,
        Meta(description="What the target asks for, as far as enough was compared; null: no target."),
    ]


class CacheView(msgspec.Struct, frozen=True, kw_only=True):
    """The cache of one organisation. What only its store knows is null while that does not answer.

    `mode` is the organisation's; its teams and keys may have settings of their own.
    """

    organization_id: UUID
    mode: CacheMode
    mode_source: Literal["organization", "config"]
    scope: Annotated[CacheScope, Meta(description="Who shares answers.")]
    ttl_s: Annotated[int, Meta(description="How long an answer is kept, in seconds.")]
    embedder: CacheEmbedder
    threshold: CacheThreshold
    use: CacheUse
    kept: CacheKept | None
    shadow: ShadowReport | None


class PurgeCache(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is to be forgotten: the entries that match all that is named, or `all` of them."""

    organization_id: Annotated[
        UUID | None, Meta(description="Absent: the caller's own organisation, or all for one of the installation.")
    ] = None
    id: Annotated[str | None, Meta(description="The `x-gateway-cache-id` of an answer.")] = None
    entry_id: Annotated[str | None, Meta(description="The same as `id`.")] = None
    model: Annotated[str | None, Meta(description="The public name of the model that was asked.")] = None
    tag: Annotated[
        str | None, Meta(description="A tag of the request that the answer was made for.", examples=["team=blue"])
    ] = None
    scope: Annotated[
        str | None,
        Meta(
            description="Who shares the answers: `organization`, `team:<id>` or `key:<id>`.", examples=["organization"]
        ),
    ] = None
    all: Annotated[bool, Meta(description="Everything; stands alone.")] = False


class Purged(msgspec.Struct, frozen=True, kw_only=True):
    """How many entries were still there, and are forgotten."""

    organization_id: Annotated[UUID | None, Meta(description="Null: of all organisations.")]
    purged: int
