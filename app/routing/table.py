"""The routes: every public model name and the targets behind it, as one immutable snapshot."""

from collections.abc import Callable, Iterator, Mapping
from uuid import UUID

import msgspec

from app.domain.prices import Price
from app.settings.model import EnsembleSettings, Fallbacks, Hedge, Transform
from providers.protocol import Adapter
from providers.types import Secret, Target, Timeouts

NO_FALLBACKS = Fallbacks()


class RouteTarget(msgspec.Struct, frozen=True, kw_only=True):
    """One target of a route: where, who speaks to it, at what price.

    `price` is the operator's, of the file or else of the admin API, absent where the catalogue's for `vendor` holds.
    `target` has the clocks for streams, `whole_target` those for answers that are not streamed: a provider sends the
    head of such an answer when it has finished, so the clock for the first token runs there only if the operator set
    it.
    `relays` are the operations whose bytes it gets unchanged. `credentials` are all that its provider has, of which the
    first is that of `target`; `lane_model` is how its health is told from that of others: its model, or `*` for names
    that callers make up.
    `adapter_name` is what its provider's adapter is called, whoever's address it calls.
    `dedicated_to` is the id of the one organisation that may use the provider's account, if there is one.
    """

    provider: str
    adapter: Adapter
    target: Target
    whole_target: Target
    relays: frozenset[str] = frozenset()
    credentials: tuple[Secret, ...] = ()
    lane_model: str = ""
    vendor: str = ""
    adapter_name: str = ""
    weight: int = 1
    price: Price | None = None
    bills_after_disconnect: bool = False
    dedicated_to: str | None = None

    @property
    def name(self) -> str:
        """What an operator calls it: `provider/model`."""
        return f"{self.provider}/{self.target.model}"

    def with_credential(self, number: int) -> "RouteTarget":
        """Return the target as it is called with another of its provider's credentials, counted from 0."""
        if number == 0:
            return self
        credential = self.credentials[number]
        return msgspec.structs.replace(
            self,
            target=msgspec.structs.replace(self.target, credential=credential),
            whole_target=msgspec.structs.replace(self.whole_target, credential=credential),
        )

    def with_headers(self, headers: tuple[tuple[str, str], ...]) -> "RouteTarget":
        """Return the target as one call reaches it, with headers of its own."""
        return msgspec.structs.replace(
            self,
            target=msgspec.structs.replace(self.target, headers=headers),
            whole_target=msgspec.structs.replace(self.whole_target, headers=headers),
        )

    def is_dedicated_to(self, organization_id: UUID) -> bool:
        """Whether the account is the organisation's alone, with all that is stored in it."""
        return self.dedicated_to is not None and self.dedicated_to.lower() == str(organization_id)


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """A public model name and what serves it. `created` is in seconds since the Unix epoch.

    `label` is what metrics call it: the name itself, unless the caller made it up. `ensemble` is there if it stands for
    several models that answer together: its targets are then all of theirs.
    """

    name: str
    label: str
    targets: tuple[RouteTarget, ...]
    owned_by: str
    created: int = 0
    kind: str = "chat"
    retries: int = 2
    balance: str = "weighted"
    sticky: str = "none"
    fallbacks: Fallbacks = NO_FALLBACKS
    breaker: bool = True
    hedge: Hedge | None = None
    timeouts: Timeouts = Timeouts()
    transform: Transform | None = None
    ensemble: EnsembleSettings | None = None

    def open_to(self, organization_id: UUID) -> "Route | None":
        """Return the route without the accounts of other organisations; nothing if that leaves no target."""
        if all(target.dedicated_to is None for target in self.targets):
            return self
        kept = tuple(t for t in self.targets if t.dedicated_to is None or t.is_dedicated_to(organization_id))
        return msgspec.structs.replace(self, targets=kept) if kept else None


NO_ROUTES: Mapping[str, Route] = {}


class RouteTable:
    """All routes. Replaced as a whole when the configuration changes; never changed."""

    def __init__(self, routes: Mapping[str, Route], providers: Mapping[str, "ProviderRoute"] | None = None) -> None:
        """Make a table; `providers` serve names of the form `provider/model` that are not routes."""
        self._routes = dict(routes)
        self._providers = dict(providers or {})

    def find(self, name: str) -> Route | None:
        """Return the route of a public name, or of `provider/model` for a provider that takes the name.

        A bare name that is no route may be that of a vendor's model that does not chat; the first provider wins.
        """
        route = self._routes.get(name)
        if route is not None:
            return route
        provider, slash, model = name.partition("/")
        source = self._providers.get(provider) if slash else None
        if source is not None:
            return source.unlisted(name, model)
        found = (source.recognised(name, name) for source in self._providers.values())
        return next((route for route in found if route is not None), None)

    def pinned(self, route: Route, provider: str, model: str) -> Route | None:
        """Return `route` narrowed to one of its targets, or the provider's own model; for `x-gateway-route`."""
        kept = tuple(t for t in route.targets if t.provider == provider and t.target.model == model)
        if kept:
            return msgspec.structs.replace(route, targets=kept)
        source = self._providers.get(provider)
        return source.route(route.name, model) if source is not None else None

    def target_at(self, provider: str, operation: str) -> RouteTarget | None:
        """Return a target at a provider whose account an operation can be asked of, whatever its model."""
        targets = (target for route in self._routes.values() for target in route.targets)
        return next((t for t in targets if t.provider == provider and operation in t.relays), None)

    def __iter__(self) -> Iterator[Route]:
        """Iterate over the routes, in the order of precedence."""
        return iter(self._routes.values())

    def __len__(self) -> int:
        return len(self._routes)


class ProviderRoute:
    """A configured provider, addressed as `provider/model`.

    It takes any name if it has a template: so for servers that the catalogue does not know.
    """

    def __init__(
        self,
        known: Mapping[str, Route],
        *,
        template: Route | None,
        recognises: Callable[[str], bool] | None = None,
        price_of: Callable[[str, str], Price | None] | None = None,
    ) -> None:
        """Make one; `known` are its models by upstream name, `template` serves the others if given.

        With `recognises`, it serves only those others that it is true of, and those also by their bare names.
        `price_of` tells what the operator asks for an upstream model under a public name.
        """
        self._known = dict(known)
        self._template = template
        self._recognises = recognises
        self._price_of = price_of

    def route(self, name: str, model: str) -> Route | None:
        """Return the route for an upstream model, under the public name `name`."""
        known = self._known.get(model)
        return known if known is not None else self.unlisted(name, model)

    def unlisted(self, name: str, model: str) -> Route | None:
        """Return the route for an upstream model that nobody has listed, if the provider takes its name."""
        if self._template is None or not _is_plain_name(model):
            return None
        if self._recognises is not None and not self._recognises(model):
            return None
        first = self._template.targets[0]
        target = msgspec.structs.replace(
            first,
            target=msgspec.structs.replace(first.target, model=model),
            whole_target=msgspec.structs.replace(first.whole_target, model=model),
            price=first.price if self._price_of is None else self._price_of(model, name) or first.price,
        )
        return msgspec.structs.replace(self._template, name=name, targets=(target,))

    def recognised(self, name: str, model: str) -> Route | None:
        """Return the route for an upstream model that nobody has listed, if the provider is known to have it."""
        return None if self._recognises is None else self.unlisted(name, model)


_MAX_NAME = 200
_UNSAFE = frozenset(" %?#\\\"'<>")


def _is_plain_name(model: str) -> bool:
    """Whether a name may be passed on: printable, no white space, no way to climb out of a URL's path."""
    is_short = 0 < len(model) <= _MAX_NAME
    return is_short and model.isprintable() and not _UNSAFE.intersection(model) and ".." not in model
