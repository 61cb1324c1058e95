"""Who may call the inference API, and with which model. Law: middleware names the caller; guards refuse the caller."""

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec

from app.domain.keys.directory import KeyDirectory
from app.domain.keys.principal import Principal
from app.kernel.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated
from app.routing.table import Route, RouteTable
from app.settings.model import Fallbacks

_BEARER = b"bearer "
_FALLBACKS = "x-gateway-fallbacks"


class Tokens(Protocol):
    """Reads JSON Web Tokens that stand for a key."""

    def recognises(self, token: bytes) -> bool:
        """Whether a credential has the form of such a token."""
        ...

    async def public_id(self, token: bytes) -> str:
        """Return the public id of the key that a token stands for; raises `Unauthenticated`."""
        ...


async def requires_inference(
    headers: Mapping[bytes, bytes], directory: KeyDirectory, tokens: Tokens | None, *, scope: str = "inference"
) -> Principal:
    """Return who calls; raises for a caller who may not use the inference API."""
    token = _credential(headers)
    if tokens is not None and tokens.recognises(token):
        principal = await directory.principal(await tokens.public_id(token))
    else:
        principal = await directory.authenticate(token)
    if scope not in principal.scopes and "inference" not in principal.scopes:
        raise Forbidden(f"this key lacks the scope {scope!r}", code="insufficient_scope")
    return principal


def _credential(headers: Mapping[bytes, bytes]) -> bytes:
    """Return the one credential of a request."""
    found = [headers[name] for name in (b"x-api-key", b"x-goog-api-key") if name in headers]
    authorization = headers.get(b"authorization")
    if authorization is not None:
        if authorization[: len(_BEARER)].lower() != _BEARER:
            raise Unauthenticated("the Authorization header must be of the form: Bearer <key>")
        found.append(authorization[len(_BEARER) :].strip())
    if not found:
        raise Unauthenticated(
            "no API key was sent: put it into the header Authorization: Bearer <key>", code="missing_api_key"
        )
    if any(other != found[0] for other in found[1:]):
        raise InvalidRequest("two different credentials were sent", code="ambiguous_credentials")
    return found[0]


class Pin(NamedTuple):
    """The one target that a caller asks for, and where it says so."""

    provider: str
    model: str
    named_in: str = "x-gateway-route"


def requires_model(
    principal: Principal,
    routes: RouteTable,
    name: str,
    *,
    pin: Pin | None = None,
    named_in: str = "model",
) -> Route:
    """Return the route of a model that the caller may use, named in that field; `pin` is the target asked for."""
    route = _open(routes.find(name), principal)
    if route is None:
        raise NotFound(f"the model {name[:100]!r} does not exist", code="model_not_found", param=named_in)
    if not principal.may_use(name):
        raise Forbidden(f"this key may not use the model {name[:100]!r}", code="model_not_allowed", param=named_in)
    if pin is None:
        return route
    if not principal.may_route:
        raise Forbidden("this key may not choose its route", code="insufficient_scope", param=pin.named_in)
    narrowed = _open(routes.pinned(route, pin.provider, pin.model), principal)
    label = f"{pin.provider}/{pin.model}"
    if narrowed is None:
        raise NotFound(f"there is no target {label[:100]!r}", code="model_not_found", param=pin.named_in)
    if narrowed.targets[0] not in route.targets and not principal.may_use(label):
        raise Forbidden(f"this key may not use {label[:100]!r}", code="model_not_allowed", param=pin.named_in)
    return narrowed


def within_fallbacks(
    principal: Principal,
    routes: RouteTable,
    route: Route,
    *,
    asked: tuple[str, ...] | None,
    named_in: str = _FALLBACKS,
) -> tuple[Route, Mapping[str, Route]]:
    """Return a route, and by name those that it, or what it falls back to, may fall back to.

    `asked` are the caller's own fallbacks in place of the operator's, as `named_in` says: it must have all of them, and
    be allowed to use them. Of the operator's, those that the caller may not use are left out.
    """
    if asked is not None:
        for name in asked:
            _check_fallback(principal, routes, name, named_in=named_in)
        route = msgspec.structs.replace(route, fallbacks=Fallbacks(any=asked))
    found: dict[str, Route] = {}
    waiting = list(_names(route))
    while waiting:
        name = waiting.pop()
        other = _open(routes.find(name), principal) if name not in found and principal.may_use(name) else None
        if other is not None:
            found[name] = other
            waiting += _names(other)
    return route, found


def _names(route: Route) -> tuple[str, ...]:
    fallbacks = route.fallbacks
    return (*fallbacks.any, *fallbacks.context_length, *fallbacks.content_policy)


def _check_fallback(principal: Principal, routes: RouteTable, name: str, *, named_in: str) -> None:
    if _open(routes.find(name), principal) is None:
        raise NotFound(f"the model {name[:100]!r} does not exist", code="model_not_found", param=named_in)
    if not principal.may_use(name):
        raise Forbidden(f"this key may not use the model {name[:100]!r}", code="model_not_allowed", param=named_in)


def _open(route: Route | None, principal: Principal) -> Route | None:
    """Return a route with the accounts that the caller's organisation may use; nothing if there are none."""
    return None if route is None else route.open_to(principal.organization_id)
