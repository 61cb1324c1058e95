"""The policies of principals, made once each. Law: a principal is replaced when it changes, never changed."""

from uuid import UUID

from app.domain.keys.principal import Principal
from app.domain.quotas.settings import budget_of_file, limits_of_file
from app.limits.plan import Plan
from app.limits.policy import Policy, policy_of
from app.settings.model import Settings

_MAX_KEPT = 100_000
_MAX_MODELS = 1_000


class Policies:
    """What binds each principal under the settings in force. One for each worker."""

    def __init__(self, settings: Settings) -> None:
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Let new settings bind from the next request on."""
        self._limits = limits_of_file(settings.limits)
        self._budget = None if settings.budget is None else budget_of_file(settings.budget)
        self._made: dict[UUID, _Made] = {}

    def plan(self, principal: Principal, *models: str) -> Plan:
        """Return what binds a principal's requests of a model, or of several together."""
        known = self._made.get(principal.key_id)
        if known is None or known.principal is not principal:
            known = self._make(principal)
        return known.plain if known.plain is not None else known.of(models)

    def _make(self, principal: Principal) -> "_Made":
        made = _Made(principal, policy_of(principal, limits=self._limits, budget=self._budget))
        if len(self._made) >= _MAX_KEPT:
            del self._made[next(iter(self._made))]
        self._made[principal.key_id] = made
        return made


class _Made:
    """What binds one principal; `plain` is there where it is the same for all models."""

    __slots__ = ("_by_model", "_policy", "plain", "principal")

    def __init__(self, principal: Principal, policy: Policy) -> None:
        self.principal = principal
        self._policy = policy
        self._by_model: dict[tuple[str, ...], Plan] = {}
        has_models = any(rule.model is not None for rule in policy.rules)
        self.plain = None if has_models else Plan(policy, "")

    def of(self, models: tuple[str, ...]) -> Plan:
        """Return what binds requests of models."""
        plan = self._by_model.get(models)
        if plan is None:
            if len(self._by_model) >= _MAX_MODELS:
                self._by_model.clear()
            plan = self._by_model[models] = Plan(self._policy, *models)
        return plan
