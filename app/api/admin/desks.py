"""Who serves administrators what stands in no row."""

from typing import Any, NamedTuple

from litestar.di import Provide

from app.api.admin.health import Examine
from app.api.admin.providers import TryProvider
from app.gateway.cache_desk import CacheDesk
from app.gateway.config_desk import ConfigDesk
from app.gateway.front_door import FrontDoor
from app.gateway.trace_desk import TraceDesk


class Desks(NamedTuple):
    """One for each thing: how all is, kept answers, recent requests, settings, a call to try a provider, signing in."""

    examine: Examine
    cache: CacheDesk
    traces: TraceDesk
    config: ConfigDesk
    try_provider: TryProvider
    door: FrontDoor


def always(value: Any) -> Provide:
    """Return what provides a value that is there already; routers are copied deeply, but no closure is."""

    def provide() -> Any:
        return value

    return Provide(provide, sync_to_thread=False)
