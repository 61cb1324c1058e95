"""The file and the environment become one frozen tree. Law: all faults at once, each with its path; no secret shown."""

from app.settings.adapters import AdapterOptions, CatalogRow, discover_providers
from app.settings.effective import effective
from app.settings.faults import Fault, SettingsError
from app.settings.loading import load
from app.settings.model import Settings
from app.settings.schema import json_schema

__all__ = [
    "AdapterOptions",
    "CatalogRow",
    "Fault",
    "Settings",
    "SettingsError",
    "discover_providers",
    "effective",
    "json_schema",
    "load",
]
