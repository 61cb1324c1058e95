"""Shapes that their `type` tells apart, as JSON Schemas by name."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_type_hints

from app.api.docs.schemas import (
    anthropic_blocks,
    anthropic_events,
    images,
    llm,
    response_events,
    response_items,
    speech,
    transcripts,
)
from app.api.docs.schemas.references import by_type, reference

_Shapes = Mapping[str, type] | Sequence[type]
_OF_VENDOR = "One that the gateway does not write: a provider of the same dialect may."


def unions() -> dict[str, Any]:
    """Return the schemas of all unions."""
    return {"LlmEvent": _own_event()} | {
        name: by_type(name, about, _names(shapes), other=_OF_VENDOR) for name, about, shapes in _OPEN
    }


_OPEN: tuple[tuple[str, str, _Shapes], ...] = (
    ("ResponseOutputItem", "One thing that the model wrote.", response_items.OUTPUT_ITEMS),
    ("ResponseOutputContent", "A part of what the model wrote.", response_items.OUTPUT_CONTENT),
    ("ResponseEvent", "The data of one event of a streamed response.", response_events.SHAPES),
    ("AnthropicContentBlock", "One thing that the model wrote.", anthropic_blocks.ANSWER_BLOCKS),
    ("AnthropicDelta", "What a block grows by.", anthropic_events.DELTAS),
    ("AnthropicEvent", "The data of one event of a streamed message.", anthropic_events.EVENTS),
    ("ImageEvent", "The data of one event of a streamed picture.", images.EVENTS),
    ("SpeechEvent", "The data of one event of streamed speech.", speech.EVENTS),
    ("TranscriptEvent", "The data of one event of a streamed transcript.", transcripts.EVENTS),
)


def _names(shapes: _Shapes) -> dict[str, str]:
    """Return the shapes' names by the types that they say they are of."""
    if isinstance(shapes, Mapping):
        return {kind: shape.__name__ for kind, shape in shapes.items()}
    return {kind: shape.__name__ for shape in shapes for kind in get_args(get_type_hints(shape)["type"])}


def _own_event() -> dict[str, Any]:
    """Return the schema of an event of the gateway's own dialect, which has no others than these."""
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
