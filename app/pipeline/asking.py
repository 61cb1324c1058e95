"""Where the answer to a request would be kept. Law: pure; what has no answer for others has no place."""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from app.cache.question import Ground, Question, question_of, question_of_document, wants_variety
from app.cache.shelf import Spot
from app.cache.wishes import Unkept, Wish
from app.domain.keys.principal import Principal
from app.domain.usage.entries import partition_of
from app.pipeline.exchange import Exchange
from app.pipeline.fanout import Fanout
from app.pipeline.hosted import find_hosted_tool
from app.pipeline.operation import Operation
from app.routing.table import Route
from app.stores.cache import Owner, Place
from providers.errors import ProviderError
from providers.types import ChatRequest

_DOCUMENTS = frozenset({"embeddings", "moderations", "rerank"})
"""What is no conversation, and has one answer."""
_COMPLETIONS = "completions"
_OF_THE_WIRE = frozenset({"anthropic-version"})
"""Headers that say how the answer is written, not what it is."""
_JSON = "application/json"
_MOST_ROUTES = 1_000


class Asking:
    """Makes places of requests. One for each worker."""

    def __init__(self) -> None:
        self._targets: dict[str, tuple[Route, bytes]] = {}

    def place(self, exchange: Exchange, wish: Wish) -> Spot | Unkept:
        """Return where the answer is kept, or why it has no place."""
        if exchange.references:
            return "references"
        if exchange.content_type != _JSON:
            return "form"
        if exchange.fanout is not None and _shows_all(exchange.operation, exchange.fanout):
            return "candidates"
        principal = exchange.principal
        ground = Ground(
            scope=_scope_of(principal, wish),
            operation=exchange.operation.name,
            model=exchange.route.name,
            targets=self._targets_of(exchange),
            headers=tuple(header for header in exchange.passed_headers if header[0] not in _OF_THE_WIRE),
        )
        try:
            question = _question_of(exchange, ground, wish)
        except (ProviderError, TypeError, ValueError, AttributeError, LookupError, RecursionError):
            # Whoever is asked says what is wrong with it.
            return "unreadable"
        if not isinstance(question, Question):
            return question
        owner = Owner(partition_of(principal.organization_id), principal.organization_id.hex)
        return Spot(Place(owner, ground.scope, question.key), question)

    def _targets_of(self, exchange: Exchange) -> bytes:
        """Return what tells those that may serve from others, and how they are asked."""
        if exchange.fanout is None:
            return self._targets_of_route(exchange.route)
        fanout = exchange.fanout
        said = msgspec.json.encode(
            [fanout.said, [self._targets_of_route(route).hex() for route in fanout.routes]], order="sorted"
        )
        return hashlib.blake2b(said, digest_size=16).digest()

    def _targets_of_route(self, route: Route) -> bytes:
        """Return what tells a route's targets from others, and how its operator changes requests to them."""
        known = self._targets.get(route.name)
        if known is not None and known[0] is route:
            return known[1]
        targets = sorted((target.provider, target.target.model, target.target.base_url) for target in route.targets)
        said = msgspec.json.encode([targets, route.transform], order="sorted")
        found = hashlib.blake2b(said, digest_size=16).digest()
        if len(self._targets) >= _MOST_ROUTES:
            self._targets.clear()
        self._targets[route.name] = (route, found)
        return found


def _question_of(exchange: Exchange, ground: Ground, wish: Wish) -> Question | Unkept:
    operation, document = exchange.operation, exchange.document
    if operation.name in _DOCUMENTS:
        return question_of_document(document, ground)
    if operation.parse is None or operation.estimate is not None:
        return "operation"
    bar = _bar_of(operation, document)
    if bar is not None:
        return bar
    request = operation.parse(document, exchange.asked)
    if not isinstance(request, ChatRequest):
        return "operation"
    if wants_variety(request) and (request.n > 1 or not wish.is_chosen):
        return "choices" if request.n > 1 else "temperature"
    is_relayed = any(operation.relay in target.relays for target in exchange.route.targets)
    return question_of(request, ground, relayed=document if is_relayed else None, is_semantic=wish.semantic != "off")


def _shows_all(operation: Operation, fanout: Fanout) -> bool:
    """Whether the answers of all models are shown: then no one answer is what was asked for."""
    return fanout.spec.strategy == "compare" or (fanout.spec.return_candidates and operation.has_candidates)


def _bar_of(operation: Operation, document: Mapping[str, Any]) -> Unkept | None:
    """Return what in a body makes its answer its own."""
    if find_hosted_tool(document) is not None:
        return "hosted_tools"
    is_echo = operation.name == _COMPLETIONS and (document.get("echo") or document.get("logprobs") is not None)
    return "completion_options" if is_echo else None


def _scope_of(principal: Principal, wish: Wish) -> str:
    """Return who shares the answer; whoever has no team shares it with nobody else."""
    if wish.scope == "organization":
        return f"organization:{principal.organization_id.hex}"
    if wish.scope == "team" and principal.team_id is not None:
        return f"team:{principal.team_id.hex}"
    return f"key:{principal.key_id.hex}"
