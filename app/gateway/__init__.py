"""The one composition root: settings in, a running data plane out."""

from app.gateway.core import Core
from app.gateway.plane import Gateway

__all__ = ["Core", "Gateway"]
