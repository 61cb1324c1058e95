"""Who calls the inference API, and what they may do."""

from collections.abc import Iterator
from uuid import UUID

import msgspec

from app.domain.keys.schemas import KeyRecord
from app.domain.tenants.policies import Budget, CacheRules, Limits, ScopeKind


class ScopedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The limits and the budget that sit on one organisation, team or key."""

    kind: ScopeKind
    id: UUID
    organization_id: UUID
    limits: Limits | None = None
    budget: Budget | None = None


class Principal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An inference key as the data plane sees it. `models` is absent if it may use all.

    `cache` are the settings of the key, its team and its organisation, as far as they have any, the nearest first;
    `cache_scopes` says whose each is.
    """

    key_id: UUID
    organization_id: UUID
    team_id: UUID | None = None
    name: str = ""
    models: frozenset[str] | None = None
    may_route: bool = False
    scopes: frozenset[str] = frozenset({"inference"})
    tags: dict[str, str] = {}
    policies: tuple[ScopedPolicy, ...] = ()
    cache: tuple[CacheRules, ...] = ()
    cache_scopes: tuple[ScopeKind, ...] = ()

    def may_use(self, model: str) -> bool:
        """Whether the key's, the team's and the organisation's model lists all hold the name."""
        return self.models is None or model in self.models


def principal_of(record: KeyRecord) -> Principal:
    """Return what a key's record amounts to; model lists intersect."""
    lists = [record.models, record.team_models, record.organization_models]
    caches: tuple[tuple[ScopeKind, CacheRules | None], ...] = (
        ("key", record.cache),
        ("team", record.team_cache),
        ("organization", record.organization_cache),
    )
    sets = [frozenset(names) for names in lists if names is not None]
    return Principal(
        key_id=record.key_id,
        organization_id=record.organization_id,
        team_id=record.team_id,
        name=record.name,
        models=frozenset.intersection(*sets) if sets else None,
        may_route=record.may_route,
        scopes=frozenset(record.scopes),
        tags=record.tags,
        policies=tuple(_policies(record)),
        cache=tuple(rules for _, rules in caches if rules),
        cache_scopes=tuple(scope for scope, rules in caches if rules),
    )


def _policies(record: KeyRecord) -> Iterator[ScopedPolicy]:
    """Yield what is set on the key, its team and its organisation, where anything is."""
    organization_id = record.organization_id
    settings: tuple[tuple[ScopeKind, UUID | None, Limits | None, Budget | None], ...] = (
        ("organization", organization_id, record.organization_limits, record.organization_budget),
        ("team", record.team_id, record.team_limits, record.team_budget),
        ("key", record.key_id, record.limits, record.budget),
    )
    for kind, scope_id, limits, budget in settings:
        if scope_id is not None and (limits is not None or budget is not None):
            yield ScopedPolicy(kind=kind, id=scope_id, organization_id=organization_id, limits=limits, budget=budget)
