"""One inference request on its way through the layers: who asks what, and what has happened to it so far.

Law: it is written by its own layers, one after the other; whoever tells of it at its end only reads.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol
from uuid import UUID

import msgspec

from app.domain.keys.principal import Principal
from app.domain.responses.schemas import KeptResponse
from app.domain.usage.schemas import LegRole
from app.kernel.errors import GatewayError
from app.kernel.ids import uuid_of
from app.limits.accounts import Grant
from app.limits.estimate import Prompt, measure
from app.observability.tracing.record import RequestTrace, new_span_id
from app.pipeline.answer import CacheStatus, Hit
from app.pipeline.attempt import Attempt
from app.pipeline.fanout import Candidate, Fanout, LegReport
from app.pipeline.gate import Visit
from app.pipeline.notes import Notes
from app.pipeline.operation import Asked, Operation
from app.pipeline.options import NO_OPTIONS
from app.pipeline.references import Reference
from app.routing.bending import reading_part
from app.routing.table import NO_ROUTES, Route, RouteTarget
from app.routing.transform import NO_EDITS, edits_for
from providers.types import ChatRequest, Edits

_LOG = logging.getLogger("gateway.limits")


class Rest(Protocol):
    """What is still to come of an upstream call that nobody waits for."""

    async def read_out(self) -> None:
        """Read it to its end, whatever that is. A cancelled call may be followed by `cut`."""
        ...

    async def cut(self) -> None:
        """Let go of the upstream call; does nothing after its end."""
        ...


class Call(Protocol):
    """A call that goes on whatever its client does."""

    def then(self, ending: Callable[[], None]) -> None:
        """Call `ending` when it is over: at once if it is."""
        ...


class Exchange:
    """A request that has been understood: who asks what, and what has happened to it so far.

    `body` is what the client sent, of the type `content_type`, `document` the same decoded, and `text_bytes` how much
    of it a model may read as text, media included; `prompt` tells these apart, once somebody had to know. `grant` is
    what was reserved for it, `given_back` how many grants it gave back before, and `limit_headers` what its client is
    told of its limits. `route` is that of the model that is being tried, `alternatives` are those that it may fall back
    to, by name. `edits` are the operator's changes to the body, and ours. `passed_headers` are the client's that go on
    to a provider of its own dialect. `served` is the attempt whose answer the client gets. `dropped` names, in the
    client's words, what the provider that served was not told. `issued` are ids of what that provider now keeps.
    `references` are those that the body makes, less what the gateway has written out itself. `is_kept` is whether the
    client may come back to the answer; what the gateway keeps of it is `produced`, and it goes on from `previous_id`
    with `new_input`, where that was written out. `say_failure` ends a stream that breaks, where the words for that
    depend on what it has said already. `call` is what answers it if that does not end with its client. `unheard` are
    upstream calls that go on although nobody waits for them. `visit` is its stay behind the worker's gate.
    `cache_status` is what the cache had to do with it, `hit` how it was answered if no provider was asked for it;
    `is_recorded` is whether others may have its answer too. `fanout` is there if several models answer it: each is
    asked by an exchange of its own, whose attempts are `own_attempts` and `part_of` the fan-out's name; `winner` is the
    one whose answer the client gets. `is_translated` is whether that must not be relayed, and `canonical` what it asks
    instead of what the body says. `candidates` are the answers that the client is shown beside the one and
    `leg_reports` what became of each model, both shared by all of them; `fan_reason` says why it is that answer where
    it is not the one that was wanted, and `progress` what to tell a client who waits. `trace` is where its spans
    belong, if tracing is on, and `span_id` its own if it is a part. `notes` are what its layers alone know of it.
    """

    __slots__ = (
        "_own_edits",
        "_request_uuid",
        "alternatives",
        "asked",
        "attempts",
        "body",
        "cache_status",
        "call",
        "candidates",
        "canonical",
        "content_type",
        "deadline_ns",
        "document",
        "dropped",
        "edits",
        "fan_reason",
        "fanout",
        "given_back",
        "grant",
        "hit",
        "is_expired",
        "is_kept",
        "is_recorded",
        "is_settled",
        "is_translated",
        "issued",
        "leg_reports",
        "limit_headers",
        "new_input",
        "notes",
        "operation",
        "options",
        "output_cap",
        "overhead_ns",
        "own_attempts",
        "part_of",
        "passed_headers",
        "previous_id",
        "principal",
        "produced",
        "progress",
        "prompt",
        "references",
        "request_id",
        "route",
        "say_failure",
        "served",
        "span_id",
        "started_ns",
        "text_bytes",
        "trace",
        "unheard",
        "upstream_ns",
        "visit",
        "winner",
    )

    def __init__(
        self,
        *,
        request_id: str,
        principal: Principal,
        operation: Operation,
        route: Route,
        body: bytes,
        document: Mapping[str, Any],
        started_ns: int,
        asked: Asked,
    ) -> None:
        self.request_id = request_id
        self.principal = principal
        self.operation = operation
        self.route = route
        self.body = body
        self.document = document
        self.started_ns = started_ns
        self.asked = asked
        self.content_type = "application/json"
        self.text_bytes = len(body)
        self.prompt: Prompt | None = None
        self.options = NO_OPTIONS
        self.passed_headers: tuple[tuple[str, str], ...] = ()
        self.dropped: tuple[str, ...] = ()
        self.issued: list[str] = []
        self.say_failure: Callable[[GatewayError], bytes] | None = None
        self.references: list[Reference] = []
        self.is_kept = self.is_expired = self.is_settled = False
        self.produced: KeptResponse | None = None
        self.previous_id: str | None = None
        self.new_input: list[dict[str, Any]] | None = None
        self.alternatives: Mapping[str, Route] = NO_ROUTES
        self.edits = self._own_edits = NO_EDITS
        self.output_cap: int | None = None
        self.attempts: list[Attempt] = []
        self.deadline_ns: int | None = None
        self.grant: Grant | None = None
        self.limit_headers: tuple[tuple[bytes, bytes], ...] = ()
        self.served: Attempt | None = None
        self.call: Call | None = None
        self.unheard: list[Rest] = []
        self.visit: Visit | None = None
        self.fanout: Fanout | None = None
        self.winner: Exchange | None = None
        self.canonical: ChatRequest | None = None
        self.is_translated = False
        self.own_attempts: list[Attempt] | None = None
        self.part_of: str | None = None
        self.candidates: list[Candidate] = []
        self.leg_reports: list[LegReport] = []
        self.fan_reason: str | None = None
        self.progress = ""
        self.notes = Notes()
        self.cache_status: CacheStatus = "off"
        self.hit: Hit | None = None
        self.is_recorded = False
        self.upstream_ns = self.overhead_ns = self.given_back = self.span_id = 0
        self.trace: RequestTrace | None = None
        self._request_uuid: UUID | None = None

    @property
    def stream(self) -> bool:
        """Whether the answer is to come as a stream."""
        return self.asked.stream

    @property
    def is_part(self) -> bool:
        """Whether it is the call of one model of several."""
        return self.own_attempts is not None

    @property
    def request_uuid(self) -> UUID:
        """The request's id as a UUID."""
        if self._request_uuid is None:
            self._request_uuid = uuid_of(self.request_id)
        return self._request_uuid

    def measured(self) -> Prompt:
        """Return the size of the prompt, measured once; if that fails, all of it counts as text."""
        if self.prompt is None:
            is_json = self.content_type == "application/json"
            try:
                prompt = measure(self.document, size_bytes=self.text_bytes)
            except Exception:  # noqa: BLE001 - whatever it is, what was used must be charged and what is held be settled
                _LOG.exception("the prompt of request %s is not measured", self.request_id)
                prompt = Prompt(self.text_bytes)
            # A form's file stands beside what its document says.
            self.prompt = prompt if is_json else prompt._replace(media_bytes=len(self.body))
        return self.prompt

    @property
    def request_hex(self) -> str:
        """The request's id in hexadecimal."""
        return self.request_id.replace("-", "")

    @property
    def created_s(self) -> int:
        """When the request came, in seconds since the Unix epoch; its id, a UUIDv7, says so."""
        return (self.request_uuid.int >> 80) // 1_000

    def enter(self, route: Route) -> None:
        """Go on with a route, and its operator's changes to the body."""
        self.route = route
        self.edits = edits_for(
            route.transform, self.document, vocabulary=self.operation.vocabulary, own=self._own_edits
        )

    def edits_to_read(self) -> Edits:
        """Return the changes to the body before it becomes canonical: what else its operator wants is done to that."""
        transform, vocabulary = self.route.transform, self.operation.vocabulary
        part = None if transform is None else reading_part(transform)
        return edits_for(part, self.document, vocabulary=vocabulary, own=self._own_edits)

    @property
    def asked_models(self) -> tuple[str, ...]:
        """The names by which limits know what it asks: that of its route, and those of all that answer together."""
        name, fanout = self.route.name, self.fanout
        return (name,) if fanout is None else tuple(dict.fromkeys((name, *(route.name for route in fanout.routes))))

    def every_target(self) -> Iterator[RouteTarget]:
        """Iterate over all targets that may serve it."""
        yield from self.route.targets
        for route in self.alternatives.values():
            yield from route.targets

    def edit(self, *, put: Mapping[str, bytes] = NO_EDITS.put, drop: frozenset[str] = NO_EDITS.drop) -> None:
        """Change the body, whichever route it takes."""
        own = self._own_edits
        self._own_edits = msgspec.structs.replace(own, put={**own.put, **put}, drop=own.drop | drop)
        self.enter(self.route)

    def leg(self, route: Route, *, is_whole: bool = False, canonical: ChatRequest | None = None) -> "Exchange":
        """Return a call of its own for this request, at another model: its attempts are this one's too.

        `is_whole` asks for a whole canonical answer, whatever the client wants; `canonical` is what is asked instead.
        """
        made = Exchange(
            request_id=self.request_id,
            principal=self.principal,
            operation=self.operation,
            route=route,
            body=self.body,
            document=self.document,
            started_ns=self.started_ns,
            asked=msgspec.structs.replace(self.asked, stream=False) if is_whole else self.asked,
        )
        made.attempts, made.own_attempts, made.notes = self.attempts, [], self.notes
        made.part_of = None if self.fanout is None else self.fanout.name
        made.canonical, made.is_translated = canonical, is_whole or canonical is not None
        made.content_type, made.text_bytes, made.prompt = self.content_type, self.text_bytes, self.prompt
        made.options, made.passed_headers = self.options, self.passed_headers
        made.output_cap, made.deadline_ns, made.is_recorded = self.output_cap, self.deadline_ns, self.is_recorded
        made.candidates, made.leg_reports, made.cache_status = self.candidates, self.leg_reports, self.cache_status
        made.is_kept, made.previous_id, made.new_input = self.is_kept, self.previous_id, self.new_input
        made._own_edits = self._own_edits
        if self.trace is not None:
            made.trace, made.span_id = self.trace, new_span_id()
        made.enter(route)
        return made

    def take_produced(self) -> KeptResponse | None:
        """Return what the gateway is to keep of the answer, once."""
        made = self if self.winner is None else self.winner
        kept, made.produced = made.produced, None
        return kept

    def begin(self, attempt: Attempt) -> None:
        """Take note of an attempt that begins."""
        attempt.fanout = self.part_of
        self.attempts.append(attempt)
        if self.trace is not None:
            attempt.span_id, attempt.parent_span_id = new_span_id(), self.span_id or self.trace.span_id
        if self.own_attempts is not None:
            self.own_attempts.append(attempt)

    def assign(self, part: LegRole) -> None:
        """Say in the ledger what part it had in a fan-out: by the attempt that serves, or its last."""
        attempt = self.served or (self.own_attempts[-1] if self.own_attempts else None)
        if attempt is not None:
            attempt.leg = part

    def in_its_words(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return what the client calls fields that are named as in OpenAI's chat completions."""
        return tuple(self.operation.vocabulary.path(name) for name in names) if names else ()

    def adopt(self, attempt: Attempt) -> None:
        """Answer the client with what an attempt has brought."""
        self.served = attempt
        self.say_failure = attempt.say_failure
        self.dropped = self.in_its_words(attempt.dropped)
        self.issued += attempt.issued

    def forget_body(self) -> None:
        """Let go of what the client sent; only for an exchange at its end."""
        self.body = b""
        self.document = {}
        if self.winner is not None:
            self.winner.forget_body()

    def expire(self) -> None:
        """Note that the caller's time has run out."""
        self.is_expired = True
        if self.winner is not None:
            self.winner.expire()

    @property
    def last_attempt(self) -> Attempt | None:
        """The attempt that serves, or the last that tried."""
        if self.served is not None:
            return self.served
        attempts = self.attempts if self.own_attempts is None else self.own_attempts
        return attempts[-1] if attempts else None

    @property
    def provider(self) -> str | None:
        """Who serves it, or served it whose answer is given again."""
        if self.hit is not None:
            return self.hit.provider
        attempt = self.last_attempt
        return None if attempt is None or attempt.is_local else attempt.provider

    @property
    def calls(self) -> int:
        """How many calls it took: an answer of the gateway's own is none."""
        last = self.last_attempt
        return len(self.attempts) - (last is not None and last.is_local)

    @property
    def model(self) -> str:
        """The public name of what serves it: of several models that answer, the one that did, or that tried last."""
        attempt = None if self.fanout is None or self.hit is not None else self.last_attempt
        return self.route.name if attempt is None else attempt.route.name

    @property
    def cost_nusd(self) -> int | None:
        """What all attempts cost so far; absent if one that was charged has no price."""
        total_nusd = 0
        for attempt in self.attempts:
            if attempt.cost_nusd is None:
                return None
            total_nusd += attempt.cost_nusd
        return total_nusd
