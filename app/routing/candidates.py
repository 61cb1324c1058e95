"""What a decision between targets is made of. Law: a snapshot; whoever decides reads no clock and asks nobody."""

import msgspec


class Candidate(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One target of a route, at one moment, for one request.

    `position` is its place in the route, `name` is `provider/model`. `ttft_s` is the expected time to its first
    content and `token_s` that of each token after it, absent where nothing is known; `samples` is how many answers
    they are from. `inflight` counts this worker's calls. `cost_nusd` is what the request would cost there, absent
    without a price. `is_open` is whether its breaker is; `is_probing` whether it may be tried once, to see whether it
    is well again. `cooled_s` is how long its provider asked to be left alone.
    """

    position: int
    name: str
    provider: str
    weight: int = 1
    inflight: int = 0
    ttft_s: float | None = None
    token_s: float | None = None
    samples: int = 0
    cost_nusd: int | None = None
    is_open: bool = False
    is_probing: bool = False
    cooled_s: float = 0.0

    @property
    def is_well(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.is_open and not self.cooled_s


class Ranked(msgspec.Struct, frozen=True, gc=False):
    """A candidate's place in an order: its position in the route, its score (the lower the better), and why."""

    position: int
    score: float
    reason: str
