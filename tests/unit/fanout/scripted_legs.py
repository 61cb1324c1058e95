"""A runner in virtual time over legs that follow a script: what a strategy does is told move by move."""

import heapq
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from app.fanout.judgement import Judgement
from app.fanout.moves import Fail, Fuse, Give, Join, Judge, Move, Stream, Wait
from app.fanout.spec import read_fanout
from app.fanout.states import LIVE, LegState
from app.fanout.strategies import strategy_of
from app.fanout.strategy import Strategy
from providers.types import Choice, Completion, RefusalPart, TextPart, ToolCallPart

MS = 1_000_000
_MOST_LOOKS = 200


def answer(text="yes", *, reason="stop", logprobs=None, calls=()):
    """Return a whole answer."""
    parts: list[Any] = [TextPart(text=text)] if text else []
    parts += [ToolCallPart(id=f"c{at}", name=name, arguments=arguments) for at, (name, arguments) in enumerate(calls)]
    told = None if logprobs is None else {"content": [{"token": "x", "logprob": each} for each in logprobs]}
    choice = Choice(index=0, content=parts, finish_reason=reason, logprobs=told)
    return Completion(id="x", model="m", created=0, choices=[choice])


def refusal():
    """Return an answer that refuses to be one."""
    choice = Choice(index=0, content=[RefusalPart(text="I cannot help with that.")], finish_reason="refusal")
    return Completion(id="x", model="m", created=0, choices=[choice])


class Script(NamedTuple):
    """What a leg does once it runs: when it has content, and when and how it ends, in ms; `None`: never."""

    begins_ms: int | None = None
    ends_ms: int | None = None
    completion: Completion | None = None
    is_refused: bool = False


BEHAVIOURS = {
    "fast": Script(100, 200, answer('{"n": 1}')),
    "slow": Script(1_500, 3_000, answer('{"n": 1}')),
    "other": Script(100, 250, answer('{"n": 2}')),
    "sure": Script(100, 200, answer('{"n": 1}', logprobs=[-0.1, -0.2])),
    "unsure": Script(100, 200, answer('{"n": 1}', logprobs=[-2.0, -3.0])),
    "early_error": Script(None, 50),
    "late_error": Script(100, 150),
    "refused": Script(None, 50, None, is_refused=True),
    "invalid": Script(100, 200, answer("I think it is one.")),
    "refusal": Script(None, 200, refusal()),
    "filtered": Script(None, 200, answer("So, fir", reason="content_filter")),
    "empty": Script(None, 200, answer("")),
    "hang": Script(),
}


class Run:
    """One fan-out: legs that follow scripts, and what the strategy made of them."""

    def __init__(
        self,
        strategy: Strategy,
        scripts: Sequence[Script],
        *,
        deadline_ms: int | None = 10_000,
        streams: bool = True,
        judgement: Judgement | None = None,
        ties: Sequence[int] = (),
    ) -> None:
        self.strategy = strategy
        self.scripts = scripts
        self.legs = [LegState(index=at, model=f"m{at}") for at in range(len(scripts))]
        self.told: list[str] = []
        self.moves: list[Move] = []
        self._judgement = judgement
        self._streams = streams
        self._now_ms = 0
        self._ties = ties
        self._events: list[tuple[int, int, int, str]] = []
        if deadline_ms is not None:
            self._push(deadline_ms, len(scripts), "deadline")
        self._is_overdue = False

    def __call__(self) -> Move:
        """Run to the end; return the last move."""
        for _ in range(_MOST_LOOKS):
            move = self._look()
            if isinstance(move, Judge | Fuse):
                move = self.strategy.verdict(self.legs, self._judgement)
                self._tell(move)
            if not isinstance(move, Wait):
                return move
            self._wait(move)
        raise AssertionError(f"the strategy does not come to an end: {self.told[-5:]}")

    def _look(self) -> Move:
        move = self.strategy.next(self.legs, now_ns=self._now_ms * MS, is_overdue=self._is_overdue)
        self._tell(move)
        return move

    def _wait(self, move: Wait) -> None:
        assert not self._is_overdue, "it waits beyond the deadline"
        for index in move.start:
            self._start(index)
        if move.until_ns is not None:
            self._push(-(-move.until_ns // MS), len(self.legs), "look")
        is_timed = move.until_ns is not None and move.until_ns > self._now_ms * MS
        assert is_timed or any(leg.status in LIVE for leg in self.legs), "nothing ends this wait"
        assert self._events, "the legs hang, and there is no deadline"
        self._now_ms, _, index, what = heapq.heappop(self._events)
        self._happen(index, what)

    def _start(self, index: int) -> None:
        assert self.legs[index].status == "idle", "a leg is started twice"
        self._change(index, status="running", started_ns=self._now_ms * MS)
        script = self.scripts[index]
        is_live = self._streams and (not self.strategy.needs_whole or index in self.strategy.live_legs)
        if is_live and script.begins_ms is not None:
            self._push(self._now_ms + script.begins_ms, index, "begun")
        if script.ends_ms is not None:
            self._push(self._now_ms + script.ends_ms, index, "ended")

    def _happen(self, index: int, what: str) -> None:
        now_ns = self._now_ms * MS
        if what == "deadline":
            self._is_overdue = True
        elif what == "begun":
            self._change(index, status="begun", first_ns=now_ns)
        elif what == "ended":
            script = self.scripts[index]
            if script.completion is None:
                self._change(
                    index,
                    status="failed",
                    error="upstream_error",
                    ended_ns=now_ns,
                    is_refused_request=script.is_refused,
                )
            else:
                self._change(index, status="done", completion=script.completion, ended_ns=now_ns)

    def _change(self, index: int, **fields: Any) -> None:
        self.legs[index] = msgspec.structs.replace(self.legs[index], **fields)

    def _push(self, at_ms: int, index: int, what: str) -> None:
        tie = self._ties[len(self._events) % len(self._ties)] if self._ties else index
        heapq.heappush(self._events, (at_ms, tie, index, what))

    def _tell(self, move: Move) -> None:
        self.moves.append(move)
        told = f"{self._now_ms} {_said(move)}"
        if not self.told or _said(move) != "wait" or not self.told[-1].endswith(" wait"):
            self.told.append(told)


def _said(move: Move) -> str:
    match move:
        case Wait():
            start = "".join(f"+{index}" for index in move.start)
            until = "" if move.until_ns is None else f"@{move.until_ns // MS}"
            return f"wait{start}{until}"
        case Stream():
            return f"stream {move.index}"
        case Give():
            return f"give {move.index}" + (f" ({move.reason})" if move.reason else "")
        case Judge() | Fuse() | Join():
            return f"{type(move).__name__.lower()} {','.join(map(str, move.indexes))}"
        case Fail():
            return f"fail {move.code}"


def run(fields, behaviours, *, patience_ns=(), deadline_ms=10_000, **kwargs):
    """Run the strategy that a `fanout` object describes over named behaviours; return the run, which has ended."""
    names = behaviours.split()
    spec = read_fanout({"models": names, **fields})
    made = Run(
        strategy_of(spec, patience_ns=patience_ns),
        [BEHAVIOURS[name] for name in names],
        deadline_ms=deadline_ms,
        **kwargs,
    )
    made()
    return made


def told(fields, behaviours, **kwargs):
    """Return the moves of such a run, in words: when, and what."""
    return "; ".join(run(fields, behaviours, **kwargs).told)
