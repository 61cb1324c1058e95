"""All shapes of the inference API as JSON Schemas, by name."""

from typing import Any

import msgspec

from app.api.docs.schemas import chat, embeddings, gateway, llm, messages, models
from app.api.docs.schemas.references import TEMPLATE

_MODELS = (
    *chat.MODELS,
    *messages.MODELS,
    *embeddings.MODELS,
    *models.MODELS,
    *llm.MODELS,
    gateway.Error,
    gateway.Health,
    gateway.Readiness,
)


def reference(name: str) -> dict[str, Any]:
    """Return what stands where the shape `name` is meant."""
    return {"$ref": TEMPLATE.format(name=name)}


def schemas() -> dict[str, Any]:
    """Return the schemas of all shapes."""
    _, found = msgspec.json.schema_components(_MODELS, ref_template=TEMPLATE)
    return {**{name: _without_null_defaults(schema) for name, schema in sorted(found.items())}, "LlmEvent": _event()}


def _event() -> dict[str, Any]:
    """Return the schema of an event of the gateway's own dialect: its `type` says which."""
    references = {kind: reference(shape.__name__) for kind, shape in llm.EVENTS.items()}
    return {
        "title": "LlmEvent",
        "description": "The data of one event of a streamed answer; the last event is `[DONE]`.",
        "oneOf": list(references.values()),
        "discriminator": {
            "propertyName": "type",
            "mapping": {kind: found["$ref"] for kind, found in references.items()},
        },
    }


def _without_null_defaults(schema: Any) -> Any:
    """Return a schema less each `default: null`: that a field may be left out says it already."""
    if isinstance(schema, dict):
        kept = {name: value for name, value in schema.items() if name != "default" or value is not None}
        return {name: _without_null_defaults(value) for name, value in kept.items()}
    return [_without_null_defaults(item) for item in schema] if isinstance(schema, list) else schema
