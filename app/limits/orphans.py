"""What becomes of a hold if whoever took it dies. Law: it is charged at its last checkpoint, once, whoever finds it."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from app.domain.usage.codec import decode_events
from app.domain.usage.schemas import UsageEvent
from app.kernel.ids import attempt_id
from app.stores.accounts import BudgetAccount

GATEWAY_DIED = "gateway_died"


class Seed(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a request comes to of which nothing but its admission is known: its input, which a provider may have had.

    Ids are in hexadecimal. Every request that reserves writes one, so that it is no more than it must be.
    """

    request_id: str
    organization_id: str
    team_id: str
    key_id: str
    operation: str
    dialect: str
    provider: str
    model: str
    upstream_model: str
    stream: bool
    input_tokens: int
    cost_nusd: int | None
    tags: dict[str, str]

    def event(self, at: datetime) -> UsageEvent:
        """Return the usage event of the first attempt, of a request admitted at `at`."""
        request_id = UUID(self.request_id)
        return UsageEvent(
            event_id=attempt_id(request_id, 1),
            request_id=request_id,
            attempt=1,
            organization_id=UUID(self.organization_id),
            team_id=UUID(self.team_id) if self.team_id else None,
            key_id=UUID(self.key_id),
            occurred_at=at,
            operation=self.operation,
            dialect=self.dialect,
            provider=self.provider,
            model=self.model,
            upstream_model=self.upstream_model,
            outcome="interrupted",
            stream=self.stream,
            input_tokens=self.input_tokens,
            usage_source="orphan",
            cost_nusd=self.cost_nusd,
            duration_ms=0,
            tags=self.tags,
            error_code=GATEWAY_DIED,
        )


class Orphan(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The accounts that hold money for a request, and what it came to: at first a seed, then events, encoded."""

    budgets: tuple[BudgetAccount, ...]
    seed: Seed | None
    events: bytes = b""

    def usage_events(self, at: datetime) -> list[UsageEvent]:
        """Return what is to be charged, as of the moment of admission."""
        if self.seed is not None:
            return [self.seed.event(at)]
        return [msgspec.structs.replace(event, occurred_at=at) for event in decode_events(self.events)]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Orphan).decode


def seeded(budgets: tuple[BudgetAccount, ...], seed: Seed) -> bytes:
    """Return the payload of a hold that has just been taken."""
    return _encode(Orphan(budgets, seed))


def progressed(budgets: Sequence[BudgetAccount], events: bytes) -> bytes:
    """Return the payload of a hold of which these usage events are known."""
    return _encode(Orphan(tuple(budgets), None, events))


def read_orphan(payload: bytes) -> Orphan:
    """Return what a payload says; raises `msgspec.DecodeError` for one that is not of this release."""
    return _decode(payload)
