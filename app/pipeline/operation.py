"""What a client can ask on one wire: how that is read, and how its answers are said.

Law: made once for each wire, and pure; what one request asks is `Asked`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import msgspec

from app.kernel.errors import GatewayError
from app.routing.vocabulary import CHAT, Vocabulary
from providers.protocol import ChatDecoder
from providers.types import ChatRequest, Completion, EmbeddingRequest

if TYPE_CHECKING:
    from app.pipeline.exchange import Exchange


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


class StreamRenderer(Protocol):
    """Says canonical events in the client's dialect."""

    def feed(self, event: Any) -> bytes:
        """Return the bytes that say `event`: perhaps none."""
        ...

    def finish(self) -> bytes:
        """Return the bytes that end a complete answer, terminator included."""
        ...


class Renderer(Protocol):
    """How canonical answers are said in the client's dialect."""

    def whole(self, exchange: "Exchange", answer: Any) -> bytes:
        """Return the body for a `Completion` or `Embeddings`."""
        ...

    def stream(self, exchange: "Exchange") -> StreamRenderer:
        """Return a renderer for one streamed answer."""
        ...


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """Reads answers on one wire. `decoder` returns a fresh one for a stream of the given framing."""

    whole: Callable[[bytes], Completion]
    decoder: Callable[[str], ChatDecoder]


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
    parse: Parse | None = None
    renderer: Renderer | None = None
    vocabulary: Vocabulary = CHAT
    generates: bool = True
    estimate: Callable[[Mapping[str, Any]], bytes] | None = None
    is_media: bool = False
    keeps: bool = False
    stores: str | None = None
    unseals: bool = False
    say_break: "Callable[[Exchange, GatewayError, Passed], bytes] | None" = None
    reader: Reader | None = None
    has_choices: bool = False
    has_candidates: bool = False
    echoes: bool = False

    @property
    def is_free(self) -> bool:
        """Whether it costs nothing, whoever answers it: what may as well be estimated."""
        return self.estimate is not None

    @property
    def dialect(self) -> str:
        """The client's dialect, such as `openai`."""
        return self.relay.partition(".")[0]
