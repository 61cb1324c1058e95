"""Where a call may fail, what the provider does there, and what that is to the gateway: rules, not results."""

import json
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

from faults.dialects.clients import Failure
from faults.routing.tongues import Tongue

from providers.testing import Script

SICK, WELL, SPARE = "sickly", "healthy", "reserve"
"""The words of the target that fails, of the other one, and of the model that is fallen back to."""
RETRIES = 2
_HANGS_S = 60
_JSON = "application/json"


class Kind(Enum):
    """What a failure means for what is tried next."""

    BROKEN = "the same provider may be asked again"
    FULL = "it asked to be left alone for longer than anybody waits"
    LOCKED = "its only credential is refused"
    WRONG = "the request is wrong everywhere"
    TOO_LONG = "the prompt does not fit this model"
    BLOCKED = "its content policy refuses the request"
    LATE = "the client has had content"

    @property
    def is_retried(self) -> bool:
        """Whether another target may do better."""
        return self in {Kind.BROKEN, Kind.FULL, Kind.LOCKED}


class Point(NamedTuple):
    """One point at which a call fails.

    `script` is what the provider does, of its wire and of whether a stream was asked for; there is none where nobody
    is reached, for `address` is then wrong. `outcome` is the ledger's word. `hangs` is whether only a clock ends it.
    """

    name: str
    failure: Failure
    outcome: str
    script: Callable[[Tongue, bool], Script] | None
    kind: Kind = Kind.BROKEN
    address: str = "sick"
    hangs: bool = False
    streamed: tuple[bool, ...] = (False, True)

    @property
    def retries(self) -> int:
        """How many extra attempts its models have; few where each takes a clock."""
        return 1 if self.hangs else RETRIES


UNREACHABLE = Failure(502, "upstream_unreachable")
TLS = Failure(502, "upstream_tls_error")
BROKE = Failure(502, "upstream_error")
GARBLED = Failure(502, "upstream_bad_response")
CUT = Failure(502, "upstream_interrupted")
SLOW = Failure(504, "upstream_timeout")
LIMITED = Failure(429, "upstream_rate_limited")
AUTH = Failure(502, "upstream_auth_failed")


def _status(status: int, **headers: str) -> Callable[[Tongue, bool], Script]:
    said = {name.replace("_", "-"): value for name, value in headers.items()}

    def script(tongue: Tongue, stream: bool) -> Script:
        return Script(status=status, body=json.dumps(tongue.refusal(status)), headers=said, keeps_alive=False)

    return script


def _refused(words: str) -> Callable[[Tongue, bool], Script]:
    return lambda tongue, stream: Script(status=400, body=json.dumps(getattr(tongue, words)), keeps_alive=False)


def _plain(**script: Any) -> Callable[[Tongue, bool], Script]:
    return lambda tongue, stream: Script(keeps_alive=False, **script)


def _empty(tongue: Tongue, stream: bool) -> Script:
    return tongue.streams([b""]) if stream else Script(body="", content_type=_JSON, keeps_alive=False)


def _silent(tongue: Tongue, stream: bool) -> Script:
    """Say all that belongs to an answer but the answer."""
    del stream
    return Script(body=json.dumps(tongue.empty), keeps_alive=False)


def _garbage(tongue: Tongue, stream: bool) -> Script:
    if stream:
        return tongue.streams([b"data: {not json\n\n"])
    return Script(body="<html>It works!</html>", content_type="text/html", keeps_alive=False)


def _headed(fault: str) -> Callable[[Tongue, bool], Script]:
    def script(tongue: Tongue, stream: bool) -> Script:
        if stream:
            return tongue.streams(tongue.frames(SICK), fault=fault, fault_after_frames=0)
        body = json.dumps(tongue.whole(SICK))
        return Script(body=body, fault=fault, fault_after_bytes=len(body) // 2, keeps_alive=False)

    return script


def _after(fault: str | None, frames: Callable[[Tongue], int]) -> Callable[[Tongue, bool], Script]:
    """Return what streams so many frames and then breaks, or else says an error and breaks."""

    def script(tongue: Tongue, stream: bool) -> Script:
        sent = tongue.frames(SICK)[: frames(tongue)]
        if fault is None:
            sent = [*sent, tongue.breaks]
        return tongue.streams(sent, fault=fault or "stall", fault_after_frames=len(sent), chunk_delay_ms=5)

    return script


def _lifecycle(tongue: Tongue) -> int:
    return tongue.lifecycle


def _content(tongue: Tongue) -> int:
    return tongue.lifecycle + 1


def _all_but_end(tongue: Tongue) -> int:
    return len(tongue.frames(SICK)) - 1


_IN_STREAM: dict[str, Any] = {"streamed": (True,)}
_LATE: dict[str, Any] = {"streamed": (True,), "kind": Kind.LATE}
POINTS = (
    Point("refused", UNREACHABLE, "error", None, address="nobody"),
    Point("tls", TLS, "error", None, address="plaintext"),
    Point("no-connection", SLOW, "timeout", None, address="blackhole", hangs=True),
    Point("reset", CUT, "interrupted", _plain(fault="reset")),
    Point("close", CUT, "interrupted", _plain(fault="close")),
    Point("no-head", SLOW, "timeout", _plain(head_delay_ms=_HANGS_S * 1000), hangs=True),
    Point("408", BROKE, "error", _status(408)),
    Point("500", BROKE, "error", _status(500)),
    Point("503", BROKE, "error", _status(503)),
    Point("503-wait", BROKE, "error", _status(503, retry_after="30"), kind=Kind.FULL),
    Point("429", LIMITED, "rate_limited", _status(429)),
    Point("429-wait", LIMITED, "rate_limited", _status(429, retry_after="30"), kind=Kind.FULL),
    Point("401", AUTH, "error", _status(401), kind=Kind.LOCKED),
    Point("403", AUTH, "error", _status(403), kind=Kind.LOCKED),
    Point("400", Failure(400, ""), "refused", _status(400), kind=Kind.WRONG),
    Point("404", Failure(404, ""), "refused", _status(404), kind=Kind.WRONG),
    Point("413", Failure(400, ""), "refused", _status(413), kind=Kind.WRONG),
    Point("422", Failure(400, ""), "refused", _status(422), kind=Kind.WRONG),
    Point("too-long", Failure(400, "context_length_exceeded"), "refused", _refused("too_long"), kind=Kind.TOO_LONG),
    Point("blocked", Failure(400, ""), "refused", _refused("blocked"), kind=Kind.BLOCKED),
    Point("empty", GARBLED, "error", _empty, streamed=(False,)),
    Point("silent", GARBLED, "error", _silent, streamed=(False,)),
    # A stream says when it ends; one that just ends was cut.
    Point("empty", CUT, "interrupted", _empty, streamed=(True,)),
    Point("garbage", GARBLED, "error", _garbage),
    Point("headed-cut", CUT, "interrupted", _headed("close")),
    Point("headed-reset", CUT, "interrupted", _headed("reset")),
    Point("headed-hang", SLOW, "timeout", _headed("stall"), hangs=True),
    Point("lifecycle-cut", CUT, "interrupted", _after("close", _lifecycle), **_IN_STREAM),
    Point("lifecycle-error", BROKE, "error", _after(None, _lifecycle), **_IN_STREAM),
    Point("lifecycle-hang", SLOW, "timeout", _after("stall", _lifecycle), hangs=True, **_IN_STREAM),
    Point("content-cut", CUT, "interrupted", _after("close", _content), **_LATE),
    Point("content-reset", CUT, "interrupted", _after("reset", _content), **_LATE),
    Point("content-error", BROKE, "error", _after(None, _content), **_LATE),
    Point("content-hang", SLOW, "timeout", _after("stall", _content), hangs=True, **_LATE),
    Point("end-cut", CUT, "interrupted", _after("close", _all_but_end), **_LATE),
)
