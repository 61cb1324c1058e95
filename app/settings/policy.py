"""What calls may do and cost, and what is kept of them: ensembles, limits, budget, cache, privacy, traces, network."""

from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from app.settings.forms import Quantity, Seconds, Usd, word_as_empty
from app.settings.store_url import StoreUrl

Dimension = Literal["requests", "tokens", "input_tokens", "output_tokens", "cost"]
Algorithm = Literal["sliding_window", "token_bucket"]
Period = Literal["day", "week", "month", "total"]
CacheMode = Literal["off", "exact", "semantic", "shadow", "forbidden"]
CacheScope = Literal["organization", "team", "key"]
Strategy = Literal["race", "hedge", "first_valid", "quorum", "best_of", "mixture", "cascade", "compare"]
COUNTING_STRATEGIES: Final = ("best_of", "mixture", "compare")
"""Those that want a number of answers; to the others the first that will do is enough, whatever `min_success` says."""


def waits_for(strategy: str, *, min_success: int, quorum: int | None) -> bool:
    """Whether a strategy waits for so many answers; those of other packages do with it what they like.

    A quorum of equal answers is as many answers.
    """
    if min_success == 1 or strategy in COUNTING_STRATEGIES or strategy not in get_args(Strategy):
        return True
    return strategy == "quorum" and min_success <= (quorum or 0)


Normalize = Literal["json", "number", "choice", "text"]

_Count = Annotated[int, Meta(ge=1, le=9_000_000_000_000_000)]
_Fraction = Annotated[float, Meta(gt=0, le=1)]


class EnsembleSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public model name that several models answer together."""

    strategy: Annotated[
        str,
        Meta(
            description="How one answer is made of several; packages may publish further ones.",
            examples=list(get_args(Strategy)),
        ),
    ]
    members: Annotated[
        tuple[str, ...], Meta(description="Names under `models`; one may be asked several times.", min_length=1)
    ]
    judge: Annotated[str | None, Meta(description="The model that compares the answers.")] = None
    fuser: Annotated[str | None, Meta(description="The model that writes one answer from several.")] = None
    rubric: Annotated[str | None, Meta(description="What the judge looks for, in words.")] = None
    check: Annotated[Any, Meta(description="What an answer must pass, for `first_valid` and `cascade`.")] = None
    quorum: Annotated[
        _Count | None,
        Meta(description="How many equal answers decide; for `best_of` and `mixture`: how many answers are enough."),
    ] = None
    normalize: Annotated[Normalize, Meta(description="Which answers are equal, for `quorum`.")] = "text"
    after_s: Annotated[
        Seconds | None,
        Meta(description="When `hedge` asks the next member, in seconds; absent: as it is usually slow."),
    ] = None
    min_logprob: Annotated[
        Annotated[float, Meta(le=0)] | None,
        Meta(description="The least mean log-probability of an answer that `cascade` takes."),
    ] = None
    scorer: Annotated[str | None, Meta(description="A published scorer that `best_of` uses instead of a judge.")] = None
    min_success: Annotated[
        int,
        Meta(
            description="How many members must answer; more than 1 only for `best_of`, `mixture` and `compare`.", ge=1
        ),
    ] = 1
    deadline_s: Annotated[Seconds | None, Meta(description="When stragglers are cut, in seconds.")] = None
    max_cost_nusd: Annotated[Usd | None, Meta(description="The most that all members may cost, USD.")] = msgspec.field(
        default=None, name="max_cost"
    )
    return_candidates: Annotated[bool, Meta(description="Whether all answers are returned beside the one.")] = False

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that it asks: the members, the judge and the fuser."""
        return (*self.members, *(name for name in (self.judge, self.fuser) if name is not None))


class LimitRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `limit` of a dimension in any window of `window_s` seconds."""

    dimension: Annotated[Dimension, Meta(description="What is counted.")]
    limit: Annotated[Quantity, Meta(description='How many; for `cost` USD as a string, such as "2.50".')]
    window_s: Annotated[int, Meta(description="The window's length in seconds.", ge=1, le=31_622_400)]
    model: Annotated[str | None, Meta(description="Only calls of this model; absent: of all.")] = None


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of each organisation; absent: none."""

    requests_per_minute: Annotated[_Count | None, Meta(description="Requests in any minute.")] = None
    tokens_per_minute: Annotated[_Count | None, Meta(description="Tokens, in and out, in any minute.")] = None
    concurrency: Annotated[_Count | None, Meta(description="Requests in flight at once.")] = None
    max_output_tokens: Annotated[_Count | None, Meta(description="The most output tokens of one answer.")] = None
    algorithm: Annotated[
        Algorithm, Meta(description="`sliding_window` never exceeds a limit; `token_bucket` allows bursts.")
    ] = "sliding_window"
    fanout_width: Annotated[int, Meta(description="The most legs of one fan-out.", ge=1, le=8)] = 8
    rules: Annotated[tuple[LimitRule, ...], Meta(description="Any further limits.")] = ()


class OnAccountingDown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a budget does while spending cannot be counted: the word `deny`, or allow a little."""

    allow_nusd: Annotated[Usd | None, Meta(description="USD that each worker may spend uncounted; absent: none.")] = (
        msgspec.field(default=None, name="allow")
    )


class BudgetSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each organisation may spend."""

    amount_nusd: Annotated[Usd, Meta(description="USD per period.", examples=["100.00"])] = msgspec.field(name="amount")
    period: Annotated[Period, Meta(description="When it starts anew; `total`: never.")] = "month"
    timezone: Annotated[
        str, Meta(description="Whose midnight begins a period (an IANA name).", examples=["Europe/Zurich"])
    ] = "UTC"
    on_accounting_down: Annotated[
        OnAccountingDown,
        word_as_empty("deny", description='While spending cannot be counted: `deny`, or `{allow: "0.50"}` per worker.'),
    ] = OnAccountingDown()


class CacheSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether and how answers are kept and given again."""

    mode: Annotated[
        CacheMode, Meta(description="`shadow` looks up and compares but never serves; `forbidden` wins over any scope.")
    ] = "off"
    ttl_s: Annotated[int, Meta(description="How long an answer is kept, in seconds.", ge=1, le=31_622_400)] = 3600
    threshold: Annotated[
        _Fraction | None, Meta(description="The least similarity of a semantic hit; null: as calibrated.")
    ] = None
    scope: Annotated[CacheScope, Meta(description="Who shares answers.")] = "organization"
    url: Annotated[StoreUrl | None, Meta(description="Another Redis for the cache; absent: `state`.")] = None
    max_mb: Annotated[int, Meta(description="How much each organisation may keep, in MiB.", ge=1, le=65_536)] = 64
    embedder: Annotated[
        str,
        Meta(
            description="What compares questions: `static`, `onnx` (an extra), or a provider's `provider/model`.",
            pattern=r"^(static|onnx|[^/\s]+/\S+)$",
            examples=["static", "openai/text-embedding-3-small"],
        ),
    ] = "static"
    target_false_hits: Annotated[
        _Fraction | None,
        Meta(description="The share of wrong semantic hits that the threshold is raised to keep; null: it stays."),
    ] = None


class PrivacySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of the conversations is kept."""

    store_bodies: Annotated[
        bool,
        Meta(
            description="Whether what a request and its answer said is kept for administrators beside how it was "
            "decided (`request_traces`): sealed, of each body the first 64 KiB."
        ),
    ] = False
    store_responses: Annotated[bool, Meta(description="Whether the Responses API may store (encrypted, 30 days).")] = (
        True
    )


class RequestTraceSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of recent requests: how each was decided; what it said only with `privacy.store_bodies`."""

    enabled: Annotated[bool, Meta(description="Whether any are kept.")] = True
    keep: Annotated[
        int, Meta(description="How many: of each process, or with Redis of all together.", ge=1, le=1_000_000)
    ] = 10_000
    ttl_s: Annotated[int, Meta(description="For how long, in seconds.", ge=1, le=2_592_000)] = 3_600
    max_mb: Annotated[
        int,
        Meta(
            description="How much memory they may take in a process, in MiB; of that, or of Redis, bodies a half.",
            ge=1,
            le=65_536,
        ),
    ] = 32
    sample: Annotated[float, Meta(description="Which share of the requests, drawn by chance.", ge=0, le=1)] = 1.0


class NetworkSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where providers made through the admin API may point; those of this file may point anywhere."""

    allowed_private_cidrs: Annotated[
        tuple[str, ...], Meta(description="Private networks that they may reach.", examples=[["10.1.0.0/16"]])
    ] = ()
