"""Deployments of one name become one model: targets, weights, clocks, bodies and prices."""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

from app.commands.litellm.deployments import Deployment
from app.commands.litellm.report import Report

_MAX_WEIGHT = 1_000_000
_FINEST = 1000
_LIMITS = "limits bind organisations, teams and keys here, not single targets"
_OWN_FIELDS = frozenset({"model", "stream", "messages"})

_Number = TypeVar("_Number", int, float)


def model_of(deployments: Sequence[Deployment], report: Report) -> dict[str, Any]:
    """Return the model that deployments make, in the order that they are given, as the file has it.

    They share the calls where all have one `order`; otherwise each is for when those before it fail.
    """
    is_by_order = len({each.order for each in deployments}) > 1
    targets = _targets(deployments, report, is_by_order=is_by_order)
    model: dict[str, Any] = {"targets": targets}
    if len(targets) > 1 and is_by_order:
        model["balance"] = "priority"
    retries = _highest("num_retries", [each.retries for each in deployments], deployments, report)
    if retries is not None:
        model["retries"] = retries
    clocks = {
        "total_s": _highest("timeout", [each.total_s for each in deployments], deployments, report),
        "first_token_s": _highest("stream_timeout", [each.first_token_s for each in deployments], deployments, report),
    }
    model["timeouts"] = {name: value for name, value in clocks.items() if value is not None}
    model["transform"] = _transform(deployments, report)
    model["price"] = _price(deployments, report)
    return {key: value for key, value in model.items() if value != {}}


def _targets(deployments: Sequence[Deployment], report: Report, *, is_by_order: bool) -> list[dict[str, Any]]:
    """Return each target once; what serves one twice has the weight of both."""
    shares = _shares(deployments, report, is_by_order=is_by_order)
    targets: dict[tuple[str, str], float] = {}
    for each, share in zip(deployments, shares, strict=True):
        key = (each.provider, each.model)
        if key in targets:
            report.change(each.path, "is the same target as an earlier one of its model: they are one")
        targets[key] = targets.get(key, 0) + share
    weights = _whole([*targets.values()])
    return [
        {"provider": provider, "model": model} | ({} if weight == 1 or is_by_order else {"weight": weight})
        for (provider, model), weight in zip(targets, weights, strict=True)
    ]


def _shares(deployments: Sequence[Deployment], report: Report, *, is_by_order: bool) -> list[float]:
    """Return the weights: those written, else the requests or tokens that each may take in a minute."""
    key = next((key for key in ("weight", "rpm", "tpm") if any(each.weights.get(key) for each in deployments)), None)
    for each in deployments:
        for other in sorted(each.weights.keys() - {"weight"}):
            where = f"{each.path}.litellm_params.{other}"
            if other == key and len(deployments) > 1 and not is_by_order:
                report.change(where, f"is its target's weight, and no limit: {_LIMITS}")
            else:
                report.lose(where, _LIMITS)
    if key is None:
        return [1.0] * len(deployments)
    given = [each.weights.get(key) for each in deployments]
    least = min(value for value in given if value)
    for each, value in zip(deployments, given, strict=True):
        if value is None and not is_by_order:
            where = f"{each.path}.litellm_params.{key}"
            report.change(where, f"is absent: it is taken to be the least of its model's, {least:g}")
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
        for field in each.drop:
            if not all(field in other.drop for other in deployments):
                reason = f"`{field}`: other targets of the model keep it, and a body is transformed for the model"
                report.lose(f"{each.path}.litellm_params.additional_drop_params", reason)
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
    fields = dict.fromkeys(field for price in prices for field in price)
    dearest = {field: _dearest(field, prices) for field in fields}
    for each in deployments:
        if each.price != dearest:
            own = ", ".join(f"{field} {price}" for field, price in each.price.items()) or "the catalogue's"
            reason = (
                f"the model has the dearest price of its targets, and not this one's ({own}): "
                "single ones go to `/admin/v1/prices`"
            )
            report.change(f"{each.path} ({each.name})", reason)
    return dearest


def _dearest(field: str, prices: Sequence[Mapping[str, str]]) -> str:
    return max((price[field] for price in prices if field in price), key=Decimal)


def _highest(
    key: str, values: Sequence[_Number | None], deployments: Sequence[Deployment], report: Report
) -> _Number | None:
    """Return the highest of what targets want: a model has one for all of them."""
    highest = max((value for value in values if value is not None), default=None)
    for each, value in zip(deployments, values, strict=True):
        where = f"{each.path}.litellm_params.{key}"
        if value is not None and value != highest:
            report.change(where, f"is {highest:g} here: a model has one for all its targets, the highest")
        elif value is not None and None in values:
            report.change(where, "holds for all targets of its model here")
    return highest
