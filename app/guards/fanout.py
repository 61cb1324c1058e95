"""Who may ask several models together. Law: each leg is allowed by its name, or stands in the file."""

from typing import Any

import msgspec

from app.domain.keys.principal import Principal
from app.fanout.spec import FanoutSpec
from app.kernel.errors import Forbidden, InvalidRequest, NotFound
from app.pipeline.fanout import Fanout
from app.routing.table import NO_FALLBACKS, Route, RouteTable

_SHOWN = 100


def width_of(principal: Principal, *, most: int) -> int:
    """Return how many legs a caller's fan-out may have: the least of what the file and all scopes allow."""
    widths = [policy.limits.fanout_width for policy in principal.policies if policy.limits is not None]
    return min([most, *(width for width in widths if width is not None)])


def requires_fanout(
    principal: Principal, routes: RouteTable, spec: FanoutSpec, *, route: Route, said: Any, is_ensemble: bool
) -> tuple[Route, Fanout]:
    """Return the route that stands for all models of a fan-out, and the fan-out.

    With `is_ensemble` the operator chose the models, so that whoever may use the ensemble may use them in it. Raises
    `NotFound` and `Forbidden` that name the leg, and `InvalidRequest` for a leg that is an ensemble itself.
    """

    def found(name: str, label: str) -> Route:
        label = "model" if is_ensemble else f"fanout.{label}"
        return _leg(principal, routes, name, label=label, is_open=not is_ensemble)

    fanout = Fanout(
        name=route.name if is_ensemble else spec.strategy,
        spec=spec,
        said=said,
        legs=tuple(found(name, f"models[{place}]") for place, name in enumerate(spec.models)),
        judge=None if spec.judge is None else found(spec.judge, "judge"),
        fuser=None if spec.fuser is None else found(spec.fuser, "fuser"),
    )
    targets = tuple(target for each in fanout.routes for target in each.targets)
    whole = msgspec.structs.replace(
        route, targets=targets, fallbacks=NO_FALLBACKS, hedge=None, transform=None, sticky="none"
    )
    return whole, fanout


def _leg(principal: Principal, routes: RouteTable, name: str, *, label: str, is_open: bool) -> Route:
    route = routes.find(name)
    route = None if route is None else route.open_to(principal.organization_id)
    if route is None:
        raise NotFound(f"the model {name[:_SHOWN]!r} does not exist", code="model_not_found", param=label)
    if is_open and not principal.may_use(name):
        raise Forbidden(f"this key may not use the model {name[:_SHOWN]!r}", code="model_not_allowed", param=label)
    if route.ensemble is not None:
        raise InvalidRequest(f"{name[:_SHOWN]!r} is an ensemble: a fan-out asks models", param=label)
    # What is reserved is one answer of each leg: there is no second call beside it, and nobody to fall back to.
    return msgspec.structs.replace(route, fallbacks=NO_FALLBACKS, hedge=None)
