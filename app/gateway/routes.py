"""From settings to routes: providers become adapters, models become targets. Law: all of it, or nothing."""

from collections.abc import Callable, Iterator, Mapping

import msgspec

from app.domain.prices import Price, PriceOverlay, price_from_settings
from app.routing.table import NO_FALLBACKS, ProviderRoute, Route, RouteTable, RouteTarget
from app.settings.model import EnsembleSettings, PriceSettings, ProviderSettings, Settings, Transform
from providers.plugin import Plugin
from providers.protocol import Adapter, Answer, Sender
from providers.registry import Registry
from providers.types import Target, Timeouts, UpstreamRequest

_FREE = PriceSettings(input_nusd=0, output_nusd=0)
_ECHO = "echo"
_NO_TRANSFORM = Transform()
_RELAYED_KINDS = frozenset({"image", "audio", "moderation", "rerank"})
_MEDIA = frozenset({"openai.images", "openai.speech", "openai.transcriptions", "openai.moderations", "openai.rerank"})
"""The operations of the kinds of models that are not listed, for they do not chat."""


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """A configured provider, ready to be called."""

    name: str
    plugin: Plugin
    adapter: Adapter
    settings: ProviderSettings
    base_url: str
    is_vendors_own: bool
    """Whether it is the vendor's own address, so that the vendor's catalogue and prices hold.

    A vendor whose addresses belong to its customers is at all of them.
    """

    @property
    def bills_after_disconnect(self) -> bool:
        """Whether a call that is cut is billed whole: as the operator says, else as the vendor is known to do."""
        said = self.settings.bills_after_disconnect
        return self.is_vendors_own and self.plugin.bills_after_disconnect if said is None else said


def ca_files(settings: Settings, registry: Registry) -> dict[str, str]:
    """Return the files of authorities by base URL, for the transport."""
    found = {}
    for provider in settings.providers.values():
        base_url = provider.base_url or registry.find(provider.adapter).base_url
        if provider.ca_file is not None and base_url:
            found[base_url] = provider.ca_file
    return found


def open_providers(settings: Settings, *, registry: Registry, sender: Sender) -> dict[str, Provider]:
    """Return all configured providers by name."""
    return {name: open_provider(name, given, registry, sender) for name, given in settings.providers.items()}


def open_provider(name: str, given: ProviderSettings, registry: Registry, sender: Sender) -> Provider:
    """Return a provider, ready to be called over `sender`."""
    plugin = registry.find(given.adapter or name)
    options = given.options if given.options is not None else plugin.options()
    if given.headers:
        sender = HeaderSender(sender, {name: value.reveal() for name, value in given.headers.items()})
    base_url = (given.base_url or plugin.base_url or "").rstrip("/")
    return Provider(
        name=name,
        plugin=plugin,
        adapter=plugin.open(sender, options),
        settings=given,
        base_url=base_url,
        is_vendors_own=given.base_url is None or plugin.base_url is None or base_url == plugin.base_url.rstrip("/"),
    )


class HeaderSender:
    """A transport that adds a provider's configured headers."""

    def __init__(self, sender: Sender, headers: Mapping[str, str]) -> None:
        self._sender = sender
        self._headers = tuple((name.lower(), value) for name, value in headers.items())
        self._joined: dict[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]] = {}

    async def send(self, request: UpstreamRequest, *, timeouts: Timeouts) -> Answer:
        """Send a request with the headers; theirs win over the dialect's."""
        joined = self._joined.get(request.headers)
        if joined is None:
            mine = {name for name, _ in self._headers}
            kept = tuple(pair for pair in request.headers if pair[0] not in mine)
            joined = self._joined[request.headers] = (*kept, *self._headers)
        return await self._sender.send(msgspec.structs.replace(request, headers=joined), timeouts=timeouts)


class RouteBuilder:
    """Builds the table of one configuration."""

    def __init__(
        self,
        settings: Settings,
        providers: Mapping[str, Provider],
        registry: Registry,
        *,
        listed: Mapping[str, list[str]] | None = None,
        prices: PriceOverlay | None = None,
        ensembles: Mapping[str, EnsembleSettings] | None = None,
        names_models: bool | None = None,
    ) -> None:
        """Make one; `listed` are the models that providers said they serve, by provider.

        Where the file `names_models` (absent: where the settings do) the catalogue's are not served by themselves.

        `prices` and `ensembles` are those of the admin API: what the file says wins over them, and they over the
        catalogue.
        """
        self._settings = settings
        self._providers = providers
        self._registry = registry
        self._listed = listed or {}
        self._prices = prices or PriceOverlay()
        made = {name: each for name, each in (ensembles or {}).items() if name not in settings.models}
        self._ensembles: Mapping[str, EnsembleSettings] = made | dict(settings.ensembles)
        self._names_models = bool(settings.models) if names_models is None else names_models

    def table(self) -> RouteTable:
        """Return every route: the models named, and every catalogue model of a provider if the file names none."""
        known = {name: self._known(provider) for name, provider in self._providers.items()}
        routes = {name: self._configured(name) for name in self._settings.models}
        if not self._names_models:
            routes |= {name: route for name, route in self._unasked(known) if name not in routes}
        openings = {name: self._opening(provider, known[name]) for name, provider in self._providers.items()}
        members = RouteTable(routes, openings)
        if not self._ensembles:
            return members
        made = {name: self._ensemble(name, members) for name in self._ensembles}
        return RouteTable(routes | {name: route for name, route in made.items() if route is not None}, openings)

    def _ensemble(self, name: str, members: RouteTable) -> Route | None:
        """Return what stands for several models; nothing if one of them is not there."""
        ensemble = self._ensembles[name]
        found = [members.find(each) for each in ensemble.models]
        if any(route is None for route in found):
            return None
        targets = tuple(target for route in found if route is not None for target in route.targets)
        return Route(
            name=name,
            label=name,
            targets=targets,
            owned_by="gateway",
            timeouts=self._settings.timeouts_for(),
            ensemble=ensemble,
        )

    def _opening(self, provider: Provider, known: Mapping[str, Route]) -> ProviderRoute:
        """Return what a provider serves by the names of its own: any, or those of its models that do not chat."""
        template = self._template(provider)
        if template is not None or self._names_models or not provider.is_vendors_own:
            return ProviderRoute(known, template=template, price_of=self._price_at(provider))
        template = self._any(provider)
        vendor, find = provider.plugin.catalog or "", self._registry.catalog.find

        def recognises(model: str) -> bool:
            found = find(vendor, model)
            return found is not None and found.kind in _RELAYED_KINDS

        has_media = not _MEDIA.isdisjoint(template.targets[0].relays)
        return ProviderRoute(
            known,
            template=template if has_media else None,
            recognises=recognises,
            price_of=self._price_at(provider),
        )

    def _price_at(self, provider: Provider) -> Callable[[str, str], Price | None]:
        """Return what tells the price of the admin API for an upstream model under a public name."""

        def price_of(upstream: str, public: str) -> Price | None:
            return self._prices.find(provider=provider.name, upstream=upstream, public=public)

        return price_of

    def _configured(self, name: str) -> Route:
        model = self._settings.models[name]
        targets = tuple(
            self._target(self._providers[target.provider], target.model, public=name, weight=target.weight)
            for target in model.targets
        )
        return Route(
            name=name,
            label=name,
            targets=targets,
            owned_by=targets[0].provider,
            retries=model.retries,
            balance=model.balance,
            sticky=model.sticky,
            fallbacks=NO_FALLBACKS if model.fallbacks == NO_FALLBACKS else model.fallbacks,
            breaker=model.breaker,
            hedge=model.hedge,
            timeouts=self._settings.timeouts_for(model=name),
            transform=None if model.transform == _NO_TRANSFORM else model.transform,
        )

    def _known(self, provider: Provider) -> dict[str, Route]:
        """Return the routes of the models that a provider is known to have, by upstream name."""
        if provider.plugin.name == _ECHO:
            return {_ECHO: self._plain(provider, _ECHO, kind="chat")}
        routes = {name: self._plain(provider, name, kind="chat") for name in self._listed.get(provider.name, ())}
        if provider.is_vendors_own and provider.plugin.catalog is not None:
            for model in self._registry.catalog.models(provider.plugin.catalog):
                routes[model.id] = self._plain(provider, model.id, kind=model.kind)
        return routes

    def unlisted(self) -> list[RouteTarget]:
        """Return a target of each provider whose models nobody has named, so that it may be asked for them."""
        templates = [self._template(provider) for provider in self._providers.values()]
        return [template.targets[0] for template in templates if template is not None]

    def _plain(self, provider: Provider, model: str, *, kind: str) -> Route:
        name = f"{provider.name}/{model}"
        target = self._target(provider, model, public=name)
        return Route(
            name=name,
            label=name,
            targets=(target,),
            owned_by=provider.name,
            kind=kind,
            timeouts=target.target.timeouts,
        )

    def _unasked(self, known: Mapping[str, Mapping[str, Route]]) -> Iterator[tuple[str, Route]]:
        """Yield bare names, the first provider winning, then `provider/model` for all."""
        taken: set[str] = set()
        for routes in known.values():
            for model, route in routes.items():
                if model not in taken:
                    taken.add(model)
                    yield model, self._renamed(route, model)
        for routes in known.values():
            yield from ((route.name, route) for route in routes.values())

    def _renamed(self, route: Route, name: str) -> Route:
        """Return a provider's route under a bare name, which may have a price of its own."""
        target = route.targets[0]
        price = self._price(self._providers[target.provider], target.target.model, public=name)
        targets = (target if price is target.price else msgspec.structs.replace(target, price=price),)
        return msgspec.structs.replace(route, name=name, label=name, targets=targets)

    def _template(self, provider: Provider) -> Route | None:
        """Return what serves models that nobody has listed: so for servers that the catalogue does not know."""
        is_known = provider.is_vendors_own and self._registry.catalog.models(provider.plugin.catalog or "")
        if self._names_models or provider.plugin.name == _ECHO or is_known:
            return None
        return self._any(provider)

    def _any(self, provider: Provider) -> Route:
        """Return a route of a provider whose model is still to be named."""
        name = f"{provider.name}/*"
        return msgspec.structs.replace(self._plain(provider, "*", kind="chat"), name=name, label=name)

    def _price(self, provider: Provider, upstream: str, *, public: str) -> Price | None:
        """Return the operator's price: the file's, else that of the admin API; the echo is free unless it has one."""
        configured = self._settings.models.get(public)
        if configured is not None and configured.price is not None:
            return price_from_settings(configured.price)
        made = self._prices.find(provider=provider.name, upstream=upstream, public=public)
        return made or (price_from_settings(_FREE) if provider.plugin.name == _ECHO else None)

    def _target(self, provider: Provider, upstream: str, *, public: str, weight: int = 1) -> RouteTarget:
        """Return one target of the public name; without a model of that name in the file the provider's clocks hold."""
        timeouts = self._settings.timeouts_for(model=public, provider=provider.name)
        keys = provider.settings.credentials
        target = Target(
            provider=provider.name,
            model=upstream,
            base_url=provider.base_url,
            credential=keys[0] if keys else None,
            options=provider.settings.options,
            timeouts=timeouts,
        )
        whole = target if self._has_own_clock(public, provider.name) else _patient(target)
        return RouteTarget(
            provider=provider.name,
            adapter=provider.adapter,
            target=target,
            whole_target=whole,
            relays=provider.adapter.relays(target),
            credentials=keys,
            lane_model=upstream,
            adapter_name=provider.plugin.name,
            vendor=(provider.plugin.catalog or "") if provider.is_vendors_own else "",
            weight=weight,
            bills_after_disconnect=provider.bills_after_disconnect,
            dedicated_to=provider.settings.dedicated_to,
            price=self._price(provider, upstream, public=public),
        )

    def _has_own_clock(self, model: str, provider: str) -> bool:
        """Whether the operator set the clock for the first token himself."""
        scopes = [self._settings.providers[provider].timeouts]
        if model in self._settings.models:
            scopes.append(self._settings.models[model].timeouts)
        return any(scope.first_token_s is not None for scope in scopes)


def _patient(target: Target) -> Target:
    timeouts = msgspec.structs.replace(target.timeouts, first_token_s=target.timeouts.total_s)
    return msgspec.structs.replace(target, timeouts=timeouts)
