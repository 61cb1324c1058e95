"""Prints what is made of the settings' structs.

`python -m app.settings > infra/config/gateway.schema.json` is the JSON schema, and
`python -m app.settings reference > infra/docs/configuration.md` the reference for people.
"""

import sys

from app.settings.reference import reference
from app.settings.schema import text
from providers.registry import Registry


def _options() -> dict[str, type]:
    """Return the options of every adapter that comes with the gateway; those of plug-ins are none of its business."""
    registry = Registry()
    return {name: registry.find(name).options for name in ("echo", *registry.catalog.vendors)}


sys.stdout.write(reference(_options()) if sys.argv[1:] == ["reference"] else text())
