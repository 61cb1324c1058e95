"""Limits and budgets as objects of their own.

Law: they are views of what sits on an organisation, a team or a key; those services write it, so that there is one set
of rights, one audit and one version. What is used is only read, and a store that is down never fails a read.
"""

from collections.abc import Callable
from uuid import UUID

from app.domain.audit.principal import Principal
from app.domain.audit.transaction import AuditedTransaction
from app.domain.keys.schemas import ApiKey, PatchKey
from app.domain.keys.service import KeyService
from app.domain.quotas.periods import period_at
from app.domain.quotas.schemas import (
    BudgetUse,
    ConcurrencyUse,
    LimitUse,
    QuotaSource,
    ScopeBudget,
    ScopeBudgetInUse,
    ScopeLimits,
    ScopeLimitsInUse,
)
from app.domain.quotas.settings import budget_of_file, limits_of_file
from app.domain.quotas.use import (
    Account,
    BudgetCharge,
    LedgerReader,
    LimitsInUse,
    LimitWindow,
    UseReader,
    WindowUse,
    windows_of,
)
from app.domain.tenants.policies import Budget, Limits, ScopeKind
from app.domain.tenants.schemas import Organization, PatchOrganization, PatchTeam, Team
from app.domain.tenants.service import OrganizationService, TeamService
from app.kernel.clock import Clock
from app.kernel.money import format_usd, parse_usd
from app.settings.model import Settings
from app.stores.errors import StoreUnavailable

Owner = Organization | Team | ApiKey


class QuotaService:
    """What is set on organisations, teams and keys, and what of it is used."""

    def __init__(
        self,
        *,
        organizations: OrganizationService,
        teams: TeamService,
        keys: KeyService,
        settings: Callable[[], Settings],
        clock: Clock,
        use: UseReader,
        ledger: LedgerReader,
    ) -> None:
        """Read and write through the owners' services; `settings` tells what the file says now.

        `ledger` says what it can while `use` cannot.
        """
        self._organizations = organizations
        self._teams = teams
        self._keys = keys
        self._settings = settings
        self._clock = clock
        self._use = use
        self._ledger = ledger

    async def limits(self, principal: Principal, scope: ScopeKind, *, scope_id: UUID) -> ScopeLimitsInUse:
        """Return the limits of an object, and what of them is used; raises `NotFound`."""
        owner = await self._find(principal, scope, scope_id)
        binding = self._limits_of(scope, owner)
        windows = [window for limits, source in binding for window in windows_of(limits, source=source)]
        slots = [limits.concurrency for limits, _ in binding if limits.concurrency is not None]
        in_use = await self._limits_in_use(_account(scope, owner), windows) if windows or slots else None
        use: list[LimitUse] | None = None if windows else []
        if in_use is not None:
            use = [_limit_use(window, taken) for window, taken in zip(windows, in_use.windows, strict=True)]
        held = None if in_use is None else in_use.in_flight
        return ScopeLimitsInUse(
            scope=scope,
            id=owner.id,
            limits=owner.limits,
            version=owner.version,
            use=use,
            concurrency=ConcurrencyUse(limit=min(slots), held=held) if slots else None,
        )

    async def budget(self, principal: Principal, scope: ScopeKind, *, scope_id: UUID) -> ScopeBudgetInUse:
        """Return the budget of an object, and what of it is spent; raises `NotFound`."""
        owner = await self._find(principal, scope, scope_id)
        budgets = self._budgets_of(scope, owner)
        account = _account(scope, owner)
        try:
            charges = await self._use.budgets_in_use(account, budgets)
        except StoreUnavailable:
            charges = await self._ledger.budgets_in_use(account, budgets)
        use = [
            self._budget_use(budget, source, charge) for (budget, source), charge in zip(budgets, charges, strict=True)
        ]
        return ScopeBudgetInUse(scope=scope, id=owner.id, budget=owner.budget, version=owner.version, use=use)

    async def set_limits(
        self, transaction: AuditedTransaction, scope: ScopeKind, *, scope_id: UUID, limits: Limits | None
    ) -> ScopeLimits:
        """Put limits in place of those that are there; nothing removes them. Raises as the owner's own service."""
        owner: Owner
        if scope == "organization":
            owner = await self._organizations.patch(transaction, scope_id, PatchOrganization(limits=limits))
        elif scope == "team":
            owner = await self._teams.patch(transaction, scope_id, PatchTeam(limits=limits))
        else:
            owner = await self._keys.patch(transaction, scope_id, PatchKey(limits=limits))
        return ScopeLimits(scope=scope, id=owner.id, limits=owner.limits, version=owner.version)

    async def set_budget(
        self, transaction: AuditedTransaction, scope: ScopeKind, *, scope_id: UUID, budget: Budget | None
    ) -> ScopeBudget:
        """Put a budget in place of the one that is there; nothing removes it. Raises as the owner's own service."""
        owner: Owner
        if scope == "organization":
            owner = await self._organizations.patch(transaction, scope_id, PatchOrganization(budget=budget))
        elif scope == "team":
            owner = await self._teams.patch(transaction, scope_id, PatchTeam(budget=budget))
        else:
            owner = await self._keys.patch(transaction, scope_id, PatchKey(budget=budget))
        return ScopeBudget(scope=scope, id=owner.id, budget=owner.budget, version=owner.version)

    async def remove_limits(self, transaction: AuditedTransaction, scope: ScopeKind, *, scope_id: UUID) -> None:
        """Leave an object without limits of its own; again is the same as once."""
        await self.set_limits(transaction, scope, scope_id=scope_id, limits=None)

    async def remove_budget(self, transaction: AuditedTransaction, scope: ScopeKind, *, scope_id: UUID) -> None:
        """Leave an object without a budget of its own; again is the same as once."""
        await self.set_budget(transaction, scope, scope_id=scope_id, budget=None)

    async def _find(self, principal: Principal, scope: ScopeKind, scope_id: UUID) -> Owner:
        if scope == "organization":
            return await self._organizations.find(principal, scope_id)
        if scope == "team":
            return await self._teams.find(principal, scope_id)
        return await self._keys.find(principal, scope_id)

    async def _limits_in_use(self, account: Account, windows: list[LimitWindow]) -> LimitsInUse | None:
        try:
            return await self._use.limits_in_use(account, windows)
        except StoreUnavailable:
            return None

    def _limits_of(self, scope: ScopeKind, owner: Owner) -> list[tuple[Limits, QuotaSource]]:
        """Return the limits that bind an object: its own, and of an organisation the file's."""
        binding: list[tuple[Limits, QuotaSource]] = [] if owner.limits is None else [(owner.limits, "api")]
        if scope == "organization":
            binding.append((limits_of_file(self._settings().limits), "config"))
        return binding

    def _budgets_of(self, scope: ScopeKind, owner: Owner) -> list[tuple[Budget, QuotaSource]]:
        binding: list[tuple[Budget, QuotaSource]] = [] if owner.budget is None else [(owner.budget, "api")]
        configured = self._settings().budget
        if scope == "organization" and configured is not None:
            binding.append((budget_of_file(configured), "config"))
        return binding

    def _budget_use(self, budget: Budget, source: QuotaSource, charge: BudgetCharge) -> BudgetUse:
        period = period_at(self._clock.now(), period=budget.period, timezone=budget.timezone)
        taken_nusd = charge.used_nusd + (charge.held_nusd or 0)
        down = budget.on_accounting_down
        workers = self._settings().gateway.workers
        return BudgetUse(
            amount=format_usd(budget.amount_nusd),
            used=format_usd(charge.used_nusd),
            held=None if charge.held_nusd is None else format_usd(charge.held_nusd),
            remaining=format_usd(max(0, budget.amount_nusd - taken_nusd)),
            period=budget.period,
            timezone=budget.timezone,
            starts_at=period.starts_at,
            resets_at=period.resets_at,
            source=source,
            on_accounting_down=down,
            overspend_bound=format_usd(0 if down == "deny" else workers * parse_usd(down.allow)),
        )


def _account(scope: ScopeKind, owner: Owner) -> Account:
    organization_id = owner.id if isinstance(owner, Organization) else owner.organization_id
    return Account(scope=scope, id=owner.id, organization_id=organization_id)


def _limit_use(window: LimitWindow, use: WindowUse) -> LimitUse:
    def shown(quantity: int) -> int | str:
        return format_usd(quantity) if window.dimension == "cost" else quantity

    return LimitUse(
        dimension=window.dimension,
        window_s=window.window_s,
        model=window.model,
        algorithm=window.algorithm,
        limit=shown(window.limit),
        used=shown(use.used),
        remaining=shown(max(0, window.limit - use.used)),
        reset_s=use.reset_s,
        source=window.source,
    )
