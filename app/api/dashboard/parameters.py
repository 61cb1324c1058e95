"""What the pages' handlers are given. Law: the names are those that the router provides."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from litestar import Request
from litestar.di import NamedDependency

from app.api.admin.health import Examine
from app.api.dashboard.changes import Change
from app.api.dashboard.pages import Pages
from app.domain.audit.principal import Principal
from app.domain.prices.bill import Bill
from app.domain.services import AdminServices
from app.domain.usage.schemas import UsageEvent
from app.gateway.cache_desk import CacheDesk
from app.settings.model import Settings

Services = NamedDependency[AdminServices]
Visitor = NamedDependency[Principal]
Changer = NamedDependency[Change]
Renderer = NamedDependency[Pages]
Desk = NamedDependency[CacheDesk]
Examiner = NamedDependency[Examine]
Biller = NamedDependency[Callable[[UsageEvent], Bill | None]]
InForce = NamedDependency[Callable[[], Settings]]
Now = NamedDependency[datetime]
AnyRequest = Request[Any, Any, Any]
