"""What a visitor sees when something is refused or fails. Law: never more than the admin API would say."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException

from app.api.admin.problems import Problem, framework_problem, problem_response, unexpected_problem
from app.api.dashboard.pages import Templates
from app.api.dashboard.visitor import pages_for, sign_in_path_of
from app.kernel.errors import GatewayError

_BESIDE_A_FORM = "#fault"
"""How the id of a place begins where a form has its own refusals shown."""


def exception_handlers(templates: Templates) -> dict[int | type[Exception], Any]:
    """Return handlers that show, as a page or as a part of one, what the admin API would answer as a problem."""

    def shown(say: Callable[[Any, Any], Response[bytes]]) -> Callable[[Request[Any, Any, Any], Any], Response[bytes]]:
        def show(request: Request[Any, Any, Any], error: Any) -> Response[bytes]:
            return _show(templates, request, msgspec.json.decode(say(request, error).content, type=Problem))

        return show

    return {
        GatewayError: shown(problem_response),
        HTTPException: shown(framework_problem),
        Exception: shown(unexpected_problem),
    }


def _show(templates: Templates, request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    is_part = request.headers.get("hx-request") == "true"
    if problem.status == HTTPStatus.UNAUTHORIZED:
        return _lead_to_sign_in(request, is_part=is_part)
    has_no_place = request.method not in {"GET", "HEAD"} and _BESIDE_A_FORM not in request.headers.get("hx-target", "")
    return pages_for(templates, request).page(
        "refusal_part.html" if is_part else "refusal.html",
        status=problem.status,
        headers={"hx-retarget": "#notice", "hx-reswap": "innerHTML"} if is_part and has_no_place else None,
        problem=problem,
    )


def _lead_to_sign_in(request: Request[Any, Any, Any], *, is_part: bool) -> Response[bytes]:
    headers = {"cache-control": "no-store"}
    path = sign_in_path_of(request)
    if is_part:
        return Response(b"", media_type="text/html", headers=headers | {"hx-redirect": path})
    return Response(b"", status_code=HTTPStatus.SEE_OTHER, media_type="text/html", headers=headers | {"location": path})
