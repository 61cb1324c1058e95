"""What the file says, beside what was made through the API. Law: the file's has the same id wherever it is read."""

from collections.abc import Mapping
from typing import TypeVar
from uuid import UUID, uuid5

from app.kernel.errors import Conflict
from app.settings.model import Settings

_IDS_OF_FILE = UUID("1d0a6c5e-5a4f-5d2b-8a53-0f0c3f9a7a11")
Named = TypeVar("Named")


def id_in_file(kind: str, name: str) -> UUID:
    """Return the id of an object of the file: the same wherever the file is read."""
    return uuid5(_IDS_OF_FILE, f"{kind}:{name}")


def named(kind: str, objects: Mapping[str, Named], object_id: UUID) -> str | None:
    """Return the name of the object of the file that has this id, if one has."""
    if object_id.version != 5:  # noqa: PLR2004 - those of the database are of version 7
        return None
    return next((name for name in objects if id_in_file(kind, name) == object_id), None)


def owned(kind: str) -> Conflict:
    """Return the refusal to change what the file owns."""
    return Conflict(f"the configuration file owns this {kind}: change it there", code="config_owned")


def origin_of(settings: Settings, path: str) -> str:
    """Return where the file, or the environment, first says something of an object."""
    within = f"{path}."
    found = (origin for where, origin in settings.origins.items() if where.startswith(within) and origin != "default")
    return next(found, "default")
