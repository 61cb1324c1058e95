"""Writes wildcard models out as the models that the catalogue knows. Law: the file says what is served."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from app.commands.litellm.deployments import Deployment
from app.commands.litellm.report import Report
from providers.catalog import Catalog

_STAR = "*"


def written_out(
    deployments: Sequence[Deployment], *, providers: Mapping[str, Mapping[str, Any]], catalog: Catalog, report: Report
) -> list[Deployment]:
    """Return the deployments without wildcards: what is named goes before what a wildcard means by the same name."""
    named = {each.name for each in deployments if not each.is_wild}
    is_open = not named and not any(_knows(each, providers[each.provider], catalog) for each in deployments)
    found = [each for each in deployments if not each.is_wild]
    for each in deployments:
        if not each.is_wild:
            continue
        models = [made for made in _models(each, providers[each.provider], catalog) if made.name not in named]
        if models:
            report.change(each.path, f"`{each.name}` became the {len(models)} models that the catalogue knows")
            found += models
        elif is_open and _STAR in each.model:
            reason = f"without `models`, clients name whatever the server has, as `{each.provider}/MODEL`"
            report.change(each.path, f"`{each.name}`: {reason}")
        else:
            report.lose(each.path, f"`{each.name}`: {_why_none(each)}")
    return found


def _knows(wild: Deployment, provider: Mapping[str, Any], catalog: Catalog) -> bool:
    return next(_models(wild, provider, catalog), None) is not None


def _why_none(wild: Deployment) -> str:
    if _STAR not in wild.model:
        return "a wildcard cannot stand for one model; name each public model that clients ask for"
    return "the catalogue knows no models of this address; name those that it serves under `models`"


def _models(wild: Deployment, provider: Mapping[str, Any], catalog: Catalog) -> Iterator[Deployment]:
    """Yield a deployment for each model of the provider's catalogue that the wildcard means."""
    if "base_url" in provider and catalog.vendors[provider["adapter"]].base_url is not None:
        return
    if wild.name.count(_STAR) != 1 or wild.model.count(_STAR) != 1:
        return
    before, after = wild.model.split(_STAR)
    for model in catalog.models(provider["adapter"]):
        if model.id.startswith(before) and model.id.endswith(after) and len(model.id) >= len(before) + len(after):
            middle = model.id[len(before) : len(model.id) - len(after)]
            yield msgspec.structs.replace(wild, name=wild.name.replace(_STAR, middle), model=model.id, is_wild=False)
