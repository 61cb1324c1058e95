"""The policies of principals, made once each. Law: a principal is replaced when it changes, never changed."""

from uuid import UUID

from app.domain.keys.principal import Principal
from app.domain.quotas.settings import budget_of_file, limits_of_file
from app.limits.policy import Policy, policy_of
from app.settings.model import Settings

_MAX_KEPT = 100_000


class Policies:
    """What binds each principal under the settings in force. One for each worker."""

    def __init__(self, settings: Settings) -> None:
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Let new settings bind from the next request on."""
        self._limits = limits_of_file(settings.limits)
        self._budget = None if settings.budget is None else budget_of_file(settings.budget)
        self._made: dict[UUID, tuple[Principal, Policy]] = {}

    def of(self, principal: Principal) -> Policy:
        """Return what binds a principal."""
        known = self._made.get(principal.key_id)
        if known is not None and known[0] is principal:
            return known[1]
        policy = policy_of(principal, limits=self._limits, budget=self._budget)
        if len(self._made) >= _MAX_KEPT:
            del self._made[next(iter(self._made))]
        self._made[principal.key_id] = (principal, policy)
        return policy
