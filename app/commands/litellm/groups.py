"""Deployments of one name become one model: targets, weights, clocks, bodies and prices."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from app.commands.litellm.deployments import Deployment
from app.commands.litellm.report import Report

_MAX_WEIGHT = 1_000_000
_MAX_RETRIES = 10
_MAX_S = 86_400
_FINEST = 1000
_LIMITS = "limits bind organisations, teams and keys here, not single targets"
_OWN_FIELDS = frozenset({"model", "stream", "messages"})


def model_of(deployments: Sequence[Deployment], report: Report) -> dict[str, Any]:
    """Return the model that deployments of one name make, as the file has it."""
    targets = _targets(deployments, report)
    model: dict[str, Any] = {"targets": targets}
    if len(targets) > 1 and any(each.order is not None for each in deployments):
        model["balance"] = "priority"
    retries = _most([each.retries for each in deployments])
    if retries is not None:
        model["retries"] = min(int(retries), _MAX_RETRIES)
    clocks = {
        "total_s": clock_of(_most([each.total_s for each in deployments])),
        "first_token_s": clock_of(_most([each.first_token_s for each in deployments])),
    }
    model["timeouts"] = {name: value for name, value in clocks.items() if value is not None}
    model["transform"] = _transform(deployments, report)
    model["price"] = _price(deployments, report)
    return {key: value for key, value in model.items() if value != {}}


def clock_of(seconds: float | None) -> float | int | None:
    """Return a clock in the range that the file takes, whole where it is; `None` where none is meant."""
    if seconds is None or seconds <= 0:
        return None
    seconds = min(seconds, _MAX_S)
    return int(seconds) if seconds == int(seconds) else seconds


def _targets(deployments: Sequence[Deployment], report: Report) -> list[dict[str, Any]]:
    """Return each target once; what serves one twice has the weight of both."""
    ordered = sorted(deployments, key=lambda each: math.inf if each.order is None else each.order)
    shares = _shares(ordered, report)
    targets: dict[tuple[str, str], float] = {}
    for each, share in zip(ordered, shares, strict=True):
        key = (each.provider, each.model)
        if key in targets:
            report.change(each.path, "is the same target as an earlier one of its model: they are one")
        targets[key] = targets.get(key, 0) + share
    weights = _whole([*targets.values()])
    is_by_order = any(each.order is not None for each in deployments)
    return [
        {"provider": provider, "model": model} | ({} if weight == 1 or is_by_order else {"weight": weight})
        for (provider, model), weight in zip(targets, weights, strict=True)
    ]


def _shares(deployments: Sequence[Deployment], report: Report) -> list[float]:
    """Return the weights: those written, else the requests or tokens that each may take in a minute."""
    key = next((key for key in ("weight", "rpm", "tpm") if any(each.weights.get(key) for each in deployments)), None)
    for each in deployments:
        for other in sorted(each.weights.keys() - {"weight"}):
            where = f"{each.path}.litellm_params.{other}"
            if other == key and len(deployments) > 1:
                report.change(where, f"is its target's weight, and no limit: {_LIMITS}")
            else:
                report.lose(where, _LIMITS)
    if key is None:
        return [1.0] * len(deployments)
    given = [each.weights.get(key) for each in deployments]
    least = min(value for value in given if value)
    return [least if value is None else value for value in given]


def _whole(shares: Sequence[float]) -> list[int]:
    """Return weights in whole numbers, in the proportion of the shares; they are taken to the third decimal."""
    if len(shares) == 1 or not any(shares):
        return [1] * len(shares)
    scaled = [share * _FINEST for share in shares]
    if max(scaled) > _MAX_WEIGHT:
        scaled = [share * _MAX_WEIGHT / max(scaled) for share in scaled]
    whole = [max(1, round(share)) if share else 0 for share in scaled]
    divisor = math.gcd(*whole)
    return [weight // divisor for weight in whole]


def _transform(deployments: Sequence[Deployment], report: Report) -> dict[str, Any]:
    """Return the defaults and drops that all targets share: they are the model's here, not the target's."""
    shared = _shared_default(deployments)
    for each in deployments:
        for field in each.default:
            if field in _OWN_FIELDS:
                report.lose(f"{each.path}.litellm_params.{field}", "is what the gateway itself reads and writes")
            elif field not in shared:
                reason = "other targets of the model have not the same, and a body is transformed for the model"
                report.lose(f"{each.path}.litellm_params.{field}", reason)
    drop = [field for field in deployments[0].drop if all(field in each.drop for each in deployments)]
    default = {field: value for field, value in shared.items() if field not in _OWN_FIELDS}
    return ({"default": default} if default else {}) | ({"drop": drop} if drop else {})


def _shared_default(deployments: Sequence[Deployment]) -> dict[str, Any]:
    first, *others = (each.default for each in deployments)
    return {
        field: value for field, value in first.items() if all(field in each and each[field] == value for each in others)
    }


def _price(deployments: Sequence[Deployment], report: Report) -> dict[str, str]:
    """Return the price; where targets differ, the dearest of each kind, so that no budget is overspent."""
    prices = [each.price for each in deployments]
    if any(price != prices[0] for price in prices):
        reason = "targets of one model have other prices; the dearest stands here, single ones go to `/admin/v1/prices`"
        report.change(f"{deployments[0].path} ({deployments[0].name})", reason)
    fields = dict.fromkeys(field for price in prices for field in price)
    return {field: _dearest(field, prices) for field in fields}


def _dearest(field: str, prices: Sequence[Mapping[str, str]]) -> str:
    return max((price[field] for price in prices if field in price), key=Decimal)


def _most(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
