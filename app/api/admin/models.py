"""`/models`. Law: of the installation as a whole, so only for those who have a role on it."""

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from app.api.admin.pages import ModelPage
from app.api.admin.parameters import Caller, Cursor, Limit, Services, Writer
from app.api.admin.problems import ETAG, PROBLEMS, WRITE_PROBLEMS
from app.api.admin.upstream_bodies import CreateModelBody, Fields, PatchModelBody
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.upstream.schemas import Model
from app.guards.admin import requires_installation, requires_role


class ModelController(Controller):
    """Public model names: those of the file, and those made here."""

    path = "/models"
    tags = ("Models",)
    return_dto = None

    @get(guards=[requires_role(Role.VIEWER), requires_installation], summary="List models", responses=PROBLEMS)
    async def list_models(
        self, services: Services, principal: Caller, limit: Limit = 50, cursor: Cursor = None
    ) -> Response[ModelPage]:
        """Newest first, then those of the file, by name. Models that only the catalogue names are not listed."""
        return read_response(await services.models.page(principal, limit=limit, cursor=cursor))

    @post(
        dto=CreateModelBody,
        guards=[requires_role(Role.ADMIN), requires_installation],
        summary="Create a model",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def create_model(self, services: Services, write: Writer, data: JSONBody[Fields]) -> Response[Model]:
        """Take a name and what the file would say of it; every worker serves it within seconds."""
        return await write(lambda transaction: services.models.create(transaction, data.values), status=201)

    @get(
        "/{model_id:uuid}",
        guards=[requires_role(Role.VIEWER), requires_installation],
        summary="Read a model",
        responses=PROBLEMS,
        response_headers=[ETAG],
    )
    async def read_model(self, services: Services, principal: Caller, model_id: FromPath[UUID]) -> Response[Model]:
        """One of the file has no ETag, for it cannot be changed here."""
        return read_response(await services.models.find(principal, model_id))

    @patch(
        "/{model_id:uuid}",
        dto=PatchModelBody,
        guards=[requires_role(Role.ADMIN), requires_installation],
        summary="Change a model",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def patch_model(
        self, services: Services, write: Writer, model_id: FromPath[UUID], data: JSONBody[Fields]
    ) -> Response[Model]:
        """Keep what is absent; null takes a field back to its default. Each field is replaced as a whole."""
        return await write(lambda transaction: services.models.patch(transaction, model_id, data.values))

    @delete(
        "/{model_id:uuid}",
        guards=[requires_role(Role.ADMIN), requires_installation],
        summary="Delete a model",
        responses=WRITE_PROBLEMS,
        status_code=204,
    )
    async def delete_model(self, services: Services, write: Writer, model_id: FromPath[UUID]) -> Response[None]:
        """Remove it; refused while another model falls back to it."""
        return await write(lambda transaction: services.models.delete(transaction, model_id), status=204)
