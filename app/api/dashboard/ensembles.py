"""Models that answer together."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Controller, Response, get, post
from litestar.params import FromPath

from app.api.admin.parameters import Cursor
from app.api.dashboard.changes import gone_to, read_as, read_form, reloaded
from app.api.dashboard.parameters import AnyRequest, Changer, Renderer, Services, Visitor
from app.api.dashboard.spec_form import OF_ALL, changed, read_named_spec, read_spec, settings_of, written
from app.domain.ensembles.schemas import CreateEnsemble, Ensemble, PatchEnsemble

_PAGE = 50
_EXAMPLE = {"strategy": "race", "members": ["gpt-4o-mini", "claude-haiku"]}


class EnsemblePages(Controller):
    """Ensembles: everybody may see them, roles on the installation change them."""

    path = "/ensembles"

    @get()
    async def show_ensembles(
        self, pages: Renderer, visitor: Visitor, services: Services, cursor: Cursor = None
    ) -> Response[bytes]:
        """List all."""
        page = await services.ensembles.page(visitor, limit=_PAGE, cursor=cursor)
        return pages.page("ensembles.html", page=page, spec=written(_EXAMPLE))

    @post(status_code=200)
    async def create_ensemble(self, request: AnyRequest, services: Services, change: Changer) -> Response[bytes]:
        """Make one, and go to it."""
        spec = read_as(CreateEnsemble, read_named_spec(await read_form(request)))
        made = await change(lambda transaction: services.ensembles.create(transaction, spec))
        return gone_to(f"/ensembles/{made.id}")

    @get("/{ensemble_id:uuid}")
    async def show_ensemble(
        self, pages: Renderer, visitor: Visitor, services: Services, ensemble_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Show one with its settings."""
        ensemble = await services.ensembles.find(visitor, ensemble_id)
        return pages.page("ensemble.html", ensemble=ensemble, spec=written(_settings_of(ensemble)))

    @post("/{ensemble_id:uuid}", status_code=200)
    async def change_ensemble(
        self, *, request: AnyRequest, visitor: Visitor, services: Services, change: Changer,
        ensemble_id: FromPath[UUID],
    ) -> Response[bytes]:  # fmt: skip
        """Change what was changed in the form's text; what was taken out goes back to its default."""
        form = await read_form(request)
        before = _settings_of(await services.ensembles.find(visitor, ensemble_id))
        patch = read_as(PatchEnsemble, changed(before, read_spec(form), defaults=_defaults()))
        await change(lambda transaction: services.ensembles.patch(transaction, ensemble_id, patch))
        return reloaded()

    @post("/{ensemble_id:uuid}/delete", status_code=200)
    async def delete_ensemble(
        self, services: Services, change: Changer, ensemble_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Remove one."""
        await change(lambda transaction: services.ensembles.delete(transaction, ensemble_id))
        return gone_to("/ensembles")


def _settings_of(ensemble: Ensemble) -> dict[str, Any]:
    return settings_of(msgspec.structs.asdict(ensemble), _defaults(), hidden=OF_ALL)


def _defaults() -> dict[str, Any]:
    fields = msgspec.structs.fields(CreateEnsemble)
    return {field.name: field.default for field in fields if not field.required}
