"""What a request asks of several models together, and what its client is told of each."""

from typing import Any, NamedTuple

import msgspec

from app.fanout.spec import FanoutSpec
from app.routing.table import Route
from providers.types import Completion

MOST_SHOWN_BYTES = 16_384
"""How much of each answer a judge or a fuser is shown, where nothing bounds it more."""


class Fanout(msgspec.Struct, frozen=True, kw_only=True):
    """Several models that answer one request: the routes of the legs, in order, and of who judges or fuses them.

    `name` is that of the ensemble, or of the strategy where the request named the models itself. `said` is what was
    asked for, as it was written: what tells it from another. `shown_bytes` is how much of each answer a judge or a
    fuser is shown.
    """

    name: str
    spec: FanoutSpec
    said: Any
    legs: tuple[Route, ...]
    judge: Route | None = None
    fuser: Route | None = None
    shown_bytes: int = MOST_SHOWN_BYTES

    @property
    def last(self) -> Route | None:
        """Who is asked when the legs have answered, if anybody."""
        return self.judge or self.fuser

    @property
    def routes(self) -> tuple[Route, ...]:
        """All that may be asked: the legs, and who is asked last."""
        return self.legs if self.last is None else (*self.legs, self.last)


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
