"""What layers alone know of one request, noted while it is served. Law: tuples of what is there; nothing is worked out.

What can be read off the exchange at its end is not noted.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from app.cache.likes import Look
from app.cache.shelf import Found, Spot
from app.cache.wishes import Unkept, Wish
from app.domain.keys.principal import Principal
from app.kernel.errors import GatewayError
from app.limits.plan import Plan
from app.pipeline.transcript import Transcript
from app.routing.candidates import Candidate, Ranked
from app.routing.table import Route
from app.stores.accounts import Denied

LayerName = Literal["authentication", "body", "gate", "idempotency", "cache", "limits", "upstream", "settlement"]
Verdict = Literal["passed", "waited", "refused", "answered", "replayed", "failed"]
AttemptReason = Literal["first", "retry", "fallback", "hedge"]
Unstored = Literal["not_asked", "another_model", "not_safe", "not_taken"]
"""Why an answer is not kept: the request wants it so; it is another model's than was asked for; it may not be given to
others; or it is too long, or the store did not take it."""


class LayerStep(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A layer's verdict, and when it began and ended (monotonic nanoseconds).

    `error_code` is why it let nobody pass: our own code, else the class of what stopped it.
    """

    layer: LayerName
    verdict: Verdict
    began_ns: int
    ended_ns: int
    error_code: str | None = None


def stopped(layer: LayerName, error: BaseException, *, began_ns: int, ended_ns: int) -> LayerStep:
    """Return the step of a layer that refused, or that was left while it worked."""
    if isinstance(error, GatewayError):
        return LayerStep(layer, "refused", began_ns, ended_ns, error.code)
    return LayerStep(layer, "failed", began_ns, ended_ns, type(error).__name__)


class Order(NamedTuple):
    """In which order a route's targets were tried, and what was known of them."""

    route: Route
    candidates: Sequence[Candidate]
    ranked: Sequence[Ranked]


class Skipped(NamedTuple):
    """A target whose turn it was, and why it was passed over."""

    model: str
    target: str
    reason: str


class Refusal(NamedTuple):
    """What a store said of a reservation."""

    denied: Denied
    plan: Plan
    message: str


class CacheNote:
    """How the cache came to its verdict: where the answer has its place, or why it has none; whether it was kept.

    `found` is an answer that was there, also where the request was refused it. `is_stored` is absent while nobody has
    an answer to keep.
    """

    __slots__ = ("found", "is_stored", "look", "place", "unstored", "wish")

    def __init__(self, wish: Wish, place: Spot | Unkept) -> None:
        self.wish = wish
        self.place = place
        self.look = Look()
        self.found: Found | None = None
        self.is_stored: bool | None = None
        self.unstored: Unstored | None = None


class Notes:
    """The notes of one request; the legs of a fan-out share them.

    `principal` and `model` are known before it has been understood. `asked_cap` is the most output that the client asks
    for, in tokens. `settled_ns` is when all was settled, 0 before. `transcript` is there if bodies are kept.
    """

    __slots__ = (
        "asked_cap",
        "cache",
        "model",
        "orders",
        "principal",
        "refusal",
        "settled_ns",
        "skipped",
        "steps",
        "transcript",
    )

    def __init__(self) -> None:
        self.principal: Principal | None = None
        self.model: str | None = None
        self.asked_cap: int | None = None
        self.steps: list[LayerStep] = []
        self.orders: list[Order] = []
        self.skipped: list[Skipped] = []
        self.cache: CacheNote | None = None
        self.refusal: Refusal | None = None
        self.settled_ns = 0
        self.transcript: Transcript | None = None
