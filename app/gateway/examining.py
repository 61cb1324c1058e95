"""Examines ensembles that the admin API is to make. Law: what is kept could stand in the file, and is served."""

from collections.abc import Callable
from typing import NoReturn

from app.domain.upstream.overlay import StoredUpstream
from app.fanout.extensions import Extensions
from app.fanout.spec import spec_of
from app.gateway.routes import RouteBuilder, open_providers
from app.kernel.errors import Conflict, InvalidRequest
from app.routing.table import Route, RouteTable
from app.settings.model import Settings
from app.settings.policy import EnsembleSettings
from providers.errors import ConnectFailed
from providers.protocol import Answer
from providers.registry import Registry
from providers.types import Timeouts, UpstreamRequest

_LABEL = "ensemble"
_SHOWN = 100


class _Nobody:
    """A transport that reaches nobody."""

    async def send(self, request: UpstreamRequest, *, timeouts: Timeouts) -> Answer:
        """Refuse."""
        del request, timeouts
        raise ConnectFailed("the admin plane calls nobody")


class EnsembleExaminer:
    """Knows what models there are: those of the configuration and of the admin API, or those of the catalogue."""

    def __init__(self, settings: Callable[[], Settings], upstream: Callable[[], StoredUpstream]) -> None:
        """Make one; `settings` tells what the file says now, and `upstream` what the admin API has made."""
        self._settings = settings
        self._upstream = upstream
        self._extensions = Extensions()
        self._built: tuple[Settings, StoredUpstream, RouteTable] | None = None
        self._asks_for_names = False
        """Whether a provider has to be asked which models it has, which nobody does here."""
        self.find: Callable[[str], Route | None] = self._find
        """Returns the route of a name. A process that serves inference knows more: what self-hosted servers say."""

    def __call__(self, name: str, ensemble: EnsembleSettings, *, others: frozenset[str]) -> None:
        """Raise `InvalidRequest` naming the field at fault, or `Conflict` if a model has the name."""
        if name != name.strip() or not name.isprintable():
            raise InvalidRequest("a name has printable characters only, and no spaces around it", param="name")
        route = self.find(name)
        if route is not None and route.ensemble is None:
            raise Conflict(f"a model has the name {name[:_SHOWN]!r} already", code="duplicate_model")
        width = self._settings().limits.fanout_width
        try:
            spec_of(ensemble, label=_LABEL, width=width, extensions=self._extensions)
        except InvalidRequest as error:
            _raise_without_label(error)
        taken = others | self._settings().ensembles.keys() | {name}
        for place, member in enumerate(ensemble.members):
            self._check_member(member, f"members[{place}]", taken)
        for field, asked in (("judge", ensemble.judge), ("fuser", ensemble.fuser)):
            if asked is not None:
                self._check_member(asked, field, taken)

    def problem_of(self, ensemble: EnsembleSettings) -> str | None:
        """Return why an ensemble is not served, if it is not: one of its models is not there."""
        missing = next((name for name in ensemble.models if self.find(name) is None), None)
        if missing is None or (self.find == self._find and self._asks_for_names):
            return None
        return f"there is no model {missing[:_SHOWN]!r}"

    def _check_member(self, name: str, path: str, ensembles: frozenset[str]) -> None:
        route = self.find(name)
        if name in ensembles or (route is not None and route.ensemble is not None):
            raise InvalidRequest(f"{name[:_SHOWN]!r} is an ensemble; a model is wanted here", param=path)
        if route is None:
            raise InvalidRequest(f"there is no model {name[:_SHOWN]!r}", code="unknown_model", param=path)

    def _find(self, name: str) -> Route | None:
        settings, upstream = self._settings(), self._upstream()
        if self._built is None or self._built[0] is not settings or self._built[1] is not upstream:
            registry, served = Registry(), upstream.under(settings)
            providers = open_providers(served, registry=registry, sender=_Nobody())
            builder = RouteBuilder(served, providers, registry, names_models=bool(settings.models))
            self._built = settings, upstream, builder.table()
            self._asks_for_names = bool(builder.unlisted())
        return self._built[2].find(name)


def _raise_without_label(error: InvalidRequest) -> NoReturn:
    """Raise a fault with the paths of the API, where an ensemble is the whole body."""
    prefix = f"{_LABEL}."
    param = None if error.param is None else error.param.removeprefix(prefix)
    raise InvalidRequest(error.message.replace(prefix, ""), code=error.code, param=param) from None
