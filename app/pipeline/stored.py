"""The layer of state between requests: what a body refers to must be the caller's, and what is answered is kept.

Law: a reference is resolved by what was issued to the organisation, never by what a vendor would accept; whoever knows
an id at a vendor could use it with the vendor's key.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol
from uuid import UUID

import msgspec

from app.domain.responses.schemas import Issued, KeptResponse
from app.kernel.errors import GatewayError, InvalidRequest, NotFound
from app.pipeline.answer import Answer, LiveBody
from app.pipeline.exchange import Exchange
from app.pipeline.references import ITEM, ITEM_REFERENCE, Reference
from app.pipeline.ring import Next
from app.routing.table import NO_ROUTES, RouteTarget

_LOG = logging.getLogger("gateway.stored")
_PREVIOUS = "previous_response_id"
_STORED_KINDS = frozenset({_PREVIOUS, ITEM_REFERENCE})
MAX_REFERENCES = 1_000


class Store(Protocol):
    """Remembers what was issued and answered."""

    async def keep(self, kept: KeptResponse, *, organization_id: UUID) -> bool:
        """Keep a response; returns whether it was small enough."""
        ...

    async def remember(self, ids: Sequence[str], *, provider: str, organization_id: UUID) -> None:
        """Remember what a provider keeps."""
        ...

    async def issued(self, ids: Sequence[str], *, organization_id: UUID) -> dict[str, Issued]:
        """Return those of the ids that the organisation may refer to."""
        ...

    async def conversation(self, response_id: str, *, organization_id: UUID) -> list[KeptResponse]:
        """Return a response and all that it went on from, the first one first."""
        ...

    async def find(self, response_id: str, *, organization_id: UUID) -> KeptResponse | None:
        """Return a kept response."""
        ...


class Stored:
    """Resolves references before the call, and keeps what is to be kept before the answer's last byte."""

    def __init__(self, store: Store, *, may_store: Callable[[], bool]) -> None:
        """Make the layer; `may_store` is whether the operator allows responses to be kept."""
        self._store = store
        self._may_store = may_store

    async def __call__(self, exchange: Exchange, following: Next) -> Answer:
        """Answer; raises `NotFound` for a reference to what is not the caller's."""
        await self.prepare(exchange)
        answer = await following(exchange)
        if not exchange.operation.keeps:
            return answer
        if answer.live is not None:
            answer.live = _KeptBody(answer.live, self, exchange)
        else:
            await self.keep(exchange)
        return answer

    # -- before the call ----------------------------------------------------------------------------------------------

    async def prepare(self, exchange: Exchange) -> None:
        """Resolve what a request refers to, and decide whether its answer is kept; nothing is kept yet.

        Raises `NotFound` for a reference to what is not the caller's.
        """
        if exchange.references:
            await self._resolve(exchange)
        if exchange.operation.keeps:
            self._decide(exchange)

    def _decide(self, exchange: Exchange) -> None:
        """Let a response be stored unless the client or the operator says no; the operator's no is told upstream."""
        asked = exchange.document.get("store")
        if exchange.operation.stores and not self._may_store():
            if asked:
                raise InvalidRequest("responses are not stored by this gateway: send store: false", param="store")
            exchange.edit(put={"store": b"false"})
            asked = False
        exchange.is_kept = exchange.operation.stores is not None and asked is not False

    async def _resolve(self, exchange: Exchange) -> None:
        """Check every reference, go where the state is, and write out what the gateway itself has kept."""
        references, organization_id = exchange.references, exchange.principal.organization_id
        if len(references) > MAX_REFERENCES:
            raise InvalidRequest(
                f"a request may refer to at most {MAX_REFERENCES} stored objects", param=references[0].path
            )
        # The account is the organisation's alone, so that all there is in it is the organisation's.
        is_own = all(target.is_dedicated_to(organization_id) for target in exchange.route.targets)
        if not self._may_store():
            if is_own:
                exchange.alternatives = NO_ROUTES
                return
            self._refuse_stored(references)
        ids = [reference.id for reference in references if reference.id is not None]
        issued = await self._store.issued(ids, organization_id=organization_id) if ids else {}
        found: list[tuple[Reference, Issued]] = []
        for reference in references:
            known = issued.get(reference.id or "")
            if known is None and not is_own and (reference.kind != ITEM or _loads_items(exchange)):
                raise _not_found(reference)
            if known is not None and reference.kind != ITEM:
                found.append((reference, known))
        for provider in {known.provider for _, known in found if known.provider is not None}:
            _narrow(exchange, provider, found[0][0])
        written = {reference for reference, known in found if known.provider is None}
        if len(written) < len(references):
            # What is not written out means something else in another account: perhaps somebody else's.
            exchange.alternatives = NO_ROUTES
        exchange.references = [one for one in references if one.kind != ITEM and one not in written]
        if written:
            await self._write_out(exchange, found)

    @staticmethod
    def _refuse_stored(references: Sequence[Reference]) -> None:
        for reference in references:
            if reference.kind in _STORED_KINDS:
                raise InvalidRequest("responses are not stored by this gateway", param=reference.path)

    async def _write_out(self, exchange: Exchange, found: Sequence[tuple[Reference, Issued]]) -> None:
        """Replace references to what the gateway keeps by what they mean."""
        document = dict(exchange.document)
        given = document.get("input")
        items = [{"role": "user", "content": given}] if isinstance(given, str) else list(given or [])
        exchange.new_input = [item for item in items if isinstance(item, dict)]
        for reference, known in found:
            if known.provider is None and reference.kind == ITEM_REFERENCE:
                items = await self._with_item(items, reference, known, exchange)
        previous = next((pair for pair in found if pair[0].kind == _PREVIOUS and pair[1].provider is None), None)
        if previous is not None:
            items = [*await self._history(previous[0], exchange), *items]
            exchange.previous_id = document.pop(_PREVIOUS)
        document["input"] = items
        exchange.document = document
        exchange.body = msgspec.json.encode(document)
        exchange.text_bytes = len(exchange.body)

    async def _history(self, reference: Reference, exchange: Exchange) -> list[dict[str, Any]]:
        organization_id = exchange.principal.organization_id
        kept = await self._store.conversation(reference.id or "", organization_id=organization_id)
        if not kept:
            raise _not_found(reference)
        return [item for one in kept for item in (*one.input, *one.output)]

    async def _with_item(self, items: list[Any], reference: Reference, known: Issued, exchange: Exchange) -> list[Any]:
        """Return the input with one item in place of the reference to it."""
        organization_id = exchange.principal.organization_id
        kept = await self._store.find(known.response_id or "", organization_id=organization_id)
        meant = next((item for item in kept.output if item.get("id") == reference.id), None) if kept else None
        if meant is None:
            raise _not_found(reference)
        return [meant if _refers(item, reference) else item for item in items]

    # -- after the call -----------------------------------------------------------------------------------------------

    async def keep(self, exchange: Exchange) -> None:
        """Keep what was answered. What has been paid for is not refused because it cannot be kept."""
        attempt, organization_id = exchange.last_attempt, exchange.principal.organization_id
        try:
            if exchange.issued and attempt is not None:
                ids, exchange.issued = exchange.issued, []
                await self._store.remember(ids, provider=attempt.provider, organization_id=organization_id)
            kept = exchange.take_produced()
            if kept is not None and not await self._store.keep(kept, organization_id=organization_id):
                _LOG.warning("the response of request %s is too large to be kept", exchange.request_id)
        except GatewayError as error:
            _LOG.warning("the response of request %s is not kept: %s", exchange.request_id, error.message)


def _refers(item: Any, reference: Reference) -> bool:
    return isinstance(item, dict) and item.get("type") == ITEM_REFERENCE and item.get("id") == reference.id


def _loads_items(exchange: Exchange) -> bool:
    """Whether a provider that may be asked has a store of its own, out of which an id alone brings an item."""
    return any(exchange.operation.stores in target.relays for target in exchange.route.targets)


def _not_found(reference: Reference) -> NotFound:
    return NotFound(
        f"{reference.path} names nothing that this gateway has given to the organisation", param=reference.path
    )


def _narrow(exchange: Exchange, provider: str, reference: Reference) -> None:
    """Leave only the targets of the provider that keeps what is referred to."""
    kept: tuple[RouteTarget, ...] = tuple(
        target
        for target in exchange.route.targets
        if target.provider == provider and exchange.operation.relay in target.relays
    )
    if not kept:
        raise NotFound(
            f"{reference.path} names what another provider keeps than those of {exchange.route.name!r}",
            param=reference.path,
        )
    exchange.route, exchange.alternatives = msgspec.structs.replace(exchange.route, targets=kept), NO_ROUTES


class _KeptBody:
    """A live answer that is kept before its last bytes are given away."""

    __slots__ = ("_exchange", "_inner", "_layer", "is_finished")

    def __init__(self, inner: LiveBody, layer: Stored, exchange: Exchange) -> None:
        self._inner = inner
        self._layer = layer
        self._exchange = exchange
        self.is_finished = False

    async def read(self) -> bytes:
        """Return the next bytes."""
        data = await self._inner.read()
        if self._inner.is_finished and not self.is_finished:
            await self._layer.keep(self._exchange)
            self.is_finished = True
        return data

    def close(self) -> None:
        """Let go of the upstream call."""
        self._inner.close()


__all__ = ["Store", "Stored"]
