"""Who may administer: admin keys, grants and sessions. Law: only owners come here, and prove who they are to change."""

from typing import Any
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath

from app.api.admin.parameters import Cursor
from app.api.dashboard.changes import given, read_as, read_form, reloaded, whole_number
from app.api.dashboard.parameters import AnyRequest, Changer, Renderer, Services, Visitor
from app.api.dashboard.policy_form import expiry_of, shown_day
from app.domain.access.schemas import CreateGrant, PatchGrant
from app.domain.audit.principal import Principal, Role
from app.domain.keys.schemas import CreateAdminKey, PatchAdminKey, Rotate
from app.domain.services import AdminServices
from app.domain.tenants.schemas import Organization
from app.guards.admin import requires_role
from app.guards.sessions import changes_need_recent_sign_in, session_of

_PAGE = 50
_CHOICES = 200
_OWNERS = (requires_role(Role.OWNER), changes_need_recent_sign_in)


class AdminKeyPages(Controller):
    """Keys of the admin API."""

    path = "/admin-keys"
    guards = _OWNERS

    @get()
    async def show_admin_keys(
        self, pages: Renderer, visitor: Visitor, services: Services, cursor: Cursor = None
    ) -> Response[bytes]:
        """List them, newest first."""
        page = await services.admin_keys.page(visitor, limit=_PAGE, cursor=cursor)
        return pages.page("admin_keys.html", page=page, organizations=await _organizations(services, visitor))

    @post(status_code=200)
    async def create_admin_key(
        self, request: AnyRequest, pages: Renderer, services: Services, change: Changer
    ) -> Response[bytes]:
        """Make one; the answer shows its secret, this once."""
        form = await read_form(request)
        fields = given(form, "name", "role", "organization_id") | {"expires_at": expiry_of(form)}
        spec = read_as(CreateAdminKey, fields)
        made = await change(lambda transaction: services.admin_keys.create(transaction, spec))
        return pages.page("admin_secret.html", key=made, secret=made.secret)

    @get("/{key_id:uuid}")
    async def show_admin_key(
        self, pages: Renderer, visitor: Visitor, services: Services, key_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Show one, but never its secret."""
        key = await services.admin_keys.find(visitor, key_id)
        return pages.page("admin_key.html", key=key, expires_on=shown_day(key.expires_at))

    @post("/{key_id:uuid}", status_code=200)
    async def change_admin_key(
        self, *, request: AnyRequest, visitor: Visitor, services: Services, change: Changer, key_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Change what the form shows."""
        form = await read_form(request)
        key = await services.admin_keys.find(visitor, key_id)
        fields: dict[str, Any] = given(form, "name", "role", "status")
        if form.get("expires_on", "") != shown_day(key.expires_at):
            fields |= {"expires_at": expiry_of(form)}
        patch = read_as(PatchAdminKey, fields)
        await change(lambda transaction: services.admin_keys.patch(transaction, key_id, patch))
        return reloaded()

    @post("/{key_id:uuid}/rotate", status_code=200)
    async def rotate_admin_key(
        self, *, request: AnyRequest, pages: Renderer, services: Services, change: Changer, key_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Give one a new secret, which the answer shows, this once."""
        grace_s = whole_number("grace_s", (await read_form(request)).get("grace_s", "0"))
        rotate = read_as(Rotate, {"grace_s": grace_s})
        made = await change(lambda transaction: services.admin_keys.rotate(transaction, key_id, grace_s=rotate.grace_s))
        return pages.page("admin_secret.html", key=made, secret=made.secret)

    @post("/{key_id:uuid}/revoke", status_code=200)
    async def revoke_admin_key(self, services: Services, change: Changer, key_id: FromPath[UUID]) -> Response[bytes]:
        """End one for good."""
        await change(lambda transaction: services.admin_keys.revoke(transaction, key_id))
        return reloaded()


class GrantPages(Controller):
    """Roles of people whom the issuer names."""

    path = "/grants"
    guards = _OWNERS

    @get()
    async def show_grants(
        self, pages: Renderer, visitor: Visitor, services: Services, cursor: Cursor = None
    ) -> Response[bytes]:
        """List them, newest first."""
        page = await services.grants.page(visitor, limit=_PAGE, cursor=cursor)
        return pages.page("grants.html", page=page, organizations=await _organizations(services, visitor))

    @post(status_code=200)
    async def create_grant(self, request: AnyRequest, services: Services, change: Changer) -> Response[bytes]:
        """Give a role."""
        form = await read_form(request)
        # A field called `matches` would hide the form's own method of that name from whatever reads the page.
        fields = given(form, "value", "role", "organization_id") | {"matches": form.get("whose", "subject")}
        spec = read_as(CreateGrant, fields)
        await change(lambda transaction: services.grants.create(transaction, spec))
        return reloaded()

    @post("/{grant_id:uuid}", status_code=200)
    async def change_grant(
        self, request: AnyRequest, services: Services, change: Changer, grant_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Change the role."""
        patch = read_as(PatchGrant, given(await read_form(request), "role"))
        await change(lambda transaction: services.grants.patch(transaction, grant_id, patch))
        return reloaded()

    @post("/{grant_id:uuid}/delete", status_code=200)
    async def delete_grant(self, services: Services, change: Changer, grant_id: FromPath[UUID]) -> Response[bytes]:
        """Take the role away."""
        await change(lambda transaction: services.grants.delete(transaction, grant_id))
        return reloaded()


class SessionPages(Controller):
    """Browsers that are signed in."""

    path = "/sessions"
    guards = (requires_role(Role.OWNER),)

    @get()
    async def show_sessions(
        self, *, request: AnyRequest, pages: Renderer, visitor: Visitor, services: Services, cursor: Cursor = None
    ) -> Response[bytes]:
        """List those that have not ended, newest first."""
        page = await services.sessions.page(visitor, limit=_PAGE, cursor=cursor)
        own = session_of(request)
        return pages.page("sessions.html", page=page, own_id=None if own is None else own.session.id)

    @post("/{session_id:uuid}/end", status_code=200)
    async def end_session(self, services: Services, change: Changer, session_id: FromPath[UUID]) -> Response[bytes]:
        """End somebody's session, from the next request on."""
        await change(lambda transaction: services.sessions.revoke(transaction, session_id))
        return reloaded()


async def _organizations(services: AdminServices, visitor: Principal) -> list[Organization]:
    """Return those that a role may be on."""
    return list((await services.organizations.page(visitor, limit=_CHOICES, cursor=None)).items)
