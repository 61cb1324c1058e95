"""`/providers`. Law: of the installation as a whole, so only for those who have a role on it; secrets come in only."""

from typing import Annotated, Literal, Protocol, runtime_checkable
from uuid import UUID

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from msgspec import Meta

from app.api.admin.pages import ProviderPage
from app.api.admin.parameters import Caller, Cursor, Limit, Services, Writer
from app.api.admin.problems import ETAG, PROBLEMS, WRITE_PROBLEMS
from app.api.admin.upstream_bodies import CreateProviderBody, Fields, PatchProviderBody
from app.api.admin.writing import read_response
from app.api.errors import status_of
from app.domain.audit.principal import Principal, Role
from app.domain.upstream.schemas import Provider
from app.gateway.trial import Tried
from app.guards.admin import requires_installation, requires_role
from app.guards.sessions import requires_recent_sign_in


@runtime_checkable
class TryProvider(Protocol):
    """Makes one call to a provider."""

    async def __call__(self, principal: Principal, provider_id: UUID) -> Tried:
        """Return what came of it."""
        ...


class TestError(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller of the inference API would have been told."""

    status: int
    code: str
    message: str
    upstream_status: Annotated[int | None, Meta(description="The provider's own status, if it answered.")]


class ProviderTest(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one real call to a provider."""

    ok: bool
    call: Annotated[Literal["models", "chat"], Meta(description="Its models were listed, or one token was asked for.")]
    duration_ms: float
    models: Annotated[int | None, Meta(description="How many models it lists.")]
    model: Annotated[str | None, Meta(description="The model that was asked.")]
    error: TestError | None


class ProviderController(Controller):
    """Accounts at vendors: those of the file, and those made here."""

    path = "/providers"
    tags = ("Providers",)
    return_dto = None

    @get(guards=[requires_role(Role.VIEWER), requires_installation], summary="List providers", responses=PROBLEMS)
    async def list_providers(
        self, services: Services, principal: Caller, limit: Limit = 50, cursor: Cursor = None
    ) -> Response[ProviderPage]:
        """Newest first, then those of the file, by name."""
        return read_response(await services.providers.page(principal, limit=limit, cursor=cursor))

    @post(
        dto=CreateProviderBody,
        guards=[requires_role(Role.ADMIN), requires_installation, requires_recent_sign_in],
        summary="Create a provider",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def create_provider(self, services: Services, write: Writer, data: JSONBody[Fields]) -> Response[Provider]:
        """Take a name and what the file would say of it; every worker serves it within seconds.

        Credentials are sealed for this provider and this address, and never shown again.
        """
        return await write(lambda transaction: services.providers.create(transaction, data.values), status=201)

    @get(
        "/{provider_id:uuid}",
        guards=[requires_role(Role.VIEWER), requires_installation],
        summary="Read a provider",
        responses=PROBLEMS,
        response_headers=[ETAG],
    )
    async def read_provider(
        self, services: Services, principal: Caller, provider_id: FromPath[UUID]
    ) -> Response[Provider]:
        """One of the file has no ETag, for it cannot be changed here."""
        return read_response(await services.providers.find(principal, provider_id))

    @patch(
        "/{provider_id:uuid}",
        dto=PatchProviderBody,
        guards=[requires_role(Role.ADMIN), requires_installation, requires_recent_sign_in],
        summary="Change a provider",
        responses=WRITE_PROBLEMS,
        response_headers=[ETAG],
    )
    async def patch_provider(
        self, services: Services, write: Writer, provider_id: FromPath[UUID], data: JSONBody[Fields]
    ) -> Response[Provider]:
        """Keep what is absent, remove what is null. Another `base_url` needs the credential anew."""
        return await write(lambda transaction: services.providers.patch(transaction, provider_id, data.values))

    @delete(
        "/{provider_id:uuid}",
        guards=[requires_role(Role.ADMIN), requires_installation, requires_recent_sign_in],
        summary="Delete a provider",
        responses=WRITE_PROBLEMS,
        status_code=204,
    )
    async def delete_provider(self, services: Services, write: Writer, provider_id: FromPath[UUID]) -> Response[None]:
        """Remove it and its credentials; refused while a model has a target there."""
        return await write(lambda transaction: services.providers.delete(transaction, provider_id), status=204)

    @post(
        "/{provider_id:uuid}/test",
        guards=[requires_role(Role.ADMIN), requires_installation],
        summary="Test a provider",
        responses=WRITE_PROBLEMS,
        status_code=200,
    )
    async def test_provider(
        self, principal: Caller, try_provider: NamedDependency[TryProvider], provider_id: FromPath[UUID]
    ) -> Response[ProviderTest]:
        """Make one real call, of at most ten seconds: its models are listed, or else one token is asked for.

        The answer is 200 whether or not the call went well.
        """
        return read_response(_tested(await try_provider(principal, provider_id)))


def _tested(tried: Tried) -> ProviderTest:
    error = tried.error
    return ProviderTest(
        ok=error is None,
        call=tried.call,
        duration_ms=tried.duration_ms,
        models=tried.models,
        model=tried.model,
        error=None
        if error is None
        else TestError(
            status=status_of(error), code=error.code, message=error.message, upstream_status=tried.upstream_status
        ),
    )
