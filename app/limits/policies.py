"""The policies of principals, made once each. Law: a principal is replaced when it changes, never changed."""

from uuid import UUID

from app.domain.keys.principal import Principal
from app.limits.policy import Policy, policy_of
from app.settings.model import Settings

_MAX_KEPT = 100_000


class Policies:
    """What binds each principal under the settings in force. One for each worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._made: dict[UUID, tuple[Principal, Policy]] = {}

    def replace(self, settings: Settings) -> None:
        """Let new settings bind from the next request on."""
        self._settings = settings
        self._made = {}

    def of(self, principal: Principal) -> Policy:
        """Return what binds a principal."""
        known = self._made.get(principal.key_id)
        if known is not None and known[0] is principal:
            return known[1]
        policy = policy_of(principal, limits=self._settings.limits, budget=self._settings.budget)
        if len(self._made) >= _MAX_KEPT:
            del self._made[next(iter(self._made))]
        self._made[principal.key_id] = (principal, policy)
        return policy
