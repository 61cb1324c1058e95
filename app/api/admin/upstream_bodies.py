"""Bodies that are settings. Law: the reader of the file judges what is in them; here they are objects, described."""

from typing import Any, ClassVar

import msgspec
from litestar._openapi.schema_generation import SchemaCreator
from litestar.openapi.spec import Reference, Schema
from litestar.typing import FieldDefinition

from app.api.admin.bodies import JsonBody
from app.api.admin.problems import invalid_body
from app.domain.upstream.schemas import CreateModel, CreateProvider, PatchModel, PatchProvider
from app.kernel.errors import InvalidRequest


class Fields(msgspec.Struct, frozen=True):
    """A JSON object as it was sent."""

    values: dict[str, Any]


class FieldsBody(JsonBody[Fields]):
    """Reads any JSON object; its description says what the file's reader takes."""

    describes: ClassVar[type[msgspec.Struct]]

    def decode_bytes(self, value: bytes) -> Any:
        """Return the object; raises `InvalidRequest`."""
        try:
            return Fields(msgspec.json.decode(value, type=dict[str, Any]))
        except msgspec.ValidationError as error:
            raise invalid_body(error) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InvalidRequest("the body is not valid JSON", code="invalid_json") from None

    @classmethod
    def described(cls) -> type[msgspec.Struct]:
        """Return what the reader takes."""
        return cls.describes

    @classmethod
    def create_openapi_schema(
        cls,
        field_definition: FieldDefinition,
        handler_id: str,
        schema_creator: SchemaCreator,
    ) -> Reference | Schema:
        """Describe what the reader takes."""
        del field_definition, handler_id
        return schema_creator.for_field_definition(FieldDefinition.from_annotation(cls.describes))


class CreateProviderBody(FieldsBody):
    """The body that makes a provider."""

    describes = CreateProvider


class PatchProviderBody(FieldsBody):
    """The body that changes a provider."""

    describes = PatchProvider


class CreateModelBody(FieldsBody):
    """The body that makes a model."""

    describes = CreateModel


class PatchModelBody(FieldsBody):
    """The body that changes a model."""

    describes = PatchModel
