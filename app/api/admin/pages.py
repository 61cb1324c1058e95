"""The envelopes of lists, named for the API's description; `app.db.paging.Page` is what fills them."""

import msgspec

from app.domain.access.schemas import Grant, Session
from app.domain.audit.schemas import AuditEntry
from app.domain.ensembles.schemas import Ensemble
from app.domain.keys.schemas import AdminKey, ApiKey
from app.domain.prices.schemas import ModelPrice
from app.domain.tenants.schemas import Organization, Team
from app.domain.upstream.schemas import Model, Provider


class OrganizationPage(msgspec.Struct, frozen=True):
    """Some organizations, newest first, and the cursor of those that follow; null at the end."""

    items: list[Organization]
    cursor: str | None


class TeamPage(msgspec.Struct, frozen=True):
    """Some teams, newest first, and the cursor of those that follow; null at the end."""

    items: list[Team]
    cursor: str | None


class ApiKeyPage(msgspec.Struct, frozen=True):
    """Some keys, newest first, and the cursor of those that follow; null at the end."""

    items: list[ApiKey]
    cursor: str | None


class AdminKeyPage(msgspec.Struct, frozen=True):
    """Some admin keys, newest first, and the cursor of those that follow; null at the end."""

    items: list[AdminKey]
    cursor: str | None


class GrantPage(msgspec.Struct, frozen=True):
    """Some grants, newest first, and the cursor of those that follow; null at the end."""

    items: list[Grant]
    cursor: str | None


class SessionPage(msgspec.Struct, frozen=True):
    """Some sessions, newest first, and the cursor of those that follow; null at the end."""

    items: list[Session]
    cursor: str | None


class PricePage(msgspec.Struct, frozen=True):
    """Some prices, newest first and then those of the file, and the cursor of those that follow; null at the end."""

    items: list[ModelPrice]
    cursor: str | None


class EnsemblePage(msgspec.Struct, frozen=True):
    """Some ensembles, newest first and then those of the file, and the cursor of those that follow; null at the end."""

    items: list[Ensemble]
    cursor: str | None


class ProviderPage(msgspec.Struct, frozen=True):
    """Some providers, newest first and then those of the file, and the cursor of those that follow; null at the end."""

    items: list[Provider]
    cursor: str | None


class ModelPage(msgspec.Struct, frozen=True):
    """Some models, newest first and then those of the file, and the cursor of those that follow; null at the end."""

    items: list[Model]
    cursor: str | None


class AuditPage(msgspec.Struct, frozen=True):
    """Some changes, newest first, and the cursor of those that follow; null at the end."""

    items: list[AuditEntry]
    cursor: str | None
