"""The OpenAPI document of the gateway plane. Law: what it says is what the plane does, no more; tests hold it to that.

The shapes are the structs of `app.api.docs.schemas`; the errors are those of the table in `app.api.errors`.
"""

from typing import Any

import msgspec

from app.api.docs.schemas.components import reference, schemas
from app.api.docs.schemas.headers import HEADERS, OPTIONS, TEXT
from app.api.errors import TABLE
from app.kernel import errors
from app.kernel.errors import GatewayError

_JSON = "application/json"
_EVENTS = "text/event-stream"
_Object = dict[str, Any]

_TAGS = {
    "Chat": "Conversations, streamed or not.",
    "Embeddings": "Texts as vectors.",
    "Models": "What the key may use.",
    "Operation": "Health, readiness and metrics; open to everybody.",
}

_ABOUT = """\
One API before many providers of language models, in OpenAI's dialect and in the gateway's own.

Bodies may hold fields that are not described here: a provider of the same dialect gets them as they are. What would
redirect a request or let it pass for somebody else's (`api_base`, `base_url`, `api_key`, `custom_llm_provider`,
`extra_headers`, `metadata.user_api_key_*`) is refused. Money is in USD, as decimal text.
"""

_SECURITY_SCHEMES: _Object = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An inference key, `sk-gw-…`; or, where the gateway has an issuer, a JSON Web Token for one.",
    },
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "The same, as Anthropic's."},
    "x-goog-api-key": {
        "type": "apiKey",
        "in": "header",
        "name": "x-goog-api-key",
        "description": "The same, as Google's.",
    },
}
_OPEN: list[Any] = []

# -- headers -----------------------------------------------------------------------------------------------------------

_EVERY_ANSWER = ("x-request-id",)
_TRIED = ("x-gateway-provider", "x-gateway-model", "x-gateway-attempts", "x-gateway-cache", "x-gateway-overhead-ms")
_SERVED = (
    *_TRIED,
    *("x-gateway-cost", "x-gateway-dropped-params", "x-gateway-degraded"),
    *(f"x-ratelimit-{what}-{unit}" for unit in ("requests", "tokens") for what in ("limit", "remaining", "reset")),
)
_OF_STATUS: dict[int, tuple[str, ...]] = {
    401: ("www-authenticate",),
    409: ("x-should-retry",),
    429: ("retry-after", "retry-after-ms", "x-should-retry"),
    503: ("retry-after", "retry-after-ms"),
}


def _headers(*names: str) -> _Object:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _parameter(name: str, about: str, schema: _Object, *, place: str = "header") -> _Object:
    return {"name": name, "in": place, "required": place == "path", "description": about, "schema": schema}


# -- errors -----------------------------------------------------------------------------------------------------------

_AT_EVERY_DOOR: tuple[type[GatewayError], ...] = (
    errors.InvalidRequest,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.ExpectationFailed,
    errors.InternalError,
    errors.Unavailable,
)
_OF_INFERENCE: tuple[type[GatewayError], ...] = (
    *_AT_EVERY_DOOR,
    errors.ModelNotPriced,
    errors.NotFound,
    errors.RequestTimedOut,
    errors.TooLarge,
    errors.UnsupportedMediaType,
    errors.RateLimited,
    errors.QuotaExceeded,
    errors.UpstreamRefused,
    errors.UpstreamRateLimited,
    errors.UpstreamFailed,
    errors.UpstreamTimedOut,
)


def _by_status(classes: tuple[type[GatewayError], ...]) -> dict[int, list[type[GatewayError]]]:
    found: dict[int, list[type[GatewayError]]] = {}
    for cls in sorted(classes, key=lambda cls: TABLE[cls].status):
        found.setdefault(TABLE[cls].status, []).append(cls)
    return found


def _refusals(classes: tuple[type[GatewayError], ...]) -> _Object:
    """Return references to the answers that say these errors."""
    return {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in _by_status(classes)}


def _refusal(status: int, classes: list[type[GatewayError]]) -> _Object:
    said = [f"{(cls.__doc__ or '').strip()} `{cls.code}`" for cls in classes]
    return {
        "description": " ".join(said),
        "headers": _headers(*_EVERY_ANSWER, *_TRIED, *_OF_STATUS.get(status, ())),
        "content": {_JSON: {"schema": reference("Error")}},
    }


# -- paths ------------------------------------------------------------------------------------------------------------


_CONVERSATION: _Object = {"model": "echo", "messages": [{"role": "user", "content": "Hello"}]}
"""Works with the built-in provider, so whoever tries it out needs no other."""


def _answer(about: str, content: _Object, *, headers: tuple[str, ...] = ()) -> _Object:
    return {"description": about, "headers": _headers(*_EVERY_ANSWER, *headers), "content": content}


def _json(name: str) -> _Object:
    return {_JSON: {"schema": reference(name)}}


def _inference(
    *, tag: str, name: str, summary: str, request: str, example: _Object, answer: str, event: str | None = None
) -> _Object:
    """Return the operation of a path that providers serve; `event` is what a streamed answer's events hold."""
    content, about, headers = _json(answer), "The answer.", _SERVED
    if event is not None:
        content[_EVENTS] = {"schema": reference(event)}
        headers += ("x-accel-buffering",)
        about = (
            "The answer; with `stream`, server-sent events whose data have the shape shown, then `[DONE]`. "
            "An answer that breaks ends with an event that says the error, and without `[DONE]`."
        )
    return {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        "parameters": [{"$ref": f"#/components/parameters/{option}"} for option in OPTIONS],
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": reference(request), "example": example}},
        },
        "responses": {"200": _answer(about, content, headers=headers), **_refusals(_OF_INFERENCE)},
    }


_PAGING = [
    _parameter("anthropic-version", "If sent, the answer has Anthropic's shape.", TEXT),
    _parameter(
        "limit",
        "Models a page; in Anthropic's shape only.",
        {"type": "integer", "minimum": 1, "maximum": 1000},
        place="query",
    ),
    _parameter("after_id", "Begin behind this model; in Anthropic's shape only.", TEXT, place="query"),
    _parameter("before_id", "End before this model; in Anthropic's shape only.", TEXT, place="query"),
]


def _models() -> _Object:
    schema = {"anyOf": [reference("ModelList"), reference("AnthropicModelPage")]}
    return {
        "tags": ["Models"],
        "operationId": "listModels",
        "summary": "List the models that the key may use",
        "parameters": _PAGING,
        "responses": {
            "200": _answer("The models.", {_JSON: {"schema": schema}}),
            **_refusals(_AT_EVERY_DOOR),
        },
    }


def _model() -> _Object:
    schema = {"anyOf": [reference("Model"), reference("AnthropicModel")]}
    name = _parameter("id", "The model's public name; its slashes may stay as they are.", TEXT, place="path")
    return {
        "tags": ["Models"],
        "operationId": "readModel",
        "summary": "Read one model",
        "parameters": [name, _PAGING[0]],
        "responses": {
            "200": _answer("The model.", {_JSON: {"schema": schema}}),
            **_refusals((*_AT_EVERY_DOOR, errors.NotFound)),
        },
    }


def _probe(name: str, summary: str, responses: _Object) -> _Object:
    return {"tags": ["Operation"], "operationId": name, "summary": summary, "security": _OPEN, "responses": responses}


def _paths() -> _Object:
    chat = _inference(
        tag="Chat",
        name="createChatCompletion",
        summary="Continue a conversation, in OpenAI's dialect",
        request="ChatCompletionRequest",
        example=_CONVERSATION,
        answer="ChatCompletion",
        event="ChatCompletionChunk",
    )
    own = _inference(
        tag="Chat",
        name="createLlmChat",
        summary="Continue a conversation, in the gateway's own dialect",
        request="LlmChatRequest",
        example=_CONVERSATION,
        answer="LlmChatAnswer",
        event="LlmEvent",
    )
    embeddings = _inference(
        tag="Embeddings",
        name="createEmbeddings",
        summary="Embed texts",
        request="EmbeddingRequest",
        example={"model": "echo", "input": "Hello"},
        answer="EmbeddingList",
    )
    ready, not_ready = (_answer(about, _json("Readiness")) for about in ("Ready.", "Not ready, or about to stop."))
    exposition = {"text/plain": {"schema": TEXT}}
    return {
        "/v1/chat/completions": {"post": chat},
        "/v1/llm/chat": {"post": own},
        "/v1/embeddings": {"post": embeddings},
        "/v1/models": {"get": _models()},
        "/v1/models/{id}": {"get": _model()},
        "/healthz": {
            "get": _probe("health", "Tell whether the process lives", {"200": _answer("Yes.", _json("Health"))})
        },
        "/readyz": {"get": _probe("readiness", "Tell whether requests are welcome", {"200": ready, "503": not_ready})},
        "/metrics": {
            "get": _probe(
                "metrics",
                "Show the metrics of all workers, for Prometheus",
                {"200": _answer("The metrics.", exposition), **_refusals((errors.NotFound,))},
            )
        },
    }


def inference_document(*, version: str) -> bytes:
    """Return the OpenAPI 3.1 document of the gateway plane, as JSON; `version` is the release's."""
    document = {
        "openapi": "3.1.0",
        "info": {
            "title": "LLM gateway: inference",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": about} for name, about in _TAGS.items()],
        "security": [{name: []} for name in _SECURITY_SCHEMES],
        "paths": _paths(),
        "components": {
            "securitySchemes": _SECURITY_SCHEMES,
            "headers": {name: {"description": about, "schema": schema} for name, (about, schema) in HEADERS.items()},
            "parameters": {name: _parameter(name, about, schema) for name, (about, schema) in OPTIONS.items()},
            "responses": {
                f"Error{status}": _refusal(status, classes) for status, classes in _by_status(_OF_INFERENCE).items()
            },
            "schemas": schemas(),
        },
    }
    return msgspec.json.encode(document)
