"""What may sit on an organisation, a team or a key: limits, a budget, cache settings; and the text types of the API.

Law: the same words and ranges as in gateway.yaml; money is a decimal string here and an int of nano-USD when read.
"""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from app.kernel.money import parse_usd
from app.settings.policy import Algorithm, CacheMode, CacheScope, Dimension, Period

NO_CONTROLS = r"^(?![\s\S]*[\x00-\x1f\x7f])[\s\S]*[^\s][\s\S]*$"
"""Not blank, and without control characters: PostgreSQL holds no NUL, and no log line should be broken by a name."""

_COUNT_MAX = 9_000_000_000_000_000
_LONGEST_S = 31_622_400

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_CONTROLS, description="Shown to people.")]
ModelName = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_CONTROLS)]
ModelList = Annotated[list[ModelName], Meta(max_length=1000, description="Public model names; null: all, []: none.")]
Tags = Annotated[
    dict[
        Annotated[str, Meta(min_length=1, max_length=64, pattern=NO_CONTROLS)],
        Annotated[str, Meta(min_length=1, max_length=256, pattern=NO_CONTROLS)],
    ],
    Meta(max_length=16, description="Labels for usage reports."),
]
Usd = Annotated[str, Meta(max_length=20, pattern=r"^[0-9]+(\.[0-9]{1,9})?$", description="Decimal USD.")]
_Count = Annotated[int, Meta(ge=1, le=_COUNT_MAX)]

ScopeKind = Literal["organization", "team", "key"]
"""What limits, budgets and cache settings may sit on."""


class LimitRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """At most `limit` of a dimension in any window of `window_s` seconds; `cost` is limited in USD, as a string."""

    dimension: Dimension
    limit: _Count | Usd
    window_s: Annotated[int, Meta(ge=1, le=_LONGEST_S)]
    model: ModelName | None = None

    def __post_init__(self) -> None:
        """Refuse money as a number and counts as text."""
        if self.dimension == "cost":
            if not isinstance(self.limit, str):
                raise ValueError('a `cost` limit is a string of USD, such as "2.50"')
            parse_usd(self.limit)
        elif isinstance(self.limit, str):
            raise ValueError(f"a `{self.dimension}` limit is a whole number")

    @property
    def quantity(self) -> int:
        """The limit as an int: nano-USD for `cost`, else a count."""
        return parse_usd(self.limit) if isinstance(self.limit, str) else self.limit


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much may be asked for; what is null is not limited here."""

    requests_per_minute: _Count | None = None
    tokens_per_minute: _Count | None = None
    concurrency: _Count | None = None
    max_output_tokens: _Count | None = None
    fanout_width: Annotated[int, Meta(ge=1, le=8)] | None = None
    algorithm: Algorithm = "sliding_window"
    rules: Annotated[list[LimitRule], Meta(max_length=32)] = msgspec.field(default_factory=list)


class Allowance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What each worker may spend while spending cannot be counted."""

    allow: Usd

    @property
    def allow_nusd(self) -> int:
        """What is allowed, in nano-USD."""
        return parse_usd(self.allow)


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much may be spent in a period."""

    amount: Usd
    period: Period = "month"
    timezone: Annotated[str, Meta(min_length=1, max_length=64)] = "UTC"
    on_accounting_down: Literal["deny"] | Allowance = "deny"

    def __post_init__(self) -> None:
        """Refuse amounts that are too large, and zones that do not exist."""
        parse_usd(self.amount)
        if isinstance(self.on_accounting_down, Allowance):
            parse_usd(self.on_accounting_down.allow)
        if self.timezone != "UTC" and not _is_timezone(self.timezone):
            raise ValueError(f"{self.timezone!r} is not an IANA time zone")

    @property
    def amount_nusd(self) -> int:
        """The amount in nano-USD."""
        return parse_usd(self.amount)


class CacheRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether answers may be kept and given again."""

    mode: CacheMode = "off"
    ttl_s: Annotated[int, Meta(ge=1, le=_LONGEST_S)] = 3600
    threshold: Annotated[float, Meta(gt=0, le=1)] | None = None
    scope: CacheScope = "organization"


def _is_timezone(name: str) -> bool:
    """Tell whether the system knows this zone; an odd name can fail in any of these ways."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True
