"""The paths that tell what became of requests, and what would become of them."""

from app.api.docs.inference.openai import MODEL
from app.api.docs.inference.operations import Title, answer, body, parameter, shaped, titled
from app.api.docs.inference.refusals import AT_EVERY_DOOR, Object, refusals
from app.api.docs.schemas.headers import TEXT
from app.kernel import errors

_ID = parameter("id", "The request's id, as in `x-request-id`.", TEXT, place="path")
_QUESTION: Object = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
_EXAMPLE: Object = {"path": "/v1/chat/completions", "body": _QUESTION}


def explained_paths() -> Object:
    """Return the descriptions of these paths."""
    return {"/v1/llm/requests/{id}": {"get": _read()}, "/v1/llm/explain": {"post": _explain()}}


def _read() -> Object:
    title = Title(
        "Requests",
        "readRequest",
        "Tell what became of one of the key's own requests",
        "It is kept for a while after the request's end, if at all. What the request said is not in it.",
    )
    refused = refusals((*AT_EVERY_DOOR, errors.NotFound))
    return {
        **titled(title),
        "parameters": [_ID],
        "responses": {"200": answer("What became of it.", shaped(json="Explanation")), **refused},
    }


def _explain() -> Object:
    title = Title(
        "Requests",
        "explainRequest",
        "Tell what would become of a request",
        "Nobody is called, and nothing is counted. The options in the headers are those of the request explained.",
    )
    refused = refusals((*AT_EVERY_DOOR, errors.TooLarge, errors.UnsupportedMediaType))
    return {
        **titled(title),
        "requestBody": {"required": True, "content": body("ExplainRequest", {"A question": _EXAMPLE})},
        "responses": {"200": answer("What would become of it.", shaped(json="Explanation")), **refused},
    }
