"""`/session/oidc`: a browser signs in at the issuer of `admin.jwt`. Law: the issuer's tokens stay on this side."""

from html import escape
from typing import Annotated, Any

from litestar import Controller, Request, Response, get
from litestar.datastructures import ResponseHeader
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromQuery, QueryParameter

from app.api.admin.parameters import Door, Services
from app.api.admin.session_items import (
    BROWSER_PROBLEMS,
    SET_COOKIE,
    address_of,
    cookie_response,
    end_former,
    request_id_of,
    session_cookie,
    sign_in_cookie,
    site_of,
)
from app.guards.admin import ANY_QUERY, OPEN
from app.kernel.errors import GatewayError, NotFound, Unauthenticated, Unavailable
from app.middleware.site import SIGN_IN

_PATIENCE_S = 600
_LOCATION = ResponseHeader(name="Location", description="The issuer's page.", documentation_only=True)
_REDIRECT = {302: ResponseSpec(None, description="Go to the issuer.", generate_examples=False)}
_PAGE = {
    200: ResponseSpec(str, description="Signed in.", media_type="text/html", generate_examples=False),
}
_PAGE_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
_ReturnTo = Annotated[str, QueryParameter(max_length=512, description="The path to go to when signed in.")]
_State = Annotated[str, QueryParameter(name="state", max_length=512, description="As it was given to the issuer.")]
_Code = Annotated[str | None, QueryParameter(max_length=4096, description="What the issuer redeems.")]
_Error = Annotated[str | None, QueryParameter(max_length=200, description="Why the issuer has refused.")]
_Issuer = Annotated[str | None, QueryParameter(max_length=2048, description="Who answers.")]


class OidcController(Controller):
    """Sign-in at the issuer."""

    path = "/session/oidc"
    tags = ("Sessions",)
    return_dto = None

    @get(
        "/start",
        summary="Begin to sign in at the issuer",
        responses=BROWSER_PROBLEMS | _REDIRECT,
        response_headers=[_LOCATION, SET_COOKIE],
        status_code=302,
        opt={OPEN: True},
        security=[{}],
    )
    async def start_oidc(
        self, request: Request[Any, Any, Any], *, door: Door, return_to: _ReturnTo = "/", fresh: FromQuery[bool] = False
    ) -> Response[None]:
        """Send the browser to the issuer of `admin.jwt`; `fresh` makes it ask even somebody whom it knows."""
        if door.code_flow is None:
            raise NotFound("sign-in by browser is not set up: admin.jwt.client_id", code="oidc_not_configured")
        address = address_of(request)
        door.starts.admit(address)
        door.starts.count(address)
        begun = await door.code_flow.begin(return_to=return_to, is_fresh=fresh)
        cookie = sign_in_cookie(request, begun.browser, max_age_s=_PATIENCE_S)
        return cookie_response(None, cookie, status=302, headers={"location": begun.url})

    @get(
        "/callback",
        summary="Finish to sign in at the issuer",
        responses=BROWSER_PROBLEMS | _PAGE,
        response_headers=[SET_COOKIE],
        opt={OPEN: True, ANY_QUERY: True},
        security=[{}],
    )
    async def finish_oidc(
        self,
        request: Request[Any, Any, Any],
        *,
        services: Services,
        door: Door,
        given_state: _State = "",
        code: _Code = None,
        error: _Error = None,
        iss: _Issuer = None,
    ) -> Response[str]:
        """Answer a page that goes on to where the person wanted: a redirect would not carry the new cookie."""
        if door.code_flow is None:
            raise NotFound("sign-in by browser is not set up: admin.jwt.client_id", code="oidc_not_configured")
        address = address_of(request)
        door.attempts.admit(address)
        try:
            if error is not None or code is None:
                raise Unauthenticated("the issuer did not confirm the sign-in", code="sign_in_refused")
            browser = site_of(request).read_cookie(SIGN_IN, headers=request.scope["headers"])
            done = await door.code_flow.finish(state=given_state, code=code, browser=browser, issuer=iss)
            made = await services.sessions.sign_in_person(
                done.person, request_id=request_id_of(request), signed_in_at=done.signed_in_at
            )
        except Unavailable:
            raise
        except GatewayError:
            door.attempts.count(address)
            raise
        await end_former(request, services)
        cookies = (session_cookie(request, made), sign_in_cookie(request, None))
        return cookie_response(_page_to(done.return_to), *cookies, status=200, headers=_PAGE_HEADERS)


def _page_to(path: str) -> bytes:
    """Return a page that goes on by itself, without a script."""
    said = escape(path, quote=True)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Signed in</title>'
        f'<meta http-equiv="refresh" content="0;url={said}"><p>Signed in. <a href="{said}">Go on</a></p></html>'
    ).encode()
