"""Providers and models as they are answered: the file's own form, for those of the file and of the API alike."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from app.domain.upstream.schemas import CredentialMark, Described, StoredModel, StoredProvider
from app.settings.effective import effective
from app.settings.model import ModelSettings, ProviderSettings, Settings


def described_provider(
    name: str,
    given: ProviderSettings,
    *,
    object_id: UUID,
    marks: Sequence[CredentialMark],
    stored: StoredProvider | None = None,
    origin: str | None = None,
    problem: str | None = None,
) -> Described:
    """Return a provider; each of its secrets says only that it is set."""
    settings = effective(Settings(providers={name: given}))["providers"][name]
    del settings["api_keys"]
    settings["api_key"] = {"set": bool(given.credentials)}
    settings["credentials"] = msgspec.to_builtins(list(marks))
    return _described(name, settings, object_id=object_id, stored=stored, origin=origin, problem=problem)


def described_model(
    name: str,
    given: ModelSettings,
    *,
    object_id: UUID,
    stored: StoredModel | None = None,
    origin: str | None = None,
    problem: str | None = None,
) -> Described:
    """Return a model."""
    settings = effective(Settings(models={name: given}))["models"][name]
    return _described(name, settings, object_id=object_id, stored=stored, origin=origin, problem=problem)


def _described(
    name: str,
    settings: dict[str, Any],
    *,
    object_id: UUID,
    stored: StoredProvider | StoredModel | None,
    origin: str | None,
    problem: str | None,
) -> Described:
    """Return an object; an adapter's own options never hide what all objects have."""
    of_all = {
        "id": object_id,
        "name": name,
        "source": "config" if stored is None else "api",
        "origin": origin,
        "problem": problem,
        "created_at": None if stored is None else stored.created_at,
        "updated_at": None if stored is None else stored.updated_at,
        "version": None if stored is None else stored.version,
    }
    return Described({**settings, **of_all})
