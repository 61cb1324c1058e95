"""A page that asks the gateway as any client would. Law: the key stays in the page; only the gateway is told it."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from litestar import Controller, Response, get, post

from app.api.dashboard.changes import read_as
from app.api.dashboard.parameters import Changer, InForce, Now, Renderer, Served, Services, Visitor
from app.domain.audit.principal import Principal
from app.domain.keys.schemas import CreateKey
from app.domain.services import AdminServices
from app.settings.model import Settings

_CHOICES = 200
_SHORT_LIFE = timedelta(hours=1)
_NAME_MAX = 100


class PlaygroundPages(Controller):
    """Tries models."""

    path = "/playground"

    @get()
    async def show_playground(
        self, *, pages: Renderer, visitor: Visitor, services: Services, settings: InForce, served: Served
    ) -> Response[bytes]:
        """Show the form; its script calls the gateway, and may call nobody else."""
        gateway_url = settings().admin.gateway_url.rstrip("/")
        choices = await _choices(visitor, services, settings=settings(), served=served)
        return pages.page("playground.html", reaches=gateway_url, gateway_url=gateway_url, choices=choices)

    @post("/key", status_code=200)
    async def make_short_key(
        self, *, pages: Renderer, visitor: Visitor, services: Services, now: Now, change: Changer, settings: InForce
    ) -> Response[bytes]:
        """Make a key that ends within the hour, and put it into the form."""
        name = f"playground of {visitor.name}"[:_NAME_MAX]
        spec = read_as(CreateKey, {"name": name, "expires_at": now + _SHORT_LIFE})
        made = await change(lambda transaction: services.keys.create(transaction, spec))
        gateway_url = settings().admin.gateway_url.rstrip("/")
        return pages.page("playground_key.html", made=made, secret=made.secret, gateway_url=gateway_url)


async def _choices(
    visitor: Principal, services: AdminServices, *, settings: Settings, served: Callable[[], Settings]
) -> dict[str, list[str]]:
    """Return the names that can be asked for, by where they come from."""
    ensembles = (await services.ensembles.page(visitor, limit=_CHOICES, cursor=None)).items
    names = served_to(visitor.organization_id, served())
    found = {
        "Models of the file": [name for name in names if name in settings.models],
        "Models made here": [name for name in names if name not in settings.models],
        "Ensembles": [each.name for each in ensembles],
    }
    return {label: names for label, names in found.items() if names} or {"Built in": ["echo"]}


def served_to(organization_id: UUID | None, served: Settings) -> list[str]:
    """Return the models that an organization may use: none whose providers are all dedicated to others."""
    kept_apart = {
        name
        for name, provider in served.providers.items()
        if organization_id is not None
        and (provider.dedicated_to or str(organization_id)).lower() != str(organization_id)
    }
    return [
        name
        for name, model in served.models.items()
        if not model.targets or any(target.provider not in kept_apart for target in model.targets)
    ]
