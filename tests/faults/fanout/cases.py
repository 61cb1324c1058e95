"""What models do, and what may come of it: one case of a fan-out, and the words for the rows of the ledger."""

from typing import Any, NamedTuple

from providers.testing import Script

FAST = Script(text="good from fast")
SLOW = Script(text="good from slow", head_delay_ms=700)
LATE = Script(text="good from late", head_delay_ms=4_000)
ERROR = Script(status=500)
REFUSED = Script(status=400)
BROKEN = Script(output_tokens=200, chunk_delay_ms=3, fault="reset", fault_after_bytes=900)
INVALID = Script(text="bad from invalid")
REFUSAL = Script(refusal="good grief, no")
EMPTY = Script(text=" ")
HANG = Script(fault="stall")
CHECK = {"check": {"regex": "^good"}}
ANY = ...
BREAKS = "breaks"
OK, LOST, OVERDUE = ("ok", None), ("cancelled", "lost"), ("cancelled", "deadline")
FAILED, CUT = ("error", ANY), ("interrupted", ANY)


class Case(NamedTuple):
    """What the models do, and what comes of it.

    `won` is the model whose answer is given (several names with `or`: any of them), the code of the error, or `BREAKS`
    where the stream of the first breaks after it has won; `rows` are outcome and error code of each model's event in
    order, nothing for one that is not asked. A code of `...` may be any. `streams` are the forms in which it holds.
    """

    name: str
    strategy: str
    fields: dict[str, Any]
    does: tuple[Script | None, ...]
    won: str
    rows: tuple[Any, ...]
    last: Script | None = None
    reason: str | None = None
    streams: tuple[bool, ...] = (False, True)

    def __str__(self) -> str:
        return f"{self.strategy}, {self.name}"
