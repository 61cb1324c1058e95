"""`/cache`: how it fares, how often it would have been wrong, and how it is emptied."""

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from app.api.admin.bodies import JsonBody
from app.api.admin.parameters import Caller, Writer
from app.api.admin.problems import PROBLEMS, WRITE_PROBLEMS
from app.api.admin.usage import From, To
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.gateway.cache_desk import CacheDesk
from app.gateway.cache_view import CacheView, PurgeCache, Purged
from app.guards.admin import requires_role

Desk = NamedDependency[CacheDesk]
Whose = Annotated[
    UUID | None,
    QueryParameter(description="The organization. Absent: the caller's own, or the default one."),
]


class CacheController(Controller):
    """Answers that are kept and given again."""

    path = "/cache"
    tags = ("Cache",)
    return_dto = None

    @get(guards=[requires_role(Role.VIEWER)], summary="Read the cache", responses=PROBLEMS)
    async def read_cache(
        self,
        *,
        cache_desk: Desk,
        principal: Caller,
        organization_id: Whose = None,
        from_: From = None,
        to: To = None,
    ) -> Response[CacheView]:
        """Show what an organization keeps, what that saved in a range of time, and its shadow report.

        The report has, for each hundredth of similarity, how many answers to like questions were compared with the one
        that was made instead, and how many of them agreed.
        """
        return read_response(await cache_desk.view(principal, organization_id, since=from_, until=to))

    @post(
        "/purge",
        dto=JsonBody[PurgeCache],
        guards=[requires_role(Role.ADMIN)],
        summary="Purge the cache",
        responses=WRITE_PROBLEMS,
        status_code=200,
    )
    async def purge_cache(self, cache_desk: Desk, write: Writer, data: JSONBody[PurgeCache]) -> Response[Purged]:
        """Forget the answers that match all that is named; everything only with `all`.

        From then on no worker gives them. An answer that is just being made may be kept all the same.
        """
        return await write(lambda transaction: cache_desk.purge(transaction, data))
