"""The JSON schema of `gateway.yaml`, for editors; `python -m app.settings` prints it."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from app.settings.effective import written
from app.settings.model import ProviderSettings, Settings
from app.settings.reading import bare, file_fields, struct_info
from providers.types import Secret

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_REFERENCE = {"type": "string", "pattern": "^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$"}
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def json_schema(options: Iterable[type[msgspec.Struct]] = ()) -> dict[str, Any]:
    """Return the schema of the file.

    `options` are the adapters' options structs: with any, a provider may have their fields only; without, any field,
    as the schema cannot know them.
    """
    writer = _Writer()
    writer.reference(struct_info(Settings))
    provider = writer.definitions[ProviderSettings.__name__]
    structs = [*options]
    for struct in structs:
        provider["properties"] = {**writer.properties(struct_info(struct)), **provider["properties"]}
    provider["additionalProperties"] = not structs
    root = writer.definitions.pop(Settings.__name__)
    return {"$schema": DIALECT, **root, "title": "gateway.yaml", "$defs": dict(sorted(writer.definitions.items()))}


class _Writer:
    """Turns types into schemas; each struct becomes one definition."""

    def __init__(self) -> None:
        self.definitions: dict[str, dict[str, Any]] = {}

    def reference(self, info: inspect.StructType) -> dict[str, Any]:
        """Return a reference to the struct's definition, which is made on the first call."""
        name = info.cls.__name__
        if name not in self.definitions:
            self.definitions[name] = {}
            self.definitions[name] = {
                "type": "object",
                "description": " ".join((info.cls.__doc__ or "").split()),
                "properties": self.properties(info),
                "required": [key for key, field in file_fields(info).items() if field.required],
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{name}"}

    def properties(self, info: inspect.StructType) -> dict[str, Any]:
        """Return the schema of each field that is a key of the file."""
        return {key: self._field(field) for key, field in file_fields(info).items()}

    def _field(self, field: inspect.Field) -> dict[str, Any]:
        schema = self.schema(field.type)
        if field.default is not msgspec.NODEFAULT:
            schema["default"] = written(field.default, field.type)
        elif field.default_factory is not msgspec.NODEFAULT:
            schema["default"] = written(field.default_factory(), field.type)
        return schema

    def schema(self, info: inspect.Type) -> dict[str, Any]:
        """Return the schema of a type."""
        if isinstance(info, inspect.Metadata):
            return self._form(info)
        if isinstance(info, inspect.StructType):
            return self.reference(info)
        if isinstance(info, inspect.DictType):
            return {"type": "object", "additionalProperties": self.schema(info.value_type)}
        if isinstance(info, (inspect.VarTupleType, inspect.ListType, inspect.FrozenSetType)):
            least = {} if info.min_length is None else {"minItems": info.min_length}
            return {"type": "array", "items": self.schema(info.item_type), **least}
        if isinstance(info, inspect.UnionType):
            return {"anyOf": [self.schema(member) for member in info.types]}
        return _scalar(info)

    def _form(self, info: inspect.Metadata) -> dict[str, Any]:
        """Return the schema of an annotated type, with the other ways in which it may be written."""
        extra = info.extra or {}
        schema = {} if extra.get("kind") in {"usd", "quantity", "header"} else self.schema(info.type)
        others = self._others(extra, info)
        if others:
            schema = {"anyOf": [*schema.get("anyOf", [schema]), *others]}
        return {**schema, **(info.extra_json_schema or {})}

    def _others(self, extra: Mapping[str, Any], info: inspect.Metadata) -> list[dict[str, Any]]:
        if extra.get("off"):
            return [{"const": False}]
        if "word" in extra:
            return [{"const": extra["word"]}]
        struct = bare(info.type)
        if "list_as" in extra and isinstance(struct, inspect.StructType):
            return [self.schema(bare(file_fields(struct)[extra["list_as"]].type))]
        return []


def _scalar(info: inspect.Type) -> dict[str, Any]:
    if isinstance(info, inspect.LiteralType):
        return {"enum": list(info.values)}
    if isinstance(info, inspect.EnumType):
        return {"enum": [member.value for member in info.cls]}
    if isinstance(info, inspect.CustomType):
        return dict(_REFERENCE) if info.cls is Secret else {"type": "string"}
    if isinstance(info, (inspect.IntType, inspect.FloatType)):
        kind = "integer" if isinstance(info, inspect.IntType) else "number"
        bounds = {name: getattr(info, field) for field, name in _BOUNDS.items() if getattr(info, field) is not None}
        return {"type": kind, **bounds}
    return _plain_scalar(info)


def _plain_scalar(info: inspect.Type) -> dict[str, Any]:
    if isinstance(info, inspect.StrType):
        return {"type": "string"} if info.min_length is None else {"type": "string", "minLength": info.min_length}
    if isinstance(info, inspect.BoolType):
        return {"type": "boolean"}
    if isinstance(info, inspect.NoneType):
        return {"type": "null"}
    return {}


def text() -> str:
    """Return the schema as the file that ships with the gateway: JSON, indented, with a line end."""
    return msgspec.json.format(msgspec.json.encode(json_schema()), indent=2).decode() + "\n"
