"""Attempts for tests that only want to say which provider had one."""

from app.pipeline.attempt import Attempt
from app.pipeline.exchange import Exchange
from app.routing.table import RouteTarget
from providers.echo.adapter import EchoAdapter
from providers.types import Target


def target_at(provider: str, upstream_model: str = "up") -> RouteTarget:
    """Return a target that nobody calls."""
    where = Target(provider=provider, model=upstream_model, base_url="http://x")
    return RouteTarget(provider=provider, adapter=EchoAdapter(), target=where, whole_target=where)


def begun(exchange: Exchange, provider: str, *, upstream_model: str = "up", started_ns: int = 0) -> Attempt:
    """Return the next attempt of an exchange, without a price."""
    attempt = Attempt(
        len(exchange.attempts) + 1,
        route=exchange.route,
        choice=target_at(provider, upstream_model),
        price=None,
        started_ns=started_ns,
    )
    exchange.attempts.append(attempt)
    return attempt
