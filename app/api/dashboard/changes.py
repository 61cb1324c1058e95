"""Writes that a page's form asks for. Law: read as the API reads a body, and audited in the same transaction."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from litestar import Request, Response

from app.api.admin.bodies import decode
from app.domain.audit.principal import Principal
from app.domain.audit.transaction import AuditedTransaction
from app.domain.services import AdminServices
from app.kernel.errors import InvalidRequest

Result = TypeVar("Result")
Spec = TypeVar("Spec", bound=msgspec.Struct)

_LONGEST_NUMBER = 18


class Change:
    """The write that one request asks for."""

    def __init__(self, request: Request[Any, Any, Any], *, services: AdminServices, principal: Principal) -> None:
        self._request = request
        self._services = services
        self._principal = principal

    async def __call__(self, effect: Callable[[AuditedTransaction], Awaitable[Result]]) -> Result:
        """Run `effect` in an audited transaction; a field `version` in the form says what the object must still be."""
        version = (await read_form(self._request)).get("version")
        transaction = self._services.auditor.transaction(
            self._principal,
            request_id=self._request.scope["state"]["request_id"],
            expected_versions=None if version is None else frozenset({whole_number("version", version)}),
        )
        async with transaction as opened:
            return await effect(opened)

    async def after(self, work: Callable[[], Awaitable[Callable[[AuditedTransaction], Awaitable[Result]]]]) -> Result:
        """Do what takes long first, and say what it did in a transaction of its own."""
        return await self(await work())


async def read_form(request: Request[Any, Any, Any]) -> dict[str, str]:
    """Return the fields of a form that something was written into, without the blanks around it."""
    fields: dict[str, str] = {}
    for name, value in (await request.form()).multi_items():
        if not isinstance(value, str) or name in fields:
            raise InvalidRequest(f"{name[:100]} is given more than once, or is no text", param=name[:100])
        if value.strip():
            fields[name] = value.strip()
    return fields


def read_as(kind: type[Spec], fields: Mapping[str, Any]) -> Spec:
    """Return what the API would read from such a body; raises `InvalidRequest` that names the field at fault."""
    return decode(msgspec.json.encode(dict(fields)), kind)


def whole_number(name: str, text: str) -> int:
    """Return a count that was written; raises `InvalidRequest`."""
    if not text.isascii() or not text.isdigit() or len(text) > _LONGEST_NUMBER:
        raise InvalidRequest(f"{name} is a whole number", param=name)
    return int(text)


def given(form: Mapping[str, str], *names: str) -> dict[str, Any]:
    """Return those of the fields that something was written into."""
    return {name: form[name] for name in names if name in form}


def reloaded() -> Response[bytes]:
    """Return what makes the page that sent a form load itself anew."""
    return _done({"hx-refresh": "true"})


def gone_to(path: str) -> Response[bytes]:
    """Return what makes the browser go to a page."""
    return _done({"hx-redirect": path})


def _done(headers: dict[str, str]) -> Response[bytes]:
    return Response(b"", media_type="text/html", headers=headers | {"cache-control": "no-store"})
