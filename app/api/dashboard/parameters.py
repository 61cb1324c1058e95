"""What the pages' handlers are given. Law: the names are those that the router provides."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from litestar import Request
from litestar.di import NamedDependency

from app.api.admin.health import Examine
from app.api.admin.providers import TryProvider
from app.api.dashboard.changes import Change
from app.api.dashboard.pages import Pages
from app.domain.audit.principal import Principal
from app.domain.prices import Price
from app.domain.prices.bill import Bill
from app.domain.services import AdminServices
from app.domain.usage.schemas import UsageEvent
from app.gateway.cache_desk import CacheDesk
from app.gateway.config_desk import ConfigDesk
from app.gateway.trace_desk import TraceDesk
from app.settings.model import Settings


@runtime_checkable
class TellPrice(Protocol):
    """Tells prices in force."""

    def __call__(self, public: str, *, provider: str, upstream: str) -> Price | None:
        """Return what an upstream model costs that is asked for by the name `public`."""
        ...


Services = NamedDependency[AdminServices]
Visitor = NamedDependency[Principal]
Changer = NamedDependency[Change]
Renderer = NamedDependency[Pages]
Desk = NamedDependency[CacheDesk]
Traces = NamedDependency[TraceDesk]
Configuration = NamedDependency[ConfigDesk]
Trier = NamedDependency[TryProvider]
PriceNow = NamedDependency[TellPrice]
Examiner = NamedDependency[Examine]
Biller = NamedDependency[Callable[[UsageEvent], Bill | None]]
Served = NamedDependency[Callable[[], Settings]]
InForce = NamedDependency[Callable[[], Settings]]
Now = NamedDependency[datetime]
AnyRequest = Request[Any, Any, Any]
