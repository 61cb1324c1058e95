"""The deterministic guards: whether the answer to one prompt may be given to another that is near it."""

from app.cache.guards.evidence import Evidence
from app.cache.guards.features import features_of
from app.cache.guards.verdict import GUARDS, differ

__all__ = ["GUARDS", "Evidence", "differ", "features_of"]
