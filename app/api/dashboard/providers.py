"""Providers and their models, as they are at this moment."""

from litestar import Controller, Response, get

from app.api.dashboard.parameters import Examiner, InForce, Renderer
from app.guards.admin import requires_installation


class ProviderPages(Controller):
    """Health and breakers of all providers."""

    path = "/providers"
    guards = (requires_installation,)

    @get()
    async def show_providers(self, pages: Renderer, settings: InForce) -> Response[bytes]:
        """Show the models with their targets, and a panel of health that loads itself again and again."""
        return pages.page("providers.html", models=settings().models)

    @get("/health")
    async def show_health(self, pages: Renderer, examine: Examiner) -> Response[bytes]:
        """Show how all providers, stores and the ledger are now."""
        return pages.page("panel_health.html", health=await examine())
