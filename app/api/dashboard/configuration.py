"""What the gateway runs on: shown with its origins, tried, taken again. Law: of the owners of the installation only."""

from typing import Any

import msgspec
from litestar import Controller, Response, get, post

from app.api.dashboard.filters import Text
from app.api.dashboard.parameters import AnyRequest, Changer, Configuration, Renderer
from app.domain.audit.principal import Role
from app.gateway.config_view import ConfigValue
from app.guards.admin import requires_installation, requires_role
from app.kernel.errors import InvalidRequest

_IS_SECRET = frozenset({"set"})


class ConfigPages(Controller):
    """Settings in force."""

    path = "/config"
    guards = (requires_role(Role.OWNER), requires_installation)

    @get()
    async def show_config(self, pages: Renderer, config_desk: Configuration, q: Text = None) -> Response[bytes]:
        """Show every setting in force, or those in whose path, value or origin `q` stands."""
        view = config_desk.view()
        rows = [(value, say_value(value.value)) for value in view.values]
        wanted = (q or "").strip().casefold()
        found = [(value, said) for value, said in rows if wanted in _sought(value, said)]
        return pages.page("config.html", rows=found, count=len(rows), warnings=view.warnings, q=q or "")

    @post("/validate", status_code=200)
    async def validate_config(
        self, request: AnyRequest, pages: Renderer, config_desk: Configuration
    ) -> Response[bytes]:
        """Show all that is wrong with a document, and what it would change; nothing does."""
        # As it was written: blanks before its first line may mean something, and lines are counted.
        document = (await request.form()).get("document")
        if not isinstance(document, str) or not document.strip():
            raise InvalidRequest("write settings, or paste a file", param="document")
        check = await config_desk.check(document.encode())
        return pages.page("config_checked.html", check=check, say=say_value)

    @post("/reload", status_code=200)
    async def reload_config(self, pages: Renderer, config_desk: Configuration, change: Changer) -> Response[bytes]:
        """Have every process take the settings on disk, and show how it went in each."""
        return pages.page("config_reloaded.html", reload=await change.after(config_desk.reload), say=say_value)


def say_value(value: Any) -> str:
    """Return a setting as the file has it; of a secret whether it is set."""
    if isinstance(value, dict) and value.keys() == _IS_SECRET:
        return "secret, set" if value["set"] else "secret, not set"
    return "none" if value is None else msgspec.json.encode(value).decode()


def _sought(value: ConfigValue, said: str) -> str:
    return f"{value.path}\n{said}\n{value.origin}".casefold()
