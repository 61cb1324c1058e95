"""The dashboard as one router, beside the admin API's."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from litestar import Request, Router
from litestar.di import Provide

from app.api.admin.bodies import MAX_BYTES
from app.api.admin.desks import Desks, always
from app.api.dashboard.access import AdminKeyPages, GrantPages, SessionPages
from app.api.dashboard.assets import asset_handlers
from app.api.dashboard.audit_log import AuditPages
from app.api.dashboard.cache_report import CachePages
from app.api.dashboard.changes import Change
from app.api.dashboard.configuration import ConfigPages
from app.api.dashboard.ensembles import EnsemblePages
from app.api.dashboard.fanouts import FanoutPages
from app.api.dashboard.keys import KeyPages
from app.api.dashboard.models import ModelPages
from app.api.dashboard.overview import OverviewPages
from app.api.dashboard.pages import Pages, Templates
from app.api.dashboard.playground import PlaygroundPages
from app.api.dashboard.providers import ProviderPages
from app.api.dashboard.refusals import exception_handlers
from app.api.dashboard.request_log import RequestPages
from app.api.dashboard.sign_in import sign_in_handler
from app.api.dashboard.tenants import OrganizationPages, TeamPages
from app.api.dashboard.usage_explorer import UsagePages
from app.api.dashboard.visitor import pages_for, requires_own_page
from app.domain.access.sessions import OpenSession
from app.domain.audit.principal import Principal
from app.domain.services import AdminServices
from app.gateway.billing import Billing
from app.guards.admin import principal_of, requires_principal, within_known_parameters
from app.kernel.clock import Clock
from app.middleware.admin_authentication import AdminAuthentication, Authenticate
from app.middleware.site import Site
from app.settings.model import Settings

PAGES = [
    OverviewPages,
    KeyPages,
    OrganizationPages,
    TeamPages,
    ProviderPages,
    ModelPages,
    EnsemblePages,
    RequestPages,
    UsagePages,
    FanoutPages,
    CachePages,
    AuditPages,
    PlaygroundPages,
    AdminKeyPages,
    GrantPages,
    SessionPages,
    ConfigPages,
]


def dashboard_router(
    services: AdminServices,
    *,
    authenticate: Authenticate,
    site: Site,
    desks: Desks,
    billing: Billing,
    settings: Callable[[], Settings],
    served: Callable[[], Settings],
    clock: Clock,
) -> Router:
    """Return the router at `/`; `settings` returns those of the file, `served` also what was made beside it."""
    templates = Templates()

    def provide_pages(request: Request[Any, Any, Any]) -> Pages:
        return pages_for(templates, request)

    def provide_now() -> datetime:
        return clock.now()

    def provide_visitor(request: Request[Any, Any, Any]) -> Principal:
        return principal_of(request)

    def provide_change(request: Request[Any, Any, Any]) -> Change:
        return Change(request, services=services, principal=principal_of(request))

    def find_session(token: str) -> Awaitable[OpenSession]:
        return services.sessions.find(token)

    def with_authentication(app: Any) -> AdminAuthentication:
        return AdminAuthentication(app, authenticate, find_session=find_session, site=site)

    provided = {
        "pages": Provide(provide_pages, sync_to_thread=False),
        "services": always(services),
        "cache_desk": always(desks.cache),
        "trace_desk": always(desks.traces),
        "examine": always(desks.examine),
        "try_provider": always(desks.try_provider),
        "config_desk": always(desks.config),
        "bill_of": always(billing),
        "price_now": always(billing.price_now),
        "settings": always(settings),
        "served": always(served),
        "now": Provide(provide_now, sync_to_thread=False),
        "visitor": Provide(provide_visitor, sync_to_thread=False),
        "change": Provide(provide_change, sync_to_thread=False),
    }
    behind_sign_in = Router(
        "/",
        route_handlers=PAGES,
        guards=[requires_principal, requires_own_page, within_known_parameters],
        request_max_body_size=MAX_BYTES,
    )
    return Router(
        "/",
        route_handlers=[behind_sign_in, sign_in_handler(), *asset_handlers()],
        middleware=[with_authentication],
        dependencies=provided,
        exception_handlers=exception_handlers(templates),
        include_in_schema=False,
    )
