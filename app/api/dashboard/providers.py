"""Providers: those of the file and those made here, whether they work, and how they are at this moment."""

from typing import Any
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath

from app.api.admin.parameters import Cursor
from app.api.dashboard.changes import gone_to, read_form, reloaded
from app.api.dashboard.parameters import AnyRequest, Changer, Examiner, Renderer, Services, Trier, Visitor
from app.api.dashboard.spec_form import OF_ALL, changed, read_named_spec, read_spec, settings_of, written
from app.domain.audit.principal import Role
from app.domain.upstream.schemas import Described
from app.domain.upstream.views import described_provider
from app.guards.admin import requires_installation, requires_role
from app.guards.sessions import requires_recent_sign_in
from app.kernel.errors import InvalidRequest
from app.settings.model import ProviderSettings

_PAGE = 50
_APART = OF_ALL | {"api_key", "credentials"}
_NOBODY = UUID(int=0)
_CHANGES = (requires_role(Role.ADMIN), requires_recent_sign_in)


class ProviderPages(Controller):
    """Accounts at vendors."""

    path = "/providers"
    guards = (requires_installation,)

    @get()
    async def show_providers(
        self, pages: Renderer, visitor: Visitor, services: Services, cursor: Cursor = None
    ) -> Response[bytes]:
        """List all, and show a panel of health that loads itself again and again."""
        page = await services.providers.page(visitor, limit=_PAGE, cursor=cursor)
        return pages.page("providers.html", page=page)

    @get("/health")
    async def show_health(self, pages: Renderer, examine: Examiner) -> Response[bytes]:
        """Show how all providers, stores and the ledger are now."""
        return pages.page("panel_health.html", health=await examine())

    @post(status_code=200, guards=_CHANGES)
    async def create_provider(self, request: AnyRequest, services: Services, change: Changer) -> Response[bytes]:
        """Make one, and go to it; its credential is in a field of its own, and goes no other way than in."""
        form = await read_form(request)
        fields = _with_own_fields(read_named_spec(form), form, "adapter", "base_url", "api_key")
        made = await change(lambda transaction: services.providers.create(transaction, fields))
        return gone_to(f"/providers/{made['id']}")

    @get("/{provider_id:uuid}")
    async def show_provider(
        self, pages: Renderer, visitor: Visitor, services: Services, provider_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Show one with its settings; its secrets say only that they are set."""
        provider = await services.providers.find(visitor, provider_id)
        return pages.page("provider.html", provider=provider, spec=written(_settings_of(provider)))

    @post("/{provider_id:uuid}", status_code=200, guards=_CHANGES)
    async def change_provider(
        self, *, request: AnyRequest, visitor: Visitor, services: Services, change: Changer,
        provider_id: FromPath[UUID],
    ) -> Response[bytes]:  # fmt: skip
        """Change what the form shows; a credential that was left blank stays."""
        form = await read_form(request)
        before = _settings_of(await services.providers.find(visitor, provider_id))
        fields = _with_own_fields(changed(before, read_spec(form), defaults={}), form, "api_key")
        await change(lambda transaction: services.providers.patch(transaction, provider_id, fields))
        return reloaded()

    @post("/{provider_id:uuid}/delete", status_code=200, guards=_CHANGES)
    async def delete_provider(
        self, services: Services, change: Changer, provider_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Remove one with its credentials."""
        await change(lambda transaction: services.providers.delete(transaction, provider_id))
        return gone_to("/providers")

    @post("/{provider_id:uuid}/test", status_code=200, guards=[requires_role(Role.ADMIN)])
    async def test_provider(
        self, pages: Renderer, visitor: Visitor, try_provider: Trier, provider_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Make one real call, and show what came of it."""
        return pages.page("provider_tested.html", tried=await try_provider(visitor, provider_id))


def _settings_of(provider: Described) -> dict[str, Any]:
    usual = described_provider("", ProviderSettings(adapter=""), object_id=_NOBODY, marks=[])
    return settings_of(provider, usual, hidden=_APART)


def _with_own_fields(spec: dict[str, Any], form: dict[str, str], *names: str) -> dict[str, Any]:
    """Return settings with those that have fields of their own in the form."""
    for name in names:
        if name in form and name in spec:
            raise InvalidRequest(f"{name} is given twice: in its own field and in the settings", param=name)
    return spec | {name: form[name] for name in names if name in form}
