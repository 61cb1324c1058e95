"""One upstream call, from its start to its usage event.

Law: the ledger, metrics, spans and the decision trace are all written from it; nothing else times a call.
"""

from collections.abc import Callable
from typing import Literal, Protocol

from app.domain.prices import Price, cost
from app.domain.usage.schemas import LegRole, UsageSource
from app.kernel.errors import GatewayError
from app.pipeline.notes import AttemptReason
from app.routing.health import Lane
from app.routing.table import Route, RouteTarget
from providers.types import Completion, Usage

Outcome = Literal["ok", "refused", "rate_limited", "error", "timeout", "interrupted", "cancelled"]


class Progress(Protocol):
    """How far a streamed answer has come."""

    @property
    def tokens_seen(self) -> int:
        """Roughly how many output tokens were delivered."""
        ...

    @property
    def is_owed(self) -> bool:
        """Whether the provider bills what is still to come, whoever reads it."""
        ...


class Attempt:
    """One upstream call, from its start to its usage event. Times are monotonic nanoseconds.

    `model` is the public name that was called, `label` what metrics call it; `choice` is the target, `lane` how that
    fares. `completion` is a whole answer that had to be translated. `price_vendor` is whose price in the catalogue
    `price` is; absent where the operator wrote it. `fanout` names what it is a part of, `leg` which part, once that is
    known. `why` is why it was made, `after` the error code of the one before that made it needed, and `waited_ns` how
    long was waited before it. What an attempt brings forth (`live`, `say_failure`, `dropped`, `issued`) is the
    exchange's only if it is what serves. `is_local` is whether the gateway answered itself, and called nobody.
    `span_id` and `parent_span_id` are 0 where the request is not traced.
    """

    __slots__ = (
        "after",
        "choice",
        "completion",
        "cost_nusd",
        "dropped",
        "ended_ns",
        "error_code",
        "fanout",
        "first_ns",
        "is_local",
        "issued",
        "label",
        "lane",
        "leg",
        "live",
        "model",
        "number",
        "outcome",
        "parent_span_id",
        "price",
        "price_vendor",
        "provider",
        "route",
        "say_failure",
        "span_id",
        "started_ns",
        "status",
        "upstream_model",
        "usage",
        "usage_source",
        "waited_ns",
        "why",
    )

    def __init__(
        self,
        number: int,
        *,
        route: Route,
        choice: RouteTarget,
        price: Price | None,
        started_ns: int,
        price_vendor: str | None = None,
        lane: Lane | None = None,
    ) -> None:
        self.number = number
        self.route = route
        self.choice = choice
        self.model = route.name
        self.label = route.label
        self.provider = choice.provider
        self.upstream_model = choice.target.model
        self.lane = lane
        self.live: Progress | None = None
        self.completion: Completion | None = None
        self.say_failure: Callable[[GatewayError], bytes] | None = None
        self.dropped: tuple[str, ...] = ()
        self.issued: list[str] = []
        self.is_local = False
        self.price = price
        self.price_vendor = price_vendor
        self.started_ns = started_ns
        self.first_ns: int | None = None
        self.ended_ns: int | None = None
        self.outcome: Outcome | None = None
        self.status: int | None = None
        self.usage: Usage | None = None
        self.usage_source: UsageSource = "none"
        self.cost_nusd: int | None = None
        self.error_code: str | None = None
        self.fanout: str | None = None
        self.leg: LegRole | None = None
        self.span_id = self.parent_span_id = 0
        self.why: AttemptReason = "first"
        self.after: str | None = None
        self.waited_ns = 0

    def estimated(self, input_tokens: int, output_tokens: int) -> "Attempt":
        """Return the attempt as if it had ended now with so many tokens, estimated."""
        copy = Attempt(
            self.number,
            route=self.route,
            choice=self.choice,
            price=self.price,
            started_ns=self.started_ns,
        )
        copy.first_ns, copy.status = self.first_ns, self.status
        copy.fanout, copy.leg = self.fanout, self.leg
        copy.usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens, estimated=True)
        copy.cost_nusd = None if self.price is None else cost(self.price, copy.usage)
        return copy
