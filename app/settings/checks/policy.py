"""Limits, budget, cache and network: amounts that mean something, and settings that act."""

import ipaddress
import zoneinfo

from app.settings.checks.findings import Findings
from app.settings.model import BudgetSettings, CacheSettings, LimitSettings
from app.settings.suggestions import did_you_mean, shown

_SEMANTIC_MODES = frozenset({"semantic", "shadow"})
_IDLE_MODES = frozenset({"off", "forbidden"})


def check_policy(findings: Findings) -> None:
    """Check what is left of the tree."""
    settings = findings.settings
    _check_limits(findings, settings.limits)
    if settings.budget is not None:
        _check_budget(findings, settings.budget)
    _check_cache(findings, settings.cache)
    for index, network in enumerate(settings.network.allowed_private_cidrs):
        _check_network(findings, f"network.allowed_private_cidrs[{index}]", network)


def _check_limits(findings: Findings, limits: LimitSettings) -> None:
    seen: dict[tuple[str, int, str | None], int] = {}
    for dimension, limit in (("requests", limits.requests_per_minute), ("tokens", limits.tokens_per_minute)):
        if limit is not None:
            seen[dimension, 60, None] = limit
    for index, rule in enumerate(limits.rules):
        path = f"limits.rules[{index}]"
        if rule.limit <= 0:
            findings.error(f"{path}.limit", "must be more than 0", suggestion="to refuse all, suspend the organisation")
        _check_rule_model(findings, f"{path}.model", rule.model)
        scope = (rule.dimension, rule.window_s, rule.model)
        if scope in seen:
            findings.warn(path, "limits the same as an earlier limit does; only the lower one has an effect")
        seen[scope] = rule.limit
    tokens, output = limits.tokens_per_minute, limits.max_output_tokens
    if tokens is not None and output is not None and output > tokens:
        findings.warn("limits.max_output_tokens", "is more than `tokens_per_minute`, so it can never be used up")


def _check_rule_model(findings: Findings, path: str, name: str | None) -> None:
    models = findings.names["models"] or findings.known_models
    if name is None or models is None:
        return
    known = [*models, *findings.names["ensembles"]]
    if name in known:
        return
    findings.error(
        path, f"there is no model {shown(name)}, so the limit would never apply", suggestion=did_you_mean(name, known)
    )


def _check_budget(findings: Findings, budget: BudgetSettings) -> None:
    if budget.amount_nusd <= 0:
        findings.error("budget.amount", "must be more than 0", suggestion="to refuse all, suspend the organisation")
    if not _is_timezone(budget.timezone):
        findings.error(
            "budget.timezone",
            f"there is no time zone {shown(budget.timezone)}",
            suggestion=did_you_mean(budget.timezone, sorted(zoneinfo.available_timezones()), otherwise="such as UTC"),
        )
    if budget.period == "total" and findings.is_set("budget.timezone"):
        findings.warn("budget.timezone", "has no effect: the period `total` has no midnight")
    allowed = budget.on_accounting_down.allow_nusd
    if allowed is not None and allowed > budget.amount_nusd:
        findings.warn("budget.on_accounting_down.allow", "lets each worker spend more than the whole budget, uncounted")


def _is_timezone(name: str) -> bool:
    if name == "UTC":
        return True
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _check_cache(findings: Findings, cache: CacheSettings) -> None:
    if findings.is_set("cache.threshold") and cache.threshold is not None and cache.mode not in _SEMANTIC_MODES:
        findings.warn("cache.threshold", f"has no effect with `mode: {cache.mode}`", suggestion="set `mode: semantic`")
    if cache.mode not in _IDLE_MODES:
        return
    for field in ("ttl_s", "scope", "url"):
        path = f"cache.{field}"
        if findings.is_set(path) and (field != "url" or cache.url is not None):
            findings.warn(path, f"has no effect with `mode: {cache.mode}`", suggestion="set `mode: exact`")


def _check_network(findings: Findings, path: str, text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        findings.error(path, f"{shown(text)} is not a network", suggestion=_network_meant(text))


def _network_meant(text: str) -> str:
    try:
        return f"did you mean {ipaddress.ip_network(text, strict=False)}?"
    except ValueError:
        return "such as 10.1.0.0/16"
