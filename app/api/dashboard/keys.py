"""Keys: who may call, how much, and what of it is used."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath

from app.api.admin.parameters import Cursor
from app.api.dashboard.changes import given, read_as, read_form, reloaded, whole_number
from app.api.dashboard.overview import start_values
from app.api.dashboard.parameters import AnyRequest, Changer, InForce, Renderer, Services, Visitor
from app.api.dashboard.policy_form import expiry_of, policy_of, shown_day
from app.domain.audit.principal import Principal
from app.domain.keys.schemas import ApiKey, CreateKey, PatchKey, Rotate
from app.domain.quotas.schemas import BudgetUse
from app.domain.services import AdminServices

_PAGE = 50
_CHOICES = 200


class KeyPages(Controller):
    """Keys of the inference API."""

    path = "/keys"

    @get()
    async def show_keys(
        self, pages: Renderer, visitor: Visitor, services: Services, cursor: Cursor = None
    ) -> Response[bytes]:
        """List keys, newest first, each with what is left of its budget."""
        page = await services.keys.page(visitor, limit=_PAGE, cursor=cursor)
        spent = {key.id: await _own_budget(services, visitor, key) for key in page.items if key.budget is not None}
        teams = await services.teams.page(visitor, limit=_CHOICES, cursor=None)
        return pages.page("keys.html", page=page, spent=spent, teams=teams.items)

    @post(status_code=200)
    async def create_key(
        self, *, request: AnyRequest, pages: Renderer, services: Services, change: Changer,
        settings: InForce,
    ) -> Response[bytes]:  # fmt: skip
        """Make a key; the answer shows its secret, this once."""
        form = await read_form(request)
        spec = read_as(CreateKey, given(form, "name", "team_id") | policy_of(form) | _expiry(form))
        made = await change(lambda transaction: services.keys.create(transaction, spec))
        return pages.page("secret.html", key=made, secret=made.secret, **start_values(settings))

    @get("/{key_id:uuid}")
    async def show_key(
        self, *, pages: Renderer, visitor: Visitor, services: Services, key_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Show one, with what is used of its limits and budget."""
        key = await services.keys.find(visitor, key_id)
        return pages.page(
            "key.html",
            key=key,
            expires_on=shown_day(key.expires_at),
            limits=await services.quotas.limits(visitor, "key", scope_id=key_id),
            budget=await services.quotas.budget(visitor, "key", scope_id=key_id),
        )

    @post("/{key_id:uuid}", status_code=200)
    async def change_key(
        self, *, request: AnyRequest, visitor: Visitor, services: Services, change: Changer, key_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Change what the form shows."""
        form = await read_form(request)
        key = await services.keys.find(visitor, key_id)
        fields = given(form, "name", "status") | policy_of(form, limits=key.limits, budget=key.budget)
        if form.get("expires_on", "") != shown_day(key.expires_at):
            fields |= {"expires_at": expiry_of(form)}
        patch = read_as(PatchKey, fields)
        await change(lambda transaction: services.keys.patch(transaction, key_id, patch))
        return reloaded()

    @post("/{key_id:uuid}/rotate", status_code=200)
    async def rotate_key(
        self, *, request: AnyRequest, pages: Renderer, services: Services, change: Changer,
        settings: InForce, key_id: FromPath[UUID],
    ) -> Response[bytes]:  # fmt: skip
        """Give a key a new secret, which the answer shows, this once."""
        grace_s = whole_number("grace_s", (await read_form(request)).get("grace_s", "0"))
        rotate = read_as(Rotate, {"grace_s": grace_s})
        made = await change(lambda transaction: services.keys.rotate(transaction, key_id, grace_s=rotate.grace_s))
        return pages.page("secret.html", key=made, secret=made.secret, **start_values(settings))

    @post("/{key_id:uuid}/revoke", status_code=200)
    async def revoke_key(self, services: Services, change: Changer, key_id: FromPath[UUID]) -> Response[bytes]:
        """End a key for good."""
        await change(lambda transaction: services.keys.revoke(transaction, key_id))
        return reloaded()


def _expiry(form: Mapping[str, str]) -> dict[str, Any]:
    return {"expires_at": expiry_of(form)}


async def _own_budget(services: AdminServices, visitor: Principal, key: ApiKey) -> BudgetUse | None:
    use = (await services.quotas.budget(visitor, "key", scope_id=key.id)).use
    return next((each for each in use if each.source == "api"), None)
