"""A page that asks the gateway as any client would. Law: the key stays in the page; only the gateway is told it."""

from litestar import Controller, Response, get

from app.api.dashboard.parameters import InForce, Renderer


class PlaygroundPages(Controller):
    """Tries models."""

    path = "/playground"

    @get()
    async def show_playground(self, pages: Renderer, settings: InForce) -> Response[bytes]:
        """Show the form; its script calls the gateway, and may call nobody else."""
        now = settings()
        gateway_url = now.admin.gateway_url.rstrip("/")
        models = [*now.models, *now.ensembles] or ["echo"]
        return pages.page("playground.html", reaches=gateway_url, gateway_url=gateway_url, models=models)
