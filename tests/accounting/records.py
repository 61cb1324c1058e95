"""Records of requests as a worker would keep them, made without one."""

from typing import Any

import msgspec

from app.kernel.ids import uuid7_text
from app.pipeline.notes import LayerStep
from app.pipeline.records import RequestRecord, Whose, encode_record
from app.stores.traces import Bounds, KeptTrace, Mark

BOUNDS = Bounds(most=1_000, most_bytes=1 << 24, ttl_ms=3_600_000)


def record(whose: Whose, **more: Any) -> RequestRecord:
    """Return a request that was answered with 200."""
    plain = RequestRecord(
        whose,
        "m",
        "chat",
        "openai",
        100,
        100,
        None,
        False,
        200,
        None,
        1_000,
        5_000_000,
        3_000_000,
        2_000_000,
        1_000_000,
        0,
        [LayerStep("authentication", "passed", 1_000, 2_000)],
    )
    return msgspec.structs.replace(plain, **more)


def kept(whose: Whose, *, at_ms: int, provider: str | None = "p", cache: str = "off", **more: Any) -> KeptTrace:
    """Return it as a store keeps it; `more` are fields of the record."""
    made = record(whose, **more)
    mark = Mark(
        whose.organization_id,
        whose.team_id,
        whose.key_id,
        made.model,
        provider,
        made.status,
        made.error_code,
        cache,
        made.took_ns // 1_000_000,
    )
    return KeptTrace(uuid7_text(at_ms * 1_000_000), mark, encode_record(made))
