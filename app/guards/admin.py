"""Guards of the admin plane. Law: the middleware names the caller, these refuse the caller; no handler without one."""

from collections.abc import Awaitable, Callable
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from app.domain.audit.principal import Principal, Role
from app.kernel.errors import InvalidRequest, Unauthenticated

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]

OPEN = "open_to_everybody"
"""The option of the few handlers that somebody who is not signed in may call."""
ANY_QUERY = "takes_any_query"
"""The option of handlers whose callers others send, with parameters of their own."""


def principal_of(connection: Connection) -> Principal:
    """Return who calls; raises what the middleware found wrong with the credential."""
    principal = connection.scope["state"].get("principal")
    if isinstance(principal, Principal):
        return principal
    fault = connection.scope["state"].get("credential_fault")
    raise fault if isinstance(fault, Exception) else Unauthenticated


async def requires_principal(connection: Connection, handler: BaseRouteHandler) -> None:
    """Refuse callers who are nobody, but for the handlers that say so."""
    if not handler.opt.get(OPEN, False):
        principal_of(connection)


def requires_role(role: Role) -> Guard:
    """Return a guard that refuses callers whose role does not include `role`."""

    async def requires(connection: Connection, _handler: BaseRouteHandler) -> None:
        principal_of(connection).require_role(role)

    return requires


async def requires_installation(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Refuse callers whose scope is a single organisation."""
    principal_of(connection).require_installation()


async def within_known_parameters(connection: Connection, handler: BaseRouteHandler) -> None:
    """Refuse query parameters that the handler does not take, and repeated ones: silence would be a wrong answer."""
    known = _names_of(handler)
    is_strict = not handler.opt.get(ANY_QUERY, False)
    pairs = [*connection.query_params.multi_items()]
    seen = [name for name, _ in pairs]
    for name, value in pairs:
        if is_strict and name not in known:
            raise InvalidRequest(f"unknown query parameter {name[:100]!r}", code="unknown_parameter", param=name[:100])
        if seen.count(name) > 1:
            raise InvalidRequest(f"{name} is given more than once", param=name)
        # The framework would read it as a parameter that is not there.
        if is_strict and value.lower() == "null":
            raise InvalidRequest(f"{name} is never null: leave it out to see all", param=name)


def _names_of(handler: BaseRouteHandler) -> set[str]:
    """Return the query parameters that a handler takes, itself or through what it is provided with."""
    provided = handler.resolve_dependencies()
    fields = dict(handler.parsed_fn_signature.parameters)
    waiting = [name for name in fields if name in provided]
    while waiting:
        parameters = provided[waiting.pop()].parsed_fn_signature.parameters
        waiting += [name for name in parameters if name in provided and name not in fields]
        fields |= parameters
    return {
        field.kwarg_definition.name or name
        for name, field in fields.items()
        if isinstance(field.kwarg_definition, QueryParameter)
    }
