"""`/config`. Law: what the whole installation runs on, so only for its owners."""

from dataclasses import dataclass
from typing import Any

from litestar import Controller, Request, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import OpenAPIMediaType, Operation, RequestBody, Schema

from app.api.admin.parameters import Writer
from app.api.admin.problems import PROBLEMS, WRITE_PROBLEMS
from app.api.admin.writing import read_response
from app.domain.audit.principal import Role
from app.gateway.config_desk import ConfigDesk
from app.gateway.config_view import ConfigCheck, ConfigReload, ConfigView
from app.guards.admin import requires_installation, requires_role
from app.kernel.errors import InvalidRequest, UnsupportedMediaType

Desk = NamedDependency[ConfigDesk]

_JSON, _YAML = "application/json", "application/yaml"
_MEDIA_TYPES = frozenset({_JSON, _YAML, "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain"})
_ANYTHING = "The settings. What is none is a finding, and no reason to refuse the request."
_DOCUMENT = RequestBody(
    description="A `gateway.yaml`, as YAML or as JSON.",
    required=True,
    content={
        _YAML: OpenAPIMediaType(schema=Schema(description=_ANYTHING)),
        _JSON: OpenAPIMediaType(schema=Schema(description=_ANYTHING)),
    },
)


@dataclass
class _WithDocument(Operation):
    """An operation whose body is read as bytes, so that Litestar does not know of it."""

    def __post_init__(self) -> None:
        self.request_body = _DOCUMENT


class ConfigController(Controller):
    """The effective settings: shown, tried, taken again."""

    path = "/config"
    tags = ("Configuration",)
    return_dto = None
    guards = (requires_role(Role.OWNER), requires_installation)

    @get(summary="Read the settings", responses=PROBLEMS, sync_to_thread=False)
    def read_config(self, config_desk: Desk) -> Response[ConfigView]:
        """Every setting in force with its origin: a line of the file, a variable of the environment, or the default.

        Of secrets only whether they are set is shown.
        """
        return read_response(config_desk.view())

    @post(
        "/validate",
        summary="Try settings",
        responses=WRITE_PROBLEMS,
        status_code=200,
        operation_class=_WithDocument,
    )
    async def validate_config(self, config_desk: Desk, request: Request[Any, Any, Any]) -> Response[ConfigCheck]:
        """Every fault at once with its path, line and a suggestion, and what would change; nothing does.

        The document is read as if the file held it, under this environment: what a variable sets stays as it is.
        """
        media_type = request.headers.get("content-type", _YAML).partition(";")[0].strip().lower()
        if media_type not in _MEDIA_TYPES:
            raise UnsupportedMediaType("the settings are application/yaml or application/json")
        document = await request.body()
        if not document.strip():
            raise InvalidRequest("the body is empty; it must be a document of settings", code="empty_document")
        return read_response(await config_desk.check(document))

    @post("/reload", summary="Take the settings again", responses=WRITE_PROBLEMS, status_code=200)
    async def reload_config(self, config_desk: Desk, write: Writer) -> Response[ConfigReload]:
        """Have every process of the installation read its file again and serve by it from the next request on.

        If a fault is an error, nothing changes and `errors` of the 409 names each. What needs a restart keeps its
        value. The answer comes when every process has said how it went, also those of other gateways on the same
        Redis, which read files of their own.
        """
        return await write.after(config_desk.reload)
