"""Public model names, what serves them, and what they cost."""

from typing import Any
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.params import FromPath

from app.api.admin.parameters import Cursor
from app.api.dashboard.changes import gone_to, read_form, reloaded
from app.api.dashboard.parameters import AnyRequest, Changer, PriceNow, Renderer, Services, TellPrice, Visitor
from app.api.dashboard.spec_form import OF_ALL, changed, read_named_spec, read_spec, settings_of, written
from app.domain.prices import Price
from app.domain.upstream.schemas import Described
from app.domain.upstream.views import described_model
from app.guards.admin import requires_installation
from app.settings.model import ModelSettings

_PAGE = 50
_NOBODY = UUID(int=0)
_EXAMPLE = {"targets": [{"provider": "openai", "model": "gpt-4o-mini"}]}


class ModelPages(Controller):
    """Models of the installation."""

    path = "/models"
    guards = (requires_installation,)

    @get()
    async def show_models(
        self, *, pages: Renderer, visitor: Visitor, services: Services, price_now: PriceNow, cursor: Cursor = None
    ) -> Response[bytes]:
        """List all with their targets and prices."""
        page = await services.models.page(visitor, limit=_PAGE, cursor=cursor)
        models = [(model, _priced(model, price_now)) for model in page.items]
        return pages.page("models.html", page=page, models=models, spec=written(_EXAMPLE))

    @post(status_code=200)
    async def create_model(self, request: AnyRequest, services: Services, change: Changer) -> Response[bytes]:
        """Make one, and go to it."""
        fields = read_named_spec(await read_form(request))
        made = await change(lambda transaction: services.models.create(transaction, fields))
        return gone_to(f"/models/{made['id']}")

    @get("/{model_id:uuid}")
    async def show_model(
        self, *, pages: Renderer, visitor: Visitor, services: Services, price_now: PriceNow, model_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Show one with its settings."""
        model = await services.models.find(visitor, model_id)
        spec = written(_settings_of(model))
        return pages.page("model.html", model=model, targets=_priced(model, price_now), spec=spec)

    @post("/{model_id:uuid}", status_code=200)
    async def change_model(
        self, *, request: AnyRequest, visitor: Visitor, services: Services, change: Changer, model_id: FromPath[UUID]
    ) -> Response[bytes]:
        """Change what was changed in the form's text; what was taken out goes back to its default."""
        form = await read_form(request)
        before = _settings_of(await services.models.find(visitor, model_id))
        fields = changed(before, read_spec(form), defaults={})
        await change(lambda transaction: services.models.patch(transaction, model_id, fields))
        return reloaded()

    @post("/{model_id:uuid}/delete", status_code=200)
    async def delete_model(self, services: Services, change: Changer, model_id: FromPath[UUID]) -> Response[bytes]:
        """Remove one."""
        await change(lambda transaction: services.models.delete(transaction, model_id))
        return gone_to("/models")


def _settings_of(model: Described) -> dict[str, Any]:
    usual = described_model("", ModelSettings(targets=()), object_id=_NOBODY)
    return settings_of(model, usual, hidden=OF_ALL)


def _priced(model: Described, price_now: TellPrice) -> list[tuple[dict[str, Any], Price | None]]:
    """Return the targets of a model, each with what it costs."""
    name = model["name"]
    return [
        (target, price_now(name, provider=target["provider"], upstream=target["model"])) for target in model["targets"]
    ]
