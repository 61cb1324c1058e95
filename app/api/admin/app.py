"""The admin API as one router, and what its application needs beside it."""

from collections.abc import Awaitable
from typing import Any

from litestar import Request, Response, Router
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, SecurityScheme, Tag

from app.api.admin.admin_keys import AdminKeyController
from app.api.admin.audit import AuditController
from app.api.admin.bodies import MAX_BYTES, refuse_missing_body
from app.api.admin.budgets import BudgetController
from app.api.admin.cache import CacheController
from app.api.admin.config import ConfigController
from app.api.admin.desks import Desks, always
from app.api.admin.ensembles import EnsembleController
from app.api.admin.fanouts import FanoutController
from app.api.admin.grants import GrantController
from app.api.admin.health import HealthController
from app.api.admin.keys import KeyController
from app.api.admin.limits import LimitController
from app.api.admin.models import ModelController
from app.api.admin.organizations import OrganizationController
from app.api.admin.parameters import IdempotencyKey, IfMatch
from app.api.admin.prices import PriceController
from app.api.admin.problems import EXCEPTION_HANDLERS
from app.api.admin.providers import ProviderController
from app.api.admin.requests import RequestController
from app.api.admin.session import SessionController, SessionListController
from app.api.admin.session_oidc import OidcController
from app.api.admin.teams import TeamController
from app.api.admin.usage import UsageController
from app.api.admin.writing import Write
from app.domain.access.sessions import OpenSession
from app.domain.audit.principal import Principal
from app.domain.services import AdminServices
from app.guards.admin import principal_of, requires_principal, within_known_parameters
from app.guards.sessions import within_own_pages
from app.middleware.admin_authentication import AdminAuthentication, Authenticate
from app.middleware.site import Site

__all__ = ["EXCEPTION_HANDLERS", "AdminServices", "admin_openapi", "admin_router"]

_PREFIX = "/admin/v1"
_SCHEME, _COOKIE = "adminKey", "session"

_COMPONENTS = Components(
    security_schemes={
        _SCHEME: SecurityScheme(
            type="http",
            scheme="bearer",
            description="An admin key, or a token of the issuer of `admin.jwt`: `Authorization: Bearer …` (or the key "
            "in `x-api-key`).",
        ),
        _COOKIE: SecurityScheme(
            type="apiKey",
            name="__Host-sid",
            security_scheme_in="cookie",
            description="A session of `POST /session`; whatever changes something needs `X-CSRF-Token` and an "
            "`Origin` of this plane beside it. On a loopback address the cookie is called `sid`.",
        ),
    }
)
_TAGS = [
    Tag(name="Organizations", description="Tenants. What sits on one binds all its teams and keys."),
    Tag(name="Teams", description="Parts of an organization."),
    Tag(name="Keys", description="Keys of the inference API."),
    Tag(name="Admin keys", description="Keys of this API, with role and scope."),
    Tag(
        name="Grants",
        description="Roles of people whom the issuer of `admin.jwt` names. Whoever has several acts by the highest, "
        "and of equal ones by the widest, for whichever organization: they are never added up, and none is chosen.",
    ),
    Tag(name="Sessions", description="Browsers that are signed in, by an admin key or at the issuer."),
    Tag(name="Usage", description="What was used, and what it cost."),
    Tag(name="Limits", description="How much may be asked for, and how much of that is used now."),
    Tag(name="Budgets", description="How much may be spent, and how much is."),
    Tag(name="Providers", description="Accounts at vendors. Those of the file win; credentials are never shown."),
    Tag(name="Models", description="Public model names and what serves them. Those of the file win."),
    Tag(name="Prices", description="What models cost. Those of the file win; these win over the catalogue's."),
    Tag(name="Ensembles", description="Models that answer together under one name. Those of the file win."),
    Tag(name="Fan-outs", description="Which model wins when several are asked."),
    Tag(name="Requests", description="What became of recent requests, and why."),
    Tag(name="Cache", description="Answers that are kept and given again, and how often like ones would be wrong."),
    Tag(name="Health", description="Providers, breakers, stores, and how far the ledger is behind."),
    Tag(name="Configuration", description="What the gateway runs on: shown with its origins, tried, taken again."),
    Tag(name="Audit", description="Who changed what."),
]


def admin_router(services: AdminServices, *, authenticate: Authenticate, desks: Desks, site: Site) -> Router:
    """Return the router under `/admin/v1`; its application must take `EXCEPTION_HANDLERS` too."""

    def provide_principal(request: Request[Any, Any, Any]) -> Principal:
        return principal_of(request)

    def provide_write(
        request: Request[Any, Any, Any], idempotency_key: IdempotencyKey = None, if_match: IfMatch = None
    ) -> Write:
        return Write(
            request,
            services=services,
            principal=principal_of(request),
            idempotency_key=idempotency_key,
            if_match=if_match,
        )

    def find_session(token: str) -> Awaitable[OpenSession]:
        return services.sessions.find(token)

    def with_authentication(app: Any) -> AdminAuthentication:
        return AdminAuthentication(app, authenticate, find_session=find_session, site=site)

    # Litestar copies a router deeply. Functions it leaves alone, so the services are reached through closures only.
    return Router(
        _PREFIX,
        route_handlers=[
            OrganizationController,
            TeamController,
            KeyController,
            AdminKeyController,
            GrantController,
            SessionController,
            SessionListController,
            OidcController,
            UsageController,
            LimitController,
            BudgetController,
            ProviderController,
            ModelController,
            PriceController,
            EnsembleController,
            FanoutController,
            RequestController,
            CacheController,
            HealthController,
            ConfigController,
            AuditController,
        ],
        middleware=[with_authentication],
        guards=[requires_principal, within_own_pages, within_known_parameters],
        dependencies={
            "services": always(services),
            "door": always(desks.door),
            "examine": always(desks.examine),
            "cache_desk": always(desks.cache),
            "trace_desk": always(desks.traces),
            "try_provider": always(desks.try_provider),
            "config_desk": always(desks.config),
            "principal": Provide(provide_principal, sync_to_thread=False),
            "write": Provide(provide_write, sync_to_thread=False),
        },
        before_request=_before,
        exception_handlers=EXCEPTION_HANDLERS,
        request_max_body_size=MAX_BYTES,
        security=[{_SCHEME: []}, {_COOKIE: []}],
    )


async def _before(request: Request[Any, Any, Any]) -> Response[None] | None:
    """Answer `OPTIONS`; else refuse a body that is missing.

    Litestar's own answer is that of the first handler of a path: it leaves out the methods of all others.
    """
    if request.method == "OPTIONS":
        template = request.scope["path_template"]
        methods = {method for route in request.app.routes if route.path_format == template for method in route.methods}
        return Response(None, status_code=204, headers={"Allow": ", ".join(sorted(methods))})
    await refuse_missing_body(request)
    return None


def admin_openapi(version: str, **kwargs: Any) -> OpenAPIConfig:
    """Return the description of the admin plane; `kwargs` (path, render plugins) go to Litestar's configuration."""
    return OpenAPIConfig(
        title="LLM gateway: administration",
        version=version,
        description="Tenants, keys, limits, budgets, providers, models, prices, ensembles, usage, requests, cache, "
        "health, settings and audit. Errors are RFC 9457 problem details.",
        components=_COMPONENTS,
        tags=_TAGS,
        operation_id_creator=_operation_id,
        use_handler_docstrings=True,
        **kwargs,
    )


def _operation_id(handler: HTTPRouteHandler, _method: Any, _path: Any) -> str:
    return handler.handler_name
