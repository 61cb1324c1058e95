"""All shapes of the inference API as JSON Schemas, by name."""

from typing import Any

from app.api.docs.schemas import (
    anthropic,
    anthropic_blocks,
    anthropic_events,
    chat,
    completions,
    embeddings,
    explained,
    gateway,
    gemini,
    images,
    llm,
    messages,
    models,
    moderations,
    rerank,
    response_events,
    response_items,
    responses,
    speech,
    transcripts,
)
from app.api.docs.schemas.references import schemas_of
from app.api.docs.schemas.unions import unions

_MODELS = (
    *chat.MODELS,
    *messages.MODELS,
    *completions.MODELS,
    *responses.MODELS,
    *response_items.MODELS,
    *response_events.SHAPES,
    *embeddings.MODELS,
    *moderations.MODELS,
    *rerank.MODELS,
    *images.MODELS,
    *speech.MODELS,
    *transcripts.MODELS,
    *models.MODELS,
    *anthropic.MODELS,
    *anthropic_blocks.MODELS,
    *anthropic_events.MODELS,
    *gemini.MODELS,
    *llm.MODELS,
    *explained.MODELS,
    *gateway.MODELS,
)


def schemas() -> dict[str, Any]:
    """Return the schemas of all shapes."""
    found = sorted(schemas_of(_MODELS).items())
    return {name: _without_null_defaults(schema) for name, schema in found} | unions()


def _without_null_defaults(schema: Any) -> Any:
    """Return a schema less each `default: null`: that a field may be left out says it already."""
    if isinstance(schema, dict):
        kept = {name: value for name, value in schema.items() if name != "default" or value is not None}
        return {name: _without_null_defaults(value) for name, value in kept.items()}
    return [_without_null_defaults(item) for item in schema] if isinstance(schema, list) else schema
