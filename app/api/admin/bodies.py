"""Request bodies. Law: decoded from bytes by us, so that no body, however broken, is a defect of ours."""

from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar._openapi.schema_generation import SchemaCreator
from litestar.dto import MsgspecDTO
from litestar.dto._backend import DTOBackend
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from app.api.admin.problems import invalid_body
from app.kernel.errors import InvalidRequest, UnsupportedMediaType

MAX_BYTES = 1 << 20
_WRITES = {"POST", "PUT", "PATCH", "DELETE"}

Body = TypeVar("Body", bound=msgspec.Struct)


class JsonBody(MsgspecDTO[Body]):
    """Reads a struct from a JSON body, whole: nothing is renamed, excluded or converted on the way."""

    def decode_bytes(self, value: bytes) -> Any:
        """Return the struct; raises `InvalidRequest` naming the field at fault."""
        return decode(value, self.model_type)

    @classmethod
    def described(cls) -> type[msgspec.Struct]:
        """Return the struct that says what the body may hold."""
        return cls.model_type

    @classmethod
    def create_for_field_definition(
        cls, field_definition: FieldDefinition, handler_id: str, backend_cls: type[DTOBackend] | None = None
    ) -> None:
        """Make no transfer model: the struct itself is read."""

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,  # noqa: ARG003 - Litestar's signature
        schema_creator: SchemaCreator,
    ) -> Reference | Schema:
        """Describe the struct itself."""
        return schema_creator.for_field_definition(field_definition)


async def refuse_missing_body(request: Request[Any, Any, Any]) -> None:
    """Before a handler that takes a body: raise `UnsupportedMediaType`, or `InvalidRequest` if there is none.

    Where the handler has a default for it none is needed, and nobody asks of which type it would be. Where it takes
    none, one with fields is an `InvalidRequest`: silence would be a wrong answer.
    """
    if request.route_handler.parsed_data_field is None:
        # A handler that is given the request reads its body by itself.
        if request.method in _WRITES and "request" not in request.route_handler.parsed_fn_signature.parameters:
            _refuse_fields(await request.body())
        return
    if may_be_left_out(request.route_handler) and not await request.body():
        return
    require_json(request.headers.get("content-type", ""))
    if not await request.body():
        raise InvalidRequest("the body is empty; it must be a JSON object", code="invalid_json")


def _refuse_fields(body: bytes) -> None:
    if not body.strip():
        return
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("this takes no body", code="invalid_json") from None
    if isinstance(document, dict) and document:
        field = next(iter(document))
        raise InvalidRequest(f"unknown field {field!r}: this takes no body", code="unknown_parameter", param=field)
    if document not in ({}, None):
        raise InvalidRequest("this takes no body", code="invalid_json")


def may_be_left_out(handler: BaseRouteHandler) -> bool:
    """Tell whether a handler does without the body that it takes."""
    field = handler.parsed_data_field
    return field is not None and field.has_default


def require_json(content_type: str) -> None:
    """Raise `UnsupportedMediaType` unless a Content-Type says JSON in UTF-8."""
    media_type, _, parameters = content_type.partition(";")
    if media_type.strip().lower() != "application/json":
        raise UnsupportedMediaType
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if charset not in {"", "utf-8", "utf8"}:
        raise UnsupportedMediaType("the request body must be UTF-8")


def decode(value: bytes, kind: type[Body]) -> Body:
    """Return the struct in a JSON text; raises `InvalidRequest`."""
    try:
        return msgspec.json.decode(value, type=kind)
    except msgspec.ValidationError as error:
        raise invalid_body(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise InvalidRequest("the body is not valid JSON", code="invalid_json") from None
