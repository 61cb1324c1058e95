"""`/prices`."""

from uuid import UUID

from litestar import Controller, Response, delete, get, patch, post
from litestar.params import FromPath, JSONBody

from app.api.admin.bodies import JsonBody
from app.api.admin.pages import PricePage
from app.api.admin.parameters import Caller, Cursor, Limit, Services, Writer
from app.api.admin.problems import ETAG, PROBLEMS, WRITE_PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.domain.prices.schemas import CreatePrice, ModelPrice, PatchPrice
from app.guards.admin import requires_role


class PriceController(Controller):
    """What models cost: everybody may see it, roles on the installation change it."""

    path = "/prices"
    tags = ("Prices",)
    return_dto = None

    @get(guards=[requires_role(Role.VIEWER)], summary="List prices", responses=PROBLEMS)
    async def list_prices(
        self, services: Services, principal: Caller, limit: Limit = 50, cursor: Cursor = None
    ) -> Response[PricePage]:
        """Newest first, then those of the file. Prices of the catalogue are not listed."""
        return read_response(await services.prices.page(principal, limit=limit, cursor=cursor))

    @post(
        dto=JsonBody[CreatePrice],
        guards=[requires_role(Role.ADMIN)],
        summary="Create a price",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def create_price(
        self, services: Services, write: Writer, data: JSONBody[CreatePrice]
    ) -> Response[ModelPrice]:
        """Needs a role on the installation. It replaces the catalogue's price as a whole, within seconds."""
        return await write(lambda transaction: services.prices.create(transaction, data), status=201)

    @get(
        "/{price_id:uuid}",
        guards=[requires_role(Role.VIEWER)],
        summary="Read a price",
        responses=PROBLEMS,
        response_headers=[ETAG],
    )
    async def read_price(self, services: Services, principal: Caller, price_id: FromPath[UUID]) -> Response[ModelPrice]:
        """One of the file has no ETag, for it cannot be changed here."""
        return read_response(await services.prices.find(principal, price_id))

    @patch(
        "/{price_id:uuid}",
        dto=JsonBody[PatchPrice],
        guards=[requires_role(Role.ADMIN)],
        summary="Change a price",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def patch_price(
        self, services: Services, write: Writer, price_id: FromPath[UUID], data: JSONBody[PatchPrice]
    ) -> Response[ModelPrice]:
        """Keep what is absent, remove what is null. What was charged before stays as it was charged."""
        return await write(lambda transaction: services.prices.patch(transaction, price_id, data))

    @delete(
        "/{price_id:uuid}",
        guards=[requires_role(Role.ADMIN)],
        summary="Delete a price",
        responses=WRITE_PROBLEMS,
        status_code=204,
    )
    async def delete_price(self, services: Services, write: Writer, price_id: FromPath[UUID]) -> Response[None]:
        """Let the catalogue's price hold again."""
        return await write(lambda transaction: services.prices.delete(transaction, price_id), status=204)
