"""Deployments of one name become a chain of models: those of one `order` share a model, which falls back to the next.

Law: where every order has one target, the file's order says the same in one model, and no other is made.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

from app.commands.litellm.deployments import Deployment
from app.commands.litellm.groups import model_of
from app.commands.litellm.report import Report

_LAST = "last"


class Chain(NamedTuple):
    """The models of one name, the one that has the name first; `later` are the names of the others."""

    models: dict[str, dict[str, Any]]
    later: tuple[str, ...]


def chain_of(deployments: Sequence[Deployment], report: Report, *, taken: Collection[str]) -> Chain:
    """Return the models that deployments of one name make; none of them gets a name that is taken."""
    first = deployments[0].name
    models: dict[str, dict[str, Any]] = {}
    for shared in _shared(deployments):
        if not models:
            models[first] = model_of(shared, report)
            continue
        before, name = next(reversed(models)), _free(shared[0], taken)
        models[name] = model_of(shared, report)
        models[before]["fallbacks"] = {"any": [name]}
        reason = f"became the model `{name}`, which `{before}` falls back to; a key that names its models names both"
        report.change(f"{shared[0].path}.litellm_params.order", reason)
    return Chain(models, tuple(models)[1:])


def _shared(deployments: Sequence[Deployment]) -> Iterator[list[Deployment]]:
    """Yield the deployments that share a model, those of the lowest order first."""
    orders = sorted({each.order for each in deployments if each.order is not None})
    tiers = [[each for each in deployments if each.order == order] for order in [*orders, None]]
    tiers = [tier for tier in tiers if tier]
    while tiers and not all(map(_has_one_target, tiers)):
        yield tiers.pop(0)
    if tiers:
        yield [each for tier in tiers for each in tier]


def _has_one_target(tier: Sequence[Deployment]) -> bool:
    return len({(each.provider, each.model) for each in tier}) == 1


def _free(deployment: Deployment, taken: Collection[str]) -> str:
    order = _LAST if deployment.order is None else f"{deployment.order:g}"
    name = wanted = f"{deployment.name}-order-{order}"
    number = 2
    while name in taken:
        name, number = f"{wanted}-{number}", number + 1
    return name
