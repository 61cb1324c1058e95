"""What is kept of a request: what was decided and by which numbers, as short as it can be written.

Law: it holds whatever is needed to tell of it (`app.gateway.retelling`), so that any process can, and however the
configuration is by then; nothing is worked out that can be when somebody asks. No content: names, ids, sizes, digests.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from app.cache.semantic import Judged
from app.cache.wishes import CachePolicy
from app.domain.usage.schemas import LegRole, UsageSource
from app.limits.policy import BudgetRule, InFlight, Rule
from app.pipeline.notes import AttemptReason, LayerStep, Skipped, Unstored
from app.stores.accounts import Balance, Denied
from providers.types import Usage


class Whose(NamedTuple):
    """Whose request it is: ids in their usual form."""

    organization_id: str
    team_id: str | None
    key_id: str


class PlaceRecord(NamedTuple):
    """A target's place in the order of a route: its position there, its score and why."""

    position: int
    score: float
    reason: str


class StateRecord(NamedTuple):
    """A target that was not well: its position in the route, its breaker, and how long it was to be left alone."""

    position: int
    breaker: str
    cooled_s: float


class RouteRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A route. `described` is the JSON of an `ExplainedRoute`, its targets in the file's order, as they are when well.

    Without `places`, that is the order in which they are tried.
    """

    described: bytes
    places: Sequence[PlaceRecord] = ()
    unwell: Sequence[StateRecord] = ()


class AttemptRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One upstream call. Times are monotonic nanoseconds; `price` is a `Price`, encoded."""

    number: int
    model: str
    provider: str
    upstream_model: str
    credential: int
    why: AttemptReason
    after: str | None
    waited_ns: int
    started_ns: int
    first_ns: int | None
    ended_ns: int | None
    outcome: str | None
    status: int | None
    error_code: str | None
    leg: LegRole | None
    usage: Usage | None
    usage_source: UsageSource
    cost_nusd: int | None
    price: bytes | None


class PlanRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The rules that bind a request."""

    rules: tuple[Rule, ...]
    in_flight: tuple[InFlight, ...]
    budgets: tuple[BudgetRule, ...]


class GrantRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was reserved: of each window the amount, and what was used with it. `plan` is a `PlanRecord`, encoded.

    `limits` are those that held, where they are not the plan's: so where a worker keeps its share of them.
    """

    plan: bytes
    at_ms: int
    held_nusd: int
    amounts: Sequence[int]
    used: Sequence[int]
    budgets: int
    balances: Sequence[Balance]
    limits: Sequence[int] | None = None


class RefusalRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What refused a reservation. `plan` is a `PlanRecord`, encoded."""

    plan: bytes
    denied: Denied
    message: str


class CacheLook(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a look into the cache came to."""

    key: bytes
    entry_id: str | None
    age_s: int | None
    similarity: float | None
    threshold: float | None
    judged: Sequence[Judged]
    is_stored: bool | None
    unstored: Unstored | None


class CacheRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What the cache did: the setting that binds, what it is set on, what became of the request and why."""

    policy: CachePolicy
    set_by: str
    status: str
    reason: str | None
    look: CacheLook | None = None


class FanoutRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Several models that answered together; of each leg its number, model and outcome."""

    name: str
    strategy: str
    legs: Sequence[tuple[int, str, str]]
    judge: str | None
    fuser: str | None
    reason: str | None


class RequestRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One request. Times are monotonic nanoseconds, but for `took_ns` and the like, which are lengths.

    What was refused before it was understood has no operation.
    """

    whose: Whose | None
    model: str
    operation: str | None
    dialect: str | None
    size_bytes: int
    text_bytes: int
    output_cap: int | None
    is_stream: bool
    status: int
    error_code: str | None
    began_ns: int
    took_ns: int
    first_ns: int | None
    upstream_ns: int
    overhead_ns: int
    cost_nusd: int | None
    steps: Sequence[LayerStep]
    routes: Sequence[RouteRecord] = ()
    attempts: Sequence[AttemptRecord] = ()
    cache: CacheRecord | None = None
    grant: GrantRecord | None = None
    refusal: RefusalRecord | None = None
    skipped: Sequence[Skipped] = ()
    fanout: FanoutRecord | None = None
    degraded: Sequence[str] = ()
    dropped: Sequence[str] = ()
    is_cut: bool = False


_LEAST, _MOST = -(1 << 63), (1 << 64) - 1
"""MessagePack has no more bits for a number; a client may ask for more tokens than that."""
_encode: Any = msgspec.msgpack.Encoder().encode
_decode: Any = msgspec.msgpack.Decoder(RequestRecord).decode
_decode_plan: Any = msgspec.msgpack.Decoder(PlanRecord).decode


def encode_record(record: RequestRecord | PlanRecord) -> bytes:
    """Return the payload of a record; in place of a number that none can hold it has the nearest that it can."""
    try:
        payload: bytes = _encode(record)
    except OverflowError:
        payload = _encode(_bounded(record))
    return payload


def _bounded(value: Any) -> Any:
    if type(value) is int:
        return min(max(value, _LEAST), _MOST)
    if isinstance(value, msgspec.Struct):
        fields = {name: _bounded(getattr(value, name)) for name in value.__struct_fields__}
        return msgspec.structs.replace(value, **fields)
    # A named tuple is written as any other.
    return [_bounded(item) for item in value] if isinstance(value, list | tuple) else value


def read_record(payload: bytes) -> RequestRecord:
    """Return what a payload says; raises `msgspec.DecodeError` for one that is not of this release."""
    record: RequestRecord = _decode(payload)
    return record


def read_plan(payload: bytes) -> PlanRecord:
    """Return the rules that a payload holds."""
    plan: PlanRecord = _decode_plan(payload)
    return plan
