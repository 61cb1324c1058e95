"""Prints the JSON schema of `gateway.yaml`: `python -m app.settings > infra/config/gateway.schema.json`."""

import sys

from app.settings.schema import text

sys.stdout.write(text())
