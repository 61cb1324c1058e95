"""What `llm-gateway explain` prints. Law: pure; money is shown as it was reckoned."""

from collections.abc import Sequence

import msgspec

from app.commands.columns import aligned
from app.pipeline.explanation import ExplainedCache, ExplainedFallback, ExplainedKey, ExplainedRoute, Explanation


def as_json(explanation: Explanation) -> str:
    """Return what `--json` prints."""
    return msgspec.json.format(msgspec.json.encode(explanation), indent=2).decode()


def as_text(explanation: Explanation) -> str:
    """Return the explanation for people."""
    parts = [_head(explanation), _targets(explanation), _fallbacks(explanation), _quotas(explanation)]
    notes = "\n".join(f"not known here: {each}" for each in explanation.unknown)
    return "\n\n".join(part for part in [*parts, notes] if part)


def _head(explanation: Explanation) -> str:
    request, refusal = explanation.request, explanation.refusal
    how = "streamed" if request.stream else "not streamed"
    rows = [
        ["model", request.model],
        ["key", "none: the operator, whom no limit binds" if explanation.key is None else _key(explanation.key)],
        ["request", f"{request.input_tokens} tokens in, at most {request.output_tokens} out, {how}"],
        ["outcome", "admitted" if refusal is None else f"refused: {refusal.status} {refusal.code}: {refusal.message}"],
        ["cost", "no price" if request.cost_bound is None else f"at most {_usd(request.cost_bound)} USD"],
    ]
    if explanation.cache is not None:
        rows.append(["cache", _cache(explanation.cache)])
    if explanation.route is not None:
        rows += _route(explanation.route)
    return _aligned(rows)


def _key(key: ExplainedKey) -> str:
    return f"{key.id} of the organization {key.organization_id}"


def _cache(cache: ExplainedCache) -> str:
    source = "the settings" if cache.set_by == "config" else f"the {cache.set_by}"
    said = f"{cache.mode} by {source}: {cache.status}"
    if cache.entry_id is not None:
        said += f", {cache.entry_id}, {cache.age_s} s old"
    if cache.similarity is not None and cache.threshold is not None:
        guard = "" if cache.guard is None else f", told apart by the guard `{cache.guard}`"
        said += f", similarity {cache.similarity:g} of {cache.threshold:g} needed{guard}"
    return said if cache.why is None else f"{said} ({cache.why})"


def _route(route: ExplainedRoute) -> list[list[str]]:
    hedge = "off" if route.hedge is None else msgspec.json.encode(route.hedge).decode()
    breaker = "on" if route.breaker else "off"
    retries = "1 retry" if route.retries == 1 else f"{route.retries} retries"
    clocks = msgspec.structs.asdict(route.timeouts).items()
    rows = [
        ["route", f"{route.balance}, {retries}, breaker {breaker}, hedge {hedge}, sticky {route.sticky}"],
        ["timeouts", ", ".join(f"{name} {value:g}" for name, value in clocks)],
    ]
    if route.transform is not None:
        rows.append(["transform", msgspec.json.encode(route.transform).decode()])
    return rows


def _targets(explanation: Explanation) -> str:
    rows = [["#", "target", "weight", "credentials", "in/1M", "out/1M", "likely", "at most", "why"]]
    targets = () if explanation.route is None else explanation.route.targets
    for place, each in enumerate(targets, 1):
        price = each.price
        rows.append(
            [
                str(place),
                each.target,
                str(each.weight),
                str(each.credentials),
                *(["-", "-"] if price is None else [_usd(price.input), _usd(price.output)]),
                "-" if each.likely_cost is None else _usd(each.likely_cost),
                "-" if each.cost_bound is None else _usd(each.cost_bound),
                each.reason,
            ]
        )
    return _aligned(rows)


def _fallbacks(explanation: Explanation) -> str:
    fallbacks = {} if explanation.route is None else explanation.route.fallbacks
    found = {kind: chain for kind, chain in fallbacks.items() if chain}
    if not found:
        return ""
    rows = [[f"fallbacks ({kind})", " > ".join(map(_fallback, chain))] for kind, chain in found.items()]
    return _aligned(rows)


def _fallback(fallback: ExplainedFallback) -> str:
    return fallback.model if fallback.is_used else f"{fallback.model} (not: {fallback.reason})"


def _quotas(explanation: Explanation) -> str:
    rows = [["binds", "of", "limit", "used", "this request"]]
    for limit in explanation.limits:
        model = "" if limit.model is None else f" of {limit.model}"
        what = f"{limit.dimension}{model} in {limit.window_s} s"
        rows.append([limit.scope, what, str(limit.limit), _or_dash(limit.used), str(limit.asked)])
    rows += [
        [slots.scope, "requests at once", str(slots.limit), _or_dash(slots.in_flight), "1"]
        for slots in explanation.concurrency
    ]
    for budget in explanation.budgets:
        what = "USD in total" if budget.period == "total" else f"USD a {budget.period}"
        used = "-" if budget.used is None else _usd(budget.used)
        used += "" if budget.held is None else f" + {_usd(budget.held)} held"
        cost = explanation.request.cost_bound
        rows.append([budget.scope, what, _usd(budget.amount), used, "-" if cost is None else _usd(cost)])
    return _aligned(rows) if len(rows) > 1 else ""


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _usd(text: str) -> str:
    """Return an amount without the zeros at its end, but with cents."""
    whole, _, part = text.partition(".")
    return f"{whole}.{part.rstrip('0').ljust(2, '0')}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    return aligned(rows, left=len(rows[0]))
