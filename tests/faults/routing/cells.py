"""The cells of the matrix, and what must come of each: derived from a few rules, never from what was seen.

The rules: what fails before content is asked again (once for each of `retries`) of the next target in turn; another
target of the route is well, so it answers at the second attempt; whoever asked to be left alone, or refuses its only
credential, is not asked again; what is wrong with the request goes nowhere else, but for a model with a larger context
or another policy; once the client has had content, all is over. A model that is fallen back to is well.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from faults.dialects.clients import CHAT, GEMINI, MESSAGES, RESPONSES, Client
from faults.routing import tongues
from faults.routing.points import POINTS, SICK, SPARE, WELL, Kind, Point
from faults.routing.tongues import TONGUES, Tongue
from servers.configs import PRICE

CLIENTS = (CHAT, MESSAGES, GEMINI, RESPONSES)
_SPOKEN = {
    "chat": (tongues.OPENAI, tongues.ANTHROPIC),
    "messages": (tongues.ANTHROPIC, tongues.OPENAI),
    "gemini": (tongues.GEMINI, tongues.ANTHROPIC),
    "responses": (tongues.OPENAI,),
}
"""The wires that each client's answers come from: its own, where a provider takes its bytes unchanged, and another."""
_CALM: dict[str, float] = {"connect_s": 8, "first_token_s": 12, "idle_s": 12, "total_s": 60}
_QUICK = {"connect_s": 2.5, "first_token_s": 2.5, "idle_s": 2.5, "total_s": 60}
"""Of a model whose provider hangs: whoever is well behind the same model has to answer within them too."""
_QUICK_LATE = {**_CALM, "idle_s": 2.5}
"""Of one that hangs after content: that has to come first, however busy the machine is."""
_FALLBACKS = {"any": ["spare"], "context_length": ["spare-long"], "content_policy": ["spare-lax"]}
_BY_KIND = {Kind.TOO_LONG: "spare-long", Kind.BLOCKED: "spare-lax"}


class Leg(NamedTuple):
    """One attempt: who is called, as the ledger and the headers name it, and how that ends."""

    word: str
    provider: str
    model: str
    outcome: str


class Cell(NamedTuple):
    """A client, a provider's wire, a point of failure, and what else there is."""

    client: Client
    tongue: Tongue
    point: Point
    stream: bool
    has_other: bool
    has_fallback: bool

    @property
    def name(self) -> str:
        """The public name of the cell's own model, and that of its own provider: nobody else's health is in it."""
        rest = f"{'other' if self.has_other else 'alone'}.{'spare' if self.has_fallback else 'only'}"
        return f"{self.client.name}.{self.tongue.name}.{'stream' if self.stream else 'whole'}.{self.point.name}.{rest}"

    @property
    def legs(self) -> list[Leg]:
        """The attempts that there must be."""
        point = self.point
        sick = Leg(SICK, self.name, self.name, point.outcome)
        if point.kind.is_retried and self.has_other:
            return [sick, Leg(WELL, f"well-{self.tongue.name}", self.name, "ok")]
        tries = 1 + point.retries if point.kind is Kind.BROKEN else 1
        legs = [sick] * tries
        if self.has_fallback and point.kind not in {Kind.WRONG, Kind.LATE}:
            model = f"{_BY_KIND.get(point.kind, 'spare')}-{self.tongue.name}"
            legs.append(Leg(SPARE, f"spare-{self.tongue.name}", model, "ok"))
        return legs


def cells_of(client: Client) -> Iterator[Cell]:
    """Return every cell of a client."""
    for tongue, point in itertools.product(_SPOKEN[client.name], POINTS):
        # Where nobody else may be asked it is enough that everybody or nobody is there.
        is_over = point.kind in {Kind.WRONG, Kind.LATE}
        for stream, has_other, has_fallback in itertools.product(point.streamed, (False, True), (False, True)):
            if not is_over or has_other == has_fallback:
                yield Cell(client, tongue, point, stream, has_other, has_fallback)


def config_of(addresses: Mapping[str, str], *, key: str) -> dict[str, Any]:
    """Return the file: a provider and a model for each cell, and for each wire those that are well.

    `addresses` are origins: of the fakes, and of the places where nobody can be reached. Breakers are on, as always.
    """
    providers: dict[str, Any] = {}
    models: dict[str, Any] = {}
    for tongue in TONGUES:
        for word, name in ((WELL, "well"), (SPARE, "spare")):
            providers[f"{name}-{tongue.name}"] = _provider(tongue, addresses[word], key=key)
        for name in ("spare", "spare-long", "spare-lax"):
            target = {"provider": f"spare-{tongue.name}", "model": tongue.model}
            models[f"{name}-{tongue.name}"] = {"targets": [target], "price": dict(PRICE), "timeouts": _CALM}
    for cell in (cell for client in CLIENTS for cell in cells_of(client)):
        providers[cell.name] = _provider(cell.tongue, addresses[cell.point.address], key=key)
        models[cell.name] = _model(cell)
    return {"providers": providers, "models": models}


def _provider(tongue: Tongue, origin: str, *, key: str) -> dict[str, Any]:
    return {**tongue.settings, "base_url": origin + tongue.settings["base_url"], "api_key": f"env:{key}"}


def _timeouts(point: Point) -> dict[str, float]:
    if not point.hangs:
        return _CALM
    return _QUICK_LATE if point.kind is Kind.LATE else _QUICK


def _model(cell: Cell) -> dict[str, Any]:
    tongue, point = cell.tongue, cell.point
    others = [f"well-{tongue.name}"] if cell.has_other else []
    model: dict[str, Any] = {
        "targets": [{"provider": provider, "model": tongue.model} for provider in (cell.name, *others)],
        "balance": "priority",
        "retries": point.retries,
        "price": dict(PRICE),
        "timeouts": _timeouts(point),
    }
    if cell.has_fallback:
        model["fallbacks"] = {why: [f"{name}-{tongue.name}" for name in names] for why, names in _FALLBACKS.items()}
    return model
