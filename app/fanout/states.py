"""What a strategy sees of the legs of a fan-out. Law: values only; who asks the models is not known here."""

from typing import Final, Literal

import msgspec

from providers.types import Completion

Status = Literal["idle", "running", "begun", "done", "failed", "cut"]
ENDED: Final = frozenset({"done", "failed", "cut"})
"""A leg that is in one of these changes no more."""
LIVE: Final = frozenset({"running", "begun"})
"""A leg that is in one of these will end by itself, or by the deadline."""


class LegState(msgspec.Struct, frozen=True, kw_only=True):
    """One leg as the runner sees it; `index` is its place in the list of legs. Times are monotonic.

    `begun`: a live answer has its first content; white space and refusals are none (`answers.may_win`). `done`: a whole
    answer is there, in `completion`, asked for as such or live and ended without content. With `failed`, `error` is a
    code, and `is_refused_request` says that the request itself was refused, so that others may refuse it too. A `cut`
    leg was cancelled and counts as ended.
    """

    index: int
    model: str
    status: Status = "idle"
    completion: Completion | None = None
    error: str | None = None
    is_refused_request: bool = False
    started_ns: int | None = None
    first_ns: int | None = None
    ended_ns: int | None = None
