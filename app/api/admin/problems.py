"""Errors of the admin plane, as RFC 9457 problem details. Law: a 5xx says nothing of its cause but the request id."""

import logging
import re
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple

import msgspec
from litestar import Request, Response
from litestar.datastructures import ResponseHeader
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi.datastructures import ResponseSpec
from msgspec import Meta

from app.api.errors import status_of
from app.kernel import errors
from app.kernel.errors import GatewayError
from app.kernel.ids import uuid7_text

MEDIA_TYPE = "application/problem+json"

"""Both planes answer with the same statuses."""

_BY_STATUS: dict[int, type[GatewayError]] = {
    400: errors.InvalidRequest,
    401: errors.Unauthenticated,
    403: errors.Forbidden,
    404: errors.NotFound,
    405: errors.MethodNotAllowed,
    413: errors.TooLarge,
    415: errors.UnsupportedMediaType,
    503: errors.Unavailable,
}
"""What Litestar's own refusals are called here."""

_WHERE = re.compile(r"^(?P<what>.*) - at (?:`key` in )?`\$(?P<path>[^`]*)`$", re.DOTALL)
_FIELD = re.compile(r"(?:unknown|required) field `(?P<name>[^`]*)`")
_PATTERN_REMARK = re.compile(r"matching regex '(?P<pattern>.*)'", re.DOTALL)
_CHALLENGE = 'Bearer realm="llm-gateway admin"'

_log = logging.getLogger(__name__)


class FieldFault(msgspec.Struct, frozen=True):
    """What is wrong with one field."""

    path: Annotated[str, Meta(description="Such as `limits.rules[0].limit`.")]
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error, as RFC 9457 has it."""

    type: Annotated[str, Meta(description="Names the kind of error, as a URN.")]
    title: str
    status: int
    detail: str
    code: Annotated[str, Meta(description="The kind of error, for programs.")]
    request_id: Annotated[str, Meta(description="Finds the request in the gateway's log.")]
    errors: Annotated[list[FieldFault] | None, Meta(description="The fields at fault, if any.")] = None


PROBLEMS: dict[int, ResponseSpec] = {
    status: ResponseSpec(Problem, description=description, media_type=MEDIA_TYPE, generate_examples=False)
    for status, description in {
        400: "The request is invalid; `errors` names the fields.",
        401: "No credential, or not a valid one.",
        403: "The role or scope of the credential does not suffice.",
        404: "There is no such object, or it is another organisation's.",
        503: "The database cannot serve now.",
    }.items()
}
"""What every operation may answer."""

WRITE_PROBLEMS = PROBLEMS | {
    status: ResponseSpec(Problem, description=description, media_type=MEDIA_TYPE, generate_examples=False)
    for status, description in {
        409: "Another state or another use of the Idempotency-Key stands against it.",
        412: "The object has changed: `If-Match` names another version.",
        413: "The body is over 1 MiB.",
        415: "The body is not `application/json`.",
    }.items()
}
"""What every operation that writes may answer."""

ETAG = ResponseHeader(name="ETag", description="The object's version, for `If-Match`.", documentation_only=True)


class SpokenProblem(NamedTuple):
    """An error as the admin plane says it: its status, its headers by lower-case name, its body."""

    status: int
    headers: dict[str, str]
    body: bytes


def spoken_problem(error: GatewayError, *, request_id: str) -> SpokenProblem:
    """Return how an error of ours is said."""
    status = status_of(error)
    problem = Problem(
        type=f"urn:llm-gateway:error:{error.code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error.message,
        code=error.code,
        request_id=request_id,
        errors=_fields_of(error),
    )
    headers = dict(error.headers) | {"cache-control": "no-store", "content-type": MEDIA_TYPE}
    if status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = _CHALLENGE
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    return SpokenProblem(status, headers, msgspec.json.encode(problem))


def _fields_of(error: GatewayError) -> list[FieldFault] | None:
    fields = error.fields or (() if error.param is None else ((error.param, error.message),))
    return [FieldFault(path, message) for path, message in fields] or None


def problem_response(request: Request[Any, Any, Any], error: GatewayError) -> Response[bytes]:
    """Return an error of ours as a problem."""
    state = request.scope["state"]
    if "request_id" not in state:
        state["request_id"] = uuid7_text()
    said = spoken_problem(error, request_id=str(state["request_id"]))
    return Response(said.body, status_code=said.status, media_type=MEDIA_TYPE, headers=said.headers)


def framework_problem(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Return a refusal of Litestar's (no such path, method, parameter) as a problem."""
    kind = _BY_STATUS.get(error.status_code)
    if kind is None:
        return unexpected_problem(request, error)
    ours = kind()
    if isinstance(error, ValidationException):
        ours = kind(_invalid_parameter(error), param=_invalid_name(error))
    ours.headers = tuple((name.lower(), value) for name, value in (error.headers or {}).items())
    return problem_response(request, ours)


def unexpected_problem(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Log a defect of ours with its traceback, and answer without its cause."""
    answer = problem_response(request, errors.InternalError())
    _log.error("the request failed", exc_info=error, extra={"request_id": request.scope["state"]["request_id"]})
    return answer


EXCEPTION_HANDLERS: dict[int | type[Exception], Any] = {
    GatewayError: problem_response,
    HTTPException: framework_problem,
    Exception: unexpected_problem,
}
"""For the application itself: an unknown path or method reaches only its handlers."""


def invalid_body(error: msgspec.ValidationError) -> errors.InvalidRequest:
    """Return what msgspec found wrong, with the path of the field."""
    message = str(error)
    match = _WHERE.match(message)
    what, path = (match["what"], match["path"].removeprefix(".")) if match else (message, "")
    what = _PATTERN_REMARK.sub(_explained, what)
    field = _FIELD.search(what)
    if field is not None:
        path = f"{path}.{field['name']}" if path else field["name"]
    code = "unknown_parameter" if "unknown field" in what else None
    return errors.InvalidRequest(what[:500], code=code, param=path[:500] or None)


def _explained(match: re.Match[str]) -> str:
    """Return in words what a pattern of ours asks for."""
    is_amount = match["pattern"].startswith("^[0-9]")
    return 'that is a decimal amount, such as "0.10"' if is_amount else "without control characters and not blank"


def _invalid_parameter(error: ValidationException) -> str:
    return "; ".join(f"{fault.get('key')}: {fault.get('message')}" for fault in _faults(error)) or error.detail


def _invalid_name(error: ValidationException) -> str | None:
    return next((str(fault["key"]) for fault in _faults(error) if fault.get("key")), None)


def _faults(error: ValidationException) -> list[dict[str, Any]]:
    return [fault for fault in error.extra or [] if isinstance(fault, dict)]
