"""Who calls the inference API, and what they may do."""

from uuid import UUID

import msgspec

from app.domain.keys.schemas import KeyRecord


class Principal(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An inference key as the data plane sees it. `models` is absent if it may use all."""

    key_id: UUID
    organization_id: UUID
    team_id: UUID | None = None
    name: str = ""
    models: frozenset[str] | None = None
    may_route: bool = False
    scopes: frozenset[str] = frozenset({"inference"})
    tags: dict[str, str] = {}

    def may_use(self, model: str) -> bool:
        """Whether the key's, the team's and the organisation's model lists all hold the name."""
        return self.models is None or model in self.models


def principal_of(record: KeyRecord) -> Principal:
    """Return what a key's record amounts to; model lists intersect."""
    lists = [record.models, record.team_models, record.organization_models]
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
    )
