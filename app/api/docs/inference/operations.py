"""What the descriptions of all operations have in common."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.api.docs.inference.refusals import JSON, OF_INFERENCE, OPENAI, TRIED, Object, Speech, headers, refusals
from app.api.docs.schemas.headers import OPTIONS
from app.api.docs.schemas.references import reference

EVENTS = "text/event-stream"
FORM = "multipart/form-data"
SOUND = "audio/*"
WHOLE = "The answer."
_LIVE = frozenset({EVENTS, SOUND})
"""The media types of answers that are sent as they come."""

_SERVED = (
    *TRIED,
    *("x-gateway-cost", "x-gateway-dropped-params", "x-gateway-degraded", "idempotent-replayed"),
    *("x-gateway-cache-id", "x-gateway-cache-similarity", "age"),
    *(f"x-ratelimit-{what}-{unit}" for unit in ("requests", "tokens") for what in ("limit", "remaining", "reset")),
)
UNTIL_DONE = (
    "The answer; with `stream`, server-sent events whose data have the shape shown, then `[DONE]`. "
    "An answer that breaks ends with an event that says the error, and without `[DONE]`."
)


def until(*last: str, asked: str = "`stream`") -> str:
    """Return what is said of answers that are events when `asked` for, of which one of these types is the last."""
    types = " or ".join(f"`{kind}`" for kind in last)
    return (
        f"The answer; with {asked}, server-sent events whose data have the shape shown, the last of the type {types}. "
        "An answer that breaks ends with an event that says the error."
    )


def parameter(name: str, about: str, schema: Object, *, place: str = "header") -> Object:
    """Return the description of a parameter; only what is in the path must be there."""
    return {"name": name, "in": place, "required": place == "path", "description": about, "schema": schema}


def options_described() -> Object:
    """Return what every option of an inference request says."""
    return {name: parameter(name, about, schema) for name, (about, schema) in OPTIONS.items()}


def shaped(**shapes: str) -> Object:
    """Return a JSON body of the shape named, and, where an answer may be streamed, events of the shape `events`."""
    media = {"json": JSON, "events": EVENTS}
    return {media[kind]: {"schema": reference(name)} for kind, name in shapes.items()}


def body(name: str, examples: Mapping[str, Object]) -> Object:
    """Return a JSON body of the shape `name`, with examples by what they show."""
    shown = {about: {"value": value} for about, value in examples.items()}
    return {JSON: {"schema": reference(name), "examples": shown}}


def answer(about: str, content: Object, *, more: Sequence[str] = (), speech: Speech = OPENAI) -> Object:
    """Return the description of an answer; `more` are its headers beside the request's id."""
    return {"description": about, "headers": headers(*speech.ids, *more), "content": content}


class Title(NamedTuple):
    """What an operation is called: its tag, its id, what it does, and what else is to be known of it."""

    tag: str
    id: str
    summary: str
    about: str = ""


def titled(title: Title) -> Object:
    """Return the beginning of an operation."""
    found = {"tags": [title.tag], "operationId": title.id, "summary": title.summary}
    return found | {"description": title.about} if title.about else found


def inference(
    title: Title,
    *,
    request: Object,
    content: Object,
    says: str = WHOLE,
    speech: Speech = OPENAI,
    parameters: Sequence[Object] = (),
) -> Object:
    """Return the operation of a path that providers serve.

    `request` and `content` are the bodies of requests and answers by media type; `says` tells what the answer is.
    `parameters` come before the options that every such path has.
    """
    more = (*_SERVED, "x-accel-buffering") if _LIVE & content.keys() else _SERVED
    return {
        **titled(title),
        "parameters": [*parameters, *({"$ref": f"#/components/parameters/{option}"} for option in OPTIONS)],
        "requestBody": {"required": True, "content": request},
        "responses": {
            "200": answer(says, content, more=more, speech=speech),
            **refusals(OF_INFERENCE, speech=speech),
        },
    }
