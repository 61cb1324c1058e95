"""One inference request on its way through the layers, and the answer on its way back."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

import msgspec

from app.cache.answers import Answered
from app.domain.keys.principal import Principal
from app.domain.prices import Price, cost
from app.domain.responses.schemas import KeptResponse
from app.domain.usage.schemas import LegRole, UsageSource
from app.kernel.errors import GatewayError
from app.kernel.ids import uuid_of
from app.limits.accounts import Grant
from app.limits.estimate import Prompt, measure
from app.observability.tracing.record import RequestTrace, new_span_id
from app.pipeline.fanout import Fanout
from app.pipeline.gate import Visit
from app.pipeline.notes import AttemptReason, Notes
from app.pipeline.options import NO_OPTIONS
from app.pipeline.references import Reference
from app.routing.health import Lane
from app.routing.table import NO_ROUTES, Route, RouteTarget
from app.routing.transform import NO_EDITS, edits_for
from app.routing.vocabulary import CHAT, Vocabulary
from providers.protocol import ChatDecoder
from providers.types import ChatRequest, Completion, EmbeddingRequest, Usage

Outcome = Literal["ok", "refused", "rate_limited", "error", "timeout", "interrupted", "cancelled"]
HitStatus = Literal["exact", "semantic", "coalesced"]
CacheStatus = Literal["off", "bypass", "miss", "exact", "semantic", "coalesced"]


class Attempt:
    """One upstream call, from its start to its usage event. Times are monotonic nanoseconds.

    `model` is the public name that was called, `label` what metrics call it; `choice` is the target, `lane` how that
    fares. `completion` is a whole answer that had to be translated. `price_vendor` is whose price in the catalogue
    `price` is; absent where the operator wrote it. `fanout` names what it is a part of, `leg` which part, once that is
    known. `why` is why it was made, `after` the error code of the one before that made it needed, and `waited_ns` how
    long was waited before it. What an attempt brings forth (`live`, `say_failure`, `dropped`, `issued`) is the
    exchange's only if it is what serves. `span_id` and `parent_span_id` are 0 where the request is not traced.
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


class Candidate(NamedTuple):
    """One answer of several, and how it was judged, from 0 to 1."""

    model: str
    completion: Completion
    score: float | None = None


class LegReport(NamedTuple):
    """What has become of one model of several, the first being number 0."""

    number: int
    model: str
    outcome: str


class Hit:
    """How a request was answered that no provider was asked for. `began_ns` is when its answer began (monotonic).

    `entry_id` is what the kept answer is called, `age_s` how old it is, `similarity` how near its question was to this
    one, absent for the very same; `saved_nusd` is what the answer cost whoever bought it.
    """

    __slots__ = (
        "age_s",
        "began_ns",
        "entry_id",
        "outcome",
        "provider",
        "saved_nusd",
        "similarity",
        "status",
        "upstream_model",
        "usage",
    )

    def __init__(self, status: HitStatus, provider: str, upstream_model: str, *, began_ns: int) -> None:
        self.status = status
        self.provider = provider
        self.upstream_model = upstream_model
        self.began_ns = began_ns
        self.outcome: Outcome = "ok"
        self.entry_id: str | None = None
        self.age_s: int | None = None
        self.similarity: float | None = None
        self.saved_nusd = 0
        self.usage: Usage | None = None

    def learn(self, answered: Answered) -> None:
        """Take over what is known of an answer once it is complete."""
        self.saved_nusd = answered.cost_nusd or 0
        self.usage = None if answered.completion is None else answered.completion.usage


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a client can ask, on one wire; made once.

    `name` is canonical (`chat`, `embeddings`), `relay` its name on the client's wire (`openai.chat`), `endpoint` the
    path that metrics show. `parse` reads a decoded body into the canonical request, for providers that do not speak
    the client's wire, and `renderer` says their answers in it; both are absent where only the wire's own providers can
    answer. `vocabulary` is how the wire names things. `generates` is whether tokens come out, so that a cap on them
    bounds what a request may cost. `estimate` answers on the gateway's own where a provider cannot, for what is an
    estimate anyhow. `is_media` is whether the answer is something else than tokens as they come, such as a picture: it
    has the media type that the provider gave it, and may be long in coming. `keeps` is whether an answer may name state
    that later requests refer to; `stores` is the operation by which a provider gives an answer back, if the answer
    itself is such state. `unseals` is whether a body with signatures that the gateway sealed is said anew: a provider
    would take them for forged. `say_break` ends a relayed stream that breaks, where the words for that depend on what
    it has said already. `reader` reads relayed answers, where others than their client may have them too. `has_choices`
    is whether one answer may hold several, `has_candidates` whether it shows the others beside it. `echoes` is
    whether an answer tells of its own request, such as who asked: then it is said anew for everybody.
    """

    name: str
    relay: str
    endpoint: str
    parse: "Parse | None" = None
    renderer: "Renderer | None" = None
    vocabulary: Vocabulary = CHAT
    generates: bool = True
    estimate: "Callable[[Mapping[str, Any]], bytes] | None" = None
    is_media: bool = False
    keeps: bool = False
    stores: str | None = None
    unseals: bool = False
    say_break: "Callable[[Exchange, GatewayError, Passed], bytes] | None" = None
    reader: "Reader | None" = None
    has_choices: bool = False
    has_candidates: bool = False
    echoes: bool = False

    @property
    def dialect(self) -> str:
        """The client's dialect, such as `openai`."""
        return self.relay.partition(".")[0]


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """Reads answers on one wire. `decoder` returns a fresh one for a stream of the given framing."""

    whole: Callable[[bytes], Completion]
    decoder: Callable[[str], ChatDecoder]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a body and its path ask for: which model, and in which form the answer is to come.

    `keep_usage` is whether the client wants the usage that a stream reports at its end; `framing` is how a stream's
    events are told apart; `raw` has none. `named_in` is where the model is named.
    """

    model: str
    stream: bool = False
    keep_usage: bool = False
    framing: Literal["sse", "array", "raw"] = "sse"
    named_in: str = "model"


class Parse(Protocol):
    """Reads a decoded body into the canonical request."""

    def __call__(self, document: Mapping[str, Any], asked: Asked) -> ChatRequest | EmbeddingRequest:
        """Return the request; raises `RequestRefused` for what only the client's own dialect can say."""
        ...


class Passed(NamedTuple):
    """What a client has had of a relayed stream: the ids that it made known, and its last bytes."""

    ids: Sequence[str]
    last: bytes


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
    told of its limits. `route` is that of the model
    that is being tried, `alternatives` are those that it may fall back to, by name. `edits` are the operator's changes
    to the body, and ours. `passed_headers` are the client's that go on to a provider of its own dialect. `served` is
    the attempt whose answer the client gets. `dropped` names, in the client's words, what the provider that served was
    not told. `issued` are ids of what that provider now keeps. `references` are those that the body makes, less what
    the gateway has written out itself. `is_kept` is whether the client may come back to the answer; what the gateway
    keeps of it is `produced`, and it goes on from `previous_id` with `new_input`, where that was written out.
    `say_failure` ends a stream that breaks, where the words for that depend on what it has said already. `call` is what
    answers it if that does not end with its client. `unheard` are upstream calls that go on although nobody waits for
    them. `visit` is its stay behind the worker's gate. `cache_status` is what the cache had to do with it, `hit` how it
    was answered if no provider was asked for it; `is_recorded` is whether others may have its answer too. `fanout` is
    there if several models answer it: each is asked by an exchange of its own, whose attempts are `own_attempts`
    and `part_of` the fan-out's name; `winner` is the one whose answer the client gets. `is_translated` is whether that
    must not be relayed, and `canonical` what it asks instead of what the body says. `candidates` are the answers that
    the client is shown beside the one and `leg_reports` what became of each model, both shared by all of them;
    `notes` are what its layers alone know of it.
    `fan_reason` says why it is that answer where it is not the one that was wanted, and `progress` what to tell a
    client who waits. `trace` is where its spans belong, if tracing is on, and `span_id` its own if it is a part.
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
    def request_uuid(self) -> UUID:
        """The request's id as a UUID."""
        if self._request_uuid is None:
            self._request_uuid = uuid_of(self.request_id)
        return self._request_uuid

    def measured(self) -> Prompt:
        """Return the size of the prompt, measured once."""
        if self.prompt is None:
            is_json = self.content_type == "application/json"
            prompt = measure(self.document, size_bytes=self.text_bytes)
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
        return None if attempt is None else attempt.provider

    @property
    def cost_nusd(self) -> int | None:
        """What all attempts cost so far; absent if one that was charged has no price."""
        costs = [attempt.cost_nusd for attempt in self.attempts]
        known = [cost for cost in costs if cost is not None]
        return sum(known) if len(known) == len(costs) else None


class LiveBody(Protocol):
    """The body of a streamed answer, in the client's dialect.

    `is_finished` after a `read` means that its bytes are the last, terminator included.
    """

    is_finished: bool

    async def read(self) -> bytes:
        """Return the next bytes; `b""` at the end. Raises `ProviderError` if the answer breaks."""
        ...

    def close(self) -> None:
        """Let go of the upstream call; idempotent."""
        ...


class Answer:
    """What a layer answers: a whole `body`, or a `live` one. Either way it is in the client's dialect.

    `replayed` are the headers that say who served, of an answer that another request was given too.
    """

    __slots__ = ("body", "content_type", "live", "replayed")

    def __init__(
        self, *, body: bytes | None = None, live: LiveBody | None = None, content_type: bytes = b"application/json"
    ) -> None:
        self.body = body
        self.live = live
        self.content_type = content_type
        self.replayed: tuple[tuple[bytes, bytes], ...] | None = None


class Renderer(Protocol):
    """How canonical answers are said in the client's dialect."""

    def whole(self, exchange: Exchange, answer: Any) -> bytes:
        """Return the body for a `Completion` or `Embeddings`."""
        ...

    def stream(self, exchange: Exchange) -> "StreamRenderer":
        """Return a renderer for one streamed answer."""
        ...


class StreamRenderer(Protocol):
    """Says canonical events in the client's dialect."""

    def feed(self, event: Any) -> bytes:
        """Return the bytes that say `event`: perhaps none."""
        ...

    def finish(self) -> bytes:
        """Return the bytes that end a complete answer, terminator included."""
        ...


class Next(Protocol):
    """The floors below a layer."""

    async def __call__(self, exchange: Exchange) -> Answer:
        """Answer the exchange."""
        ...


class Layer(Protocol):
    """One floor of the ring."""

    async def __call__(self, exchange: Exchange, following: Next) -> Answer:
        """Answer the exchange, with or without the floors below."""
        ...


def compose(layers: list[Layer], innermost: Next) -> Next:
    """Return one call through all layers, the first outermost."""
    call = innermost
    for layer in reversed(layers):
        call = _bind(layer, call)
    return call


def _bind(layer: Layer, following: Next) -> Next:
    def bound(exchange: Exchange) -> Any:
        return layer(exchange, following)

    return bound
