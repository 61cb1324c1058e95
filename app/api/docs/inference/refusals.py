"""How the errors of `app.api.errors` are described, in each dialect that says them."""

from typing import Any, NamedTuple

from app.api.docs.schemas.headers import HEADERS
from app.api.docs.schemas.references import reference
from app.api.errors import spoken_of_class
from app.domain.answers.schemas import IdempotencyConflict
from app.kernel import errors
from app.kernel.errors import GatewayError

JSON = "application/json"
Object = dict[str, Any]
Errors = tuple[type[GatewayError], ...]

TRIED = (
    *("x-gateway-provider", "x-gateway-model", "x-gateway-attempts", "x-gateway-fanout", "x-gateway-cache"),
    "x-gateway-overhead-ms",
)
"""The headers of an answer for which providers were asked, or would have been."""
_OF_STATUS: dict[int, tuple[str, ...]] = {
    401: ("www-authenticate",),
    409: ("x-should-retry",),
    429: ("retry-after", "retry-after-ms", "x-should-retry"),
    503: ("retry-after", "retry-after-ms"),
    504: ("x-should-retry",),
}


class Speech(NamedTuple):
    """How a dialect says errors: what its answers are called here, their shapes, the headers with the request's id."""

    prefix: str
    schemas: tuple[str, ...]
    ids: tuple[str, ...]


OPENAI = Speech("", ("Error",), ("x-request-id",))
ANTHROPIC = Speech("Anthropic", ("AnthropicError",), ("x-request-id", "request-id"))
GEMINI = Speech("Gemini", ("GeminiError",), ("x-request-id",))
EITHER = Speech("Either", ("Error", "AnthropicError"), ("x-request-id", "request-id"))
"""Of the paths that speak Anthropic's dialect where its version header is sent, and OpenAI's else."""

AT_EVERY_DOOR: Errors = (
    errors.InvalidRequest,
    errors.Unauthenticated,
    errors.Forbidden,
    errors.ExpectationFailed,
    errors.InternalError,
    errors.Unavailable,
)
OF_PROVIDERS: Errors = (
    errors.UpstreamRefused,
    errors.UpstreamRateLimited,
    errors.UpstreamFailed,
    errors.UpstreamTimedOut,
    errors.NotCached,
)
OF_INFERENCE: Errors = (
    *AT_EVERY_DOOR,
    errors.ModelNotPriced,
    errors.NotFound,
    errors.RequestTimedOut,
    IdempotencyConflict,
    errors.TooLarge,
    errors.UnsupportedMediaType,
    errors.RateLimited,
    errors.QuotaExceeded,
    *OF_PROVIDERS,
)
OF_MODELS: Errors = (*AT_EVERY_DOOR, errors.NotFound)
_SAID = {OPENAI: OF_INFERENCE, ANTHROPIC: OF_INFERENCE, GEMINI: OF_INFERENCE, EITHER: OF_MODELS}


def headers(*names: str) -> Object:
    """Return references to the headers named."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def headers_described() -> Object:
    """Return what every header says."""
    return {name: {"description": about, "schema": schema} for name, (about, schema) in HEADERS.items()}


def refusals(classes: Errors, *, speech: Speech = OPENAI) -> Object:
    """Return references to the answers that say these errors."""
    return {
        str(status): {"$ref": f"#/components/responses/{speech.prefix}Error{status}"} for status in _by_status(classes)
    }


def refusals_described() -> Object:
    """Return every answer that says an error, in every dialect."""
    return {
        f"{speech.prefix}Error{status}": _refusal(status, classes, speech=speech)
        for speech, said in _SAID.items()
        for status, classes in _by_status(said).items()
    }


def _by_status(classes: Errors) -> dict[int, list[type[GatewayError]]]:
    found: dict[int, list[type[GatewayError]]] = {}
    for cls in sorted(classes, key=lambda cls: spoken_of_class(cls).status):
        found.setdefault(spoken_of_class(cls).status, []).append(cls)
    return found


def _refusal(status: int, classes: list[type[GatewayError]], *, speech: Speech) -> Object:
    shapes = [reference(schema) for schema in speech.schemas]
    said = [f"{(cls.__doc__ or '').strip()} `{cls.code}`" for cls in classes]
    return {
        "description": " ".join(said),
        "headers": headers(*speech.ids, *TRIED, *_OF_STATUS.get(status, ())),
        "content": {JSON: {"schema": shapes[0] if len(shapes) == 1 else {"anyOf": shapes}}},
    }
