"""What administrators see of the cache, and how they empty it. Law: nothing here is on the way of a request.

Workers keep the questions of entries in memory, to compare others with; each reads an entry before it is given, so that
what is purged from the store is given by nobody.
"""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import msgspec

from app.cache.confidence import upper_bound
from app.cache.shadow import Report, report_of, threshold_for
from app.cache.wishes import CachePolicy, nearest
from app.domain.audit.principal import Principal
from app.domain.audit.transaction import AuditedTransaction
from app.domain.tenants.policies import CacheRules
from app.domain.tenants.repository import organization_ids
from app.domain.tenants.schemas import DEFAULT_ORGANIZATION
from app.domain.tenants.service import OrganizationService, resolve_organization
from app.domain.usage.entries import partition_of
from app.domain.usage.reports import CacheCounts, UsageQuery, UsageReports
from app.gateway.cache_selection import named, selection_of
from app.gateway.cache_view import (
    CacheEmbedder,
    CacheKept,
    CacheThreshold,
    CacheUse,
    CacheView,
    FalseHits,
    PurgeCache,
    Purged,
    ShadowReport,
    ShadowStep,
)
from app.gateway.calibration import Calibration, Calibrations
from app.gateway.core import Core
from app.kernel.errors import Unavailable
from app.kernel.money import format_usd
from app.settings.model import Settings
from app.settings.policy import CacheSettings
from app.stores.cache import CacheStore, Overview, Owner
from app.stores.errors import StoreUnavailable

_MIB = 1 << 20
_DIGITS = 6


class CacheDesk:
    """Looks at the cache and empties it. One for each process that serves the admin plane.

    `settings` returns those in force, `calibration` what is known of an embedder by its name.
    """

    def __init__(
        self,
        store: CacheStore,
        *,
        organizations: OrganizationService,
        usage: UsageReports,
        settings: Callable[[], Settings],
        calibration: Callable[[str], Awaitable[Calibration]],
    ) -> None:
        self._store = store
        self._organizations = organizations
        self._usage = usage
        self._settings = settings
        self._calibration = calibration

    async def view(
        self, principal: Principal, organization_id: UUID | None, *, since: str | None, until: str | None
    ) -> CacheView:
        """Return the cache of an organisation: the one named, the caller's own, or the default one.

        Raises `NotFound` for one that the caller may not see, and `InvalidRequest` for a range that is none.
        """
        wanted = organization_id or principal.organization_id or DEFAULT_ORGANIZATION
        organization = await self._organizations.find(principal, wanted)
        counts = await self._usage.cache_counts(
            principal, UsageQuery(since=since, until=until, organization_id=organization.id)
        )
        settings = self._settings().cache
        policy, is_own = _binding(organization.cache, settings)
        calibration = await self._calibration(settings.embedder)
        overview, report = await self._kept(organization.id)
        threshold = _threshold(policy, calibration, report=report, target=settings.target_false_hits)
        return CacheView(
            organization_id=organization.id,
            mode=policy.mode,
            mode_source="organization" if is_own else "config",
            scope=policy.scope,
            ttl_s=policy.ttl_s,
            embedder=CacheEmbedder(name=settings.embedder, id=calibration.id),
            threshold=threshold,
            use=_use(counts),
            kept=None if overview is None else _kept(overview, settings),
            shadow=None
            if report is None
            else _shadow(report, threshold, least=_least(policy, calibration), of=settings),
        )

    async def _kept(self, organization_id: UUID) -> tuple[Overview | None, Report | None]:
        owner = _owner(organization_id)
        try:
            return await self._store.overview(owner), report_of(await self._store.counts(owner))
        except StoreUnavailable:
            return None, None

    async def purge(self, transaction: AuditedTransaction, spec: PurgeCache) -> Purged:
        """Forget what is named, and write that down wherever something was forgotten.

        Who is of the installation and names no organisation means all. Raises `InvalidRequest` that names the field at
        fault, and `Unavailable` where the store does not answer: some may be gone then, and asking again does no harm.
        """
        if spec.organization_id is None and transaction.principal.is_of_installation:
            numbers = {each: await self._forget(spec, each) for each in await organization_ids(transaction.connection)}
            found = {each: number for each, number in numbers.items() if number} or {DEFAULT_ORGANIZATION: 0}
            purged = Purged(organization_id=None, purged=sum(found.values()))
        else:
            one = await resolve_organization(transaction, spec.organization_id)
            found = {one: await self._forget(spec, one)}
            purged = Purged(organization_id=one, purged=found[one])
        for organization_id, number in found.items():
            await transaction.record(
                "purge",
                kind="cache",
                object_id=organization_id,
                organization_id=organization_id,
                before=None,
                after=_Purge(named=named(spec), purged=number),
            )
        return purged

    async def _forget(self, spec: PurgeCache, organization_id: UUID) -> int:
        """Forget what is named of one organisation, and return how much that was."""
        selection = selection_of(spec, organization_id)
        try:
            return await self._store.purge(_owner(organization_id), **selection)
        except StoreUnavailable as error:
            raise Unavailable("the cache's store does not answer", code="cache_unavailable", retry_after_s=1) from error


def open_cache_desk(core: Core) -> CacheDesk:
    """Return the desk of a process, over what it holds."""
    services = core.services
    return CacheDesk(
        core.cache,
        organizations=services.organizations,
        usage=services.usage,
        settings=lambda: core.settings,
        calibration=Calibrations(),
    )


class _Purge(msgspec.Struct, frozen=True, kw_only=True):
    """What the audit says: what was named, as it was named."""

    named: dict[str, Any]
    purged: int


# -- the view ---------------------------------------------------------------------------------------------------------


def _owner(organization_id: UUID) -> Owner:
    return Owner(partition_of(organization_id), organization_id.hex)


def _binding(rules: CacheRules | None, file: CacheSettings) -> tuple[CachePolicy, bool]:
    """Return the setting that binds an organisation, and whether it is its own."""
    own = None if rules is None else _policy_of(rules)
    policy = nearest([own, _policy_of(file)])
    return policy, own is not None and policy == own


def _policy_of(rules: CacheRules | CacheSettings) -> CachePolicy:
    return CachePolicy(mode=rules.mode, ttl_s=rules.ttl_s, threshold=rules.threshold, scope=rules.scope)


def _least(policy: CachePolicy, calibration: Calibration) -> float:
    return calibration.threshold if policy.threshold is None else policy.threshold


def _threshold(
    policy: CachePolicy, calibration: Calibration, *, report: Report | None, target: float | None
) -> CacheThreshold:
    """Return the threshold in force, and why it is that."""
    least = _least(policy, calibration)
    if report is not None and target is not None:
        followed = threshold_for(report, least=least, target=target)
        if followed > least:
            return CacheThreshold(value=round(followed, _DIGITS), source="followed")
    return CacheThreshold(value=least, source="calibrated" if policy.threshold is None else "setting")


def _use(counts: CacheCounts) -> CacheUse:
    def requests(status: str) -> int:
        row = counts.rows.get(status)
        return 0 if row is None else row.requests

    return CacheUse(
        since=counts.period.since,
        until=counts.period.until,
        exact=requests("exact"),
        semantic=requests("semantic"),
        coalesced=requests("coalesced"),
        misses=requests("miss"),
        bypassed=requests("bypass"),
        saved_cost=format_usd(sum(row.saved_nusd for row in counts.rows.values())),
    )


def _kept(overview: Overview, settings: CacheSettings) -> CacheKept:
    return CacheKept(entries=overview.entries, size_bytes=overview.size_bytes, most_bytes=settings.max_mb * _MIB)


def _shadow(report: Report, threshold: CacheThreshold, *, least: float, of: CacheSettings) -> ShadowReport:
    target = of.target_false_hits
    asked = None if target is None else threshold_for(report, least=least, target=target)
    return ShadowReport(
        steps=[
            ShadowStep(similarity=step.similarity, compared=step.compared, agreed=step.agreed) for step in report.steps
        ],
        overall=_false_hits(report),
        from_threshold=_false_hits(report.above(threshold.value)),
        target_false_hits=target,
        target_threshold=None if asked is None else round(asked, _DIGITS),
    )


def _false_hits(report: Report) -> FalseHits:
    compared, wrong = report.compared, report.false
    return FalseHits(
        compared=compared,
        wrong=wrong,
        rate=round(wrong / compared, _DIGITS) if compared else None,
        rate_at_most=round(upper_bound(wrong, compared), _DIGITS),
    )
