"""Whether a request's answer may come from the cache and go there. Law: pure; nobody gets more than the setting allows.

Of the settings on key, team, organisation and file the nearest wins, but `forbidden` anywhere wins over all. A caller
may ask for less, and for `exact` unless that is forbidden: an exact hit is what it asked for, word for word.
"""

from collections.abc import Iterable
from typing import Literal

import msgspec

from app.settings.policy import CacheMode, CacheScope

Semantic = Literal["off", "shadow", "on"]
Asked = Literal["off", "exact", "semantic", "refresh"]

Unkept = Literal[
    "references",
    "form",
    "operation",
    "hosted_tools",
    "completion_options",
    "choices",
    "temperature",
    "unreadable",
    "candidates",
]
"""Why a request has no answer that could be given again."""


class CachePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The setting that binds a principal. `threshold` is absent where the embedder's calibrated one holds."""

    mode: CacheMode = "off"
    ttl_s: int = 3600
    threshold: float | None = None
    scope: CacheScope = "organization"


class CacheControl(msgspec.Struct, frozen=True, kw_only=True):
    """What a client's `Cache-Control` asks for: RFC 9111, section 5.2.1."""

    no_store: bool = False
    no_cache: bool = False
    max_age_s: int | None = None
    only_if_cached: bool = False


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What the cache is to do for one request.

    `reads` and `writes` concern both layers; `semantic` is whether answers to like questions serve, or are only
    compared. `threshold` is the setting's, absent where the embedder's calibrated one holds; `least_similarity` is what
    the caller wants, which can only be stricter. `is_chosen` is whether the caller asked for it by name. `max_age_s` is
    how old an answer may be.
    """

    scope: CacheScope = "organization"
    reads: bool = True
    writes: bool = True
    semantic: Semantic = "off"
    ttl_s: int = 3600
    threshold: float | None = None
    least_similarity: float | None = None
    max_age_s: int | None = None
    only_if_cached: bool = False
    is_chosen: bool = False


def nearest(policies: Iterable[CachePolicy | None]) -> CachePolicy:
    """Return the setting that binds: the first that is there, unless any is `forbidden`."""
    there = [policy for policy in policies if policy is not None]
    refusal = next((policy for policy in there if policy.mode == "forbidden"), None)
    return refusal or (there[0] if there else CachePolicy())


def wish_of(
    policy: CachePolicy,
    *,
    asked: Asked | None,
    ttl_s: int | None = None,
    least_similarity: float | None = None,
    control: CacheControl | None = None,
) -> Wish | None:
    """Return what is to be done for a request; nothing where the cache has no part in it.

    `ttl_s` shortens how long the answer is kept, `least_similarity` makes semantic hits rarer. An answer that somebody
    else may keep for longer than the setting says is too old by then.
    """
    if policy.mode == "forbidden" or asked == "off" or (policy.mode == "off" and asked is None):
        return None
    control = control or CacheControl()
    return Wish(
        scope=policy.scope,
        reads=asked != "refresh" and not control.no_cache and not control.no_store,
        writes=not control.no_store,
        semantic=_semantic(policy.mode, asked),
        ttl_s=policy.ttl_s if ttl_s is None else min(ttl_s, policy.ttl_s),
        threshold=policy.threshold,
        least_similarity=least_similarity,
        max_age_s=policy.ttl_s if control.max_age_s is None else min(control.max_age_s, policy.ttl_s),
        only_if_cached=control.only_if_cached,
        is_chosen=asked is not None,
    )


def _semantic(mode: CacheMode, asked: Asked | None) -> Semantic:
    if asked == "exact":
        return "off"
    if mode == "semantic":
        return "on"
    return "shadow" if mode == "shadow" else "off"


def read_control(header: str) -> CacheControl:
    """Return what a `Cache-Control` header asks for; what is not known is passed over, as the standard says."""
    found: dict[str, str] = {}
    for directive in header.lower().split(","):
        name, _, value = directive.strip().partition("=")
        found[name.strip()] = value.strip().strip('"')
    age = found.get("max-age", "")
    return CacheControl(
        no_store="no-store" in found,
        no_cache="no-cache" in found or age == "0",
        max_age_s=int(age) if age.isdecimal() and len(age) <= _MOST_DIGITS else None,
        only_if_cached="only-if-cached" in found,
    )


_MOST_DIGITS = 9
