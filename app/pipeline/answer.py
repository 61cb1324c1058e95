"""What a request is answered, whole or as it comes; and how, where no provider was asked for it.

Law: an answer is in its client's dialect already.
"""

from typing import Literal, Protocol

from app.cache.answers import Answered
from app.pipeline.attempt import Outcome
from providers.types import Usage

HitStatus = Literal["exact", "semantic", "coalesced"]
CacheStatus = Literal["off", "bypass", "miss", "exact", "semantic", "coalesced"]


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

    `replayed` are the headers that say who served, of an answer that another request was given too. `foreseen_nusd` is
    what a live one will have cost at its end, all attempts included, where that is known before.
    """

    __slots__ = ("body", "content_type", "foreseen_nusd", "live", "replayed")

    def __init__(
        self, *, body: bytes | None = None, live: LiveBody | None = None, content_type: bytes = b"application/json"
    ) -> None:
        self.body = body
        self.live = live
        self.content_type = content_type
        self.replayed: tuple[tuple[bytes, bytes], ...] | None = None
        self.foreseen_nusd: int | None = None


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
