"""`/health`. Law: of the installation as a whole, so only for those who have a role on it; probes are open to all."""

from typing import Protocol, runtime_checkable

from litestar import Controller, Response, get
from litestar.di import NamedDependency

from app.api.admin.problems import PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.gateway.vitals import InstallationHealth
from app.guards.admin import requires_installation, requires_role


@runtime_checkable
class Examine(Protocol):
    """Looks at the installation."""

    async def __call__(self) -> InstallationHealth:
        """Return how all is now."""
        ...


class HealthController(Controller):
    """Providers with their breakers, stores, and how far the ledger is behind."""

    path = "/health"
    tags = ("Health",)
    return_dto = None

    @get(guards=[requires_role(Role.VIEWER), requires_installation], summary="Read the health", responses=PROBLEMS)
    async def read_health(self, examine: NamedDependency[Examine]) -> Response[InstallationHealth]:
        """Every target of the file, also those that nobody has called yet.

        It needs a role on the installation: the accounts that all organizations share are none of a single one's
        business. Where the planes are processes of their own, breakers are as the workers tell them, a second ago or
        two, and what only a process that makes calls can know is null.
        """
        return read_response(await examine())
