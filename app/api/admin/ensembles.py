"""`/ensembles`."""

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from app.api.admin.bodies import JsonBody
from app.api.admin.pages import EnsemblePage
from app.api.admin.parameters import Caller, Cursor, Limit, Services, Writer
from app.api.admin.problems import ETAG, PROBLEMS, WRITE_PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.ensembles.schemas import CreateEnsemble, Ensemble, PatchEnsemble
from app.guards.admin import requires_role


class EnsembleController(Controller):
    """Models that answer together: everybody may see them, roles on the installation change them."""

    path = "/ensembles"
    tags = ("Ensembles",)
    return_dto = None

    @get(guards=[requires_role(Role.VIEWER)], summary="List ensembles", responses=PROBLEMS)
    async def list_ensembles(
        self, services: Services, principal: Caller, limit: Limit = 50, cursor: Cursor = None
    ) -> Response[EnsemblePage]:
        """Newest first, then those of the file, by name."""
        return read_response(await services.ensembles.page(principal, limit=limit, cursor=cursor))

    @post(
        dto=JsonBody[CreateEnsemble],
        guards=[requires_role(Role.ADMIN)],
        summary="Create an ensemble",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def create_ensemble(
        self, services: Services, write: Writer, data: JSONBody[CreateEnsemble]
    ) -> Response[Ensemble]:
        """Needs a role on the installation. Keys that may use its name may ask its members by it, within seconds."""
        return await write(lambda transaction: services.ensembles.create(transaction, data), status=201)

    @get(
        "/{ensemble_id:uuid}",
        guards=[requires_role(Role.VIEWER)],
        summary="Read an ensemble",
        responses=PROBLEMS,
        response_headers=[ETAG],
    )
    async def read_ensemble(
        self, services: Services, principal: Caller, ensemble_id: FromPath[UUID]
    ) -> Response[Ensemble]:
        """One of the file has no ETag, for it cannot be changed here."""
        return read_response(await services.ensembles.find(principal, ensemble_id))

    @patch(
        "/{ensemble_id:uuid}",
        dto=JsonBody[PatchEnsemble],
        guards=[requires_role(Role.ADMIN)],
        summary="Change an ensemble",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def patch_ensemble(
        self, services: Services, write: Writer, ensemble_id: FromPath[UUID], data: JSONBody[PatchEnsemble]
    ) -> Response[Ensemble]:
        """Keep what is absent, remove what is null. The whole must then hold; requests under way end as they began."""
        return await write(lambda transaction: services.ensembles.patch(transaction, ensemble_id, data))

    @delete(
        "/{ensemble_id:uuid}",
        guards=[requires_role(Role.ADMIN)],
        summary="Delete an ensemble",
        responses=WRITE_PROBLEMS,
        status_code=204,
    )
    async def delete_ensemble(self, services: Services, write: Writer, ensemble_id: FromPath[UUID]) -> Response[None]:
        """Whoever asks for it is told that there is no such model. What it has used stays in the reports."""
        return await write(lambda transaction: services.ensembles.delete(transaction, ensemble_id), status=204)
