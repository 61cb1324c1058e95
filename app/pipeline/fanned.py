"""The layer of models that answer together: runs the legs, and does what the strategy decides.

Law: decide, then act (`app.fanout` decides). Every leg is an exchange of its own over the same attempts, so that all of
them are in the ledger; whoever is not needed is cut off at its socket, and nothing outlives the request.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import msgspec

from app.cache.answers import Answered
from app.domain.usage.schemas import LegRole
from app.fanout.answers import is_empty, shown, text_of
from app.fanout.extensions import Extensions
from app.fanout.fusing import fuse_request
from app.fanout.judging import judge_request, read_verdict
from app.fanout.moves import Fail, Fuse, Give, Join, Judge, Move, Stream, Wait
from app.fanout.states import LegState, Status
from app.fanout.strategies import strategy_of
from app.kernel.clock import Clock
from app.kernel.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    NotFound,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimedOut,
)
from app.observability.tracing.record import LegRecord
from app.pipeline.answer import Answer
from app.pipeline.bodies import UNREADABLE
from app.pipeline.drains import cut_all
from app.pipeline.exchange import Exchange
from app.pipeline.fanout import Candidate, Fanout, LegReport
from app.pipeline.hits import say
from app.pipeline.ring import Next
from app.routing.health import Health
from app.routing.table import Route
from app.routing.transform import apply_edits
from providers.types import ChatRequest, Choice, Completion, TextPart, Usage

LOST = "lost"
"""The error code of an attempt that was cut off because it was not needed any more."""
LATE = "deadline"
"""The error code of an attempt that was cut off because the time for it was over."""
_LOG = logging.getLogger("gateway.fanout")
_NS_PER_S = 1_000_000_000
_LEAST_SAMPLES = 20
_COUNTS = tuple(field.name for field in msgspec.structs.fields(Usage) if field.type is int)
_JUDGE_S = 60.0
"""How long a judge may take, where nobody says how long the legs may."""
_LAST_SHARE = 0.8
"""How much of the time that a request has left is for who is asked last: the rest is for giving another answer."""

Counted = Callable[[str, str, str], None]
"""Is told of each leg at its end: the strategy, the model's label, and `won`, `lost` or `failed`."""


class Fanned:
    """Asks several models. One for each worker."""

    def __init__(self, *, health: Health, clock: Clock, counted: Counted) -> None:
        self._health = health
        self._clock = clock
        self._counted = counted
        self._extensions = Extensions()

    async def __call__(self, exchange: Exchange, following: Next) -> Answer:
        """Answer from several models where the request asks for that, else from the one."""
        fanout = exchange.fanout
        if fanout is None:
            return await following(exchange)
        if exchange.references:
            path = exchange.references[0].path
            raise InvalidRequest(f"{path} refers to what one provider keeps: a fan-out asks several", param=path)
        patience = [self._patience_ns(route, is_streamed=exchange.stream) for route in fanout.legs]
        run = _Run(
            exchange,
            fanout,
            following=following,
            clock=self._clock,
            patience_ns=patience,
            extensions=self._extensions,
        )
        try:
            return await run.answer()
        except BaseException:
            await run.abandon()
            raise
        finally:
            run.assign()
            if exchange.trace is not None and exchange.trace.is_sampled:
                exchange.trace.legs += run.records()
            for leg in run.legs:
                if leg.task is not None:
                    self._counted(fanout.spec.strategy, leg.route.label, leg.outcome)

    def _patience_ns(self, route: Route, *, is_streamed: bool) -> int | None:
        """Return how long a leg is usually without content at most; nothing while that is not known."""
        target = route.targets[0]
        lane = self._health.lane(target.provider, target.lane_model)
        p95_s = (lane.first if is_streamed else lane.whole).p95_s(least=_LEAST_SAMPLES)
        return None if p95_s is None else int(p95_s * _NS_PER_S)


class _Leg:
    """One model that is asked."""

    def __init__(self, index: int, route: Route) -> None:
        self.index = index
        self.route = route
        self.exchange: Exchange | None = None
        self.task: asyncio.Task[Answer] | None = None
        self.started_ns: int | None = None
        self.ended_ns: int | None = None
        self.is_cut = False
        self.has_won = False
        self.failure: GatewayError | None = None
        self.answer: Answer | None = None
        self.completion: Completion | None = None
        self.is_relayed = False

    def end(self, task: "asyncio.Task[Answer]") -> None:
        """Take what it has brought, or why it has brought nothing."""
        if task.cancelled():
            return
        error = task.exception()
        if isinstance(error, GatewayError):
            self.failure = error
        elif error is not None:
            _LOG.error("a leg of %s failed", self.route.name, exc_info=error)
            self.failure = InternalError()
        else:
            self.answer = task.result()
            if self.is_cut:
                self.let_go()
            else:
                self._read(self.answer)

    def _read(self, answer: Answer) -> None:
        """Read a whole answer; one that nobody can read is content all the same."""
        exchange = self.exchange
        if exchange is None or exchange.served is None or answer.live is not None:
            return
        self.completion, reader = exchange.served.completion, exchange.operation.reader
        if self.completion is None:
            self.is_relayed = True
            if reader is not None and answer.body is not None:
                with contextlib.suppress(*UNREADABLE):
                    self.completion = reader.whole(answer.body)

    def cut(self) -> None:
        """Cut it off at its socket."""
        self.is_cut = True
        if self.task is not None and not self.task.done():
            self.task.cancel()
        self.let_go()

    def let_go(self) -> None:
        """Let go of a live answer."""
        if self.answer is not None and self.answer.live is not None:
            self.answer.live.close()

    @property
    def outcome(self) -> LegRole:
        """What became of it."""
        return "won" if self.has_won else "failed" if self.failure is not None else "lost"

    @property
    def is_live(self) -> bool:
        """Whether it has brought an answer that is still coming."""
        return self.answer is not None and self.answer.live is not None

    def state(self) -> LegState:
        """Return it as the strategy sees it."""
        task, failure, exchange = self.task, self.failure, self.exchange
        served = exchange.served if exchange is not None else None
        if task is None:
            return LegState(index=self.index, model=self.route.name)
        if self.is_cut or task.cancelled():
            status: Status = "cut"
        elif failure is not None:
            status = "failed"
        elif self.ended_ns is None:
            # It is over when its answer has been taken from it, not before.
            status = "running"
        else:
            status = "begun" if self.completion is None else "done"
        return LegState(
            index=self.index,
            model=self.route.name,
            status=status,
            completion=self.completion if status == "done" else None,
            error=None if failure is None else failure.code,
            is_refused_request=isinstance(failure, UpstreamRefused | NotFound),
            started_ns=self.started_ns,
            first_ns=None if served is None else served.first_ns,
            ended_ns=self.ended_ns,
        )


class _Run:
    """One request that several models answer."""

    def __init__(
        self,
        exchange: Exchange,
        fanout: Fanout,
        *,
        following: Next,
        clock: Clock,
        patience_ns: Sequence[int | None],
        extensions: Extensions,
    ) -> None:
        self.legs = [_Leg(index, route) for index, route in enumerate(fanout.legs)]
        self._exchange = exchange
        self._fanout = fanout
        self._following = following
        self._clock = clock
        self._strategy = strategy_of(
            fanout.spec, patience_ns=patience_ns, question=self._question(), extensions=extensions
        )
        self._changed = asyncio.Event()
        self._last: _Leg | None = None
        self._began_ns = clock.monotonic_ns()
        deadline_s = fanout.spec.deadline_s
        self._deadline_ns = None if deadline_s is None else self._began_ns + int(deadline_s * _NS_PER_S)

    def _question(self) -> str:
        """Return what a registered scorer is told was asked."""
        if self._fanout.spec.scorer is None:
            return ""
        last = self._task().messages[-1:]
        return "\n".join(part.text for message in last for part in message.content if isinstance(part, TextPart))

    # -- deciding -----------------------------------------------------------------------------------------------------

    async def answer(self) -> Answer:
        """Return the one answer, when nothing else runs any more; raises a `GatewayError` where there is none."""
        try:
            while True:
                self._changed.clear()
                now_ns = self._clock.monotonic_ns()
                is_overdue = self._deadline_ns is not None and now_ns >= self._deadline_ns
                move = self._strategy.next(self._states(), now_ns=now_ns, is_overdue=is_overdue)
                if not isinstance(move, Wait):
                    return await self._act(move)
                for index in move.start:
                    self._start(self.legs[index])
                await self._wait(move.until_ns)
        finally:
            self._exchange.upstream_ns += self._clock.monotonic_ns() - self._began_ns

    def _states(self) -> list[LegState]:
        return [leg.state() for leg in self.legs]

    async def _wait(self, until_ns: int | None) -> None:
        """Wait for any change, but no longer than until a moment or the deadline."""
        moments = [moment for moment in (until_ns, self._deadline_ns) if moment is not None]
        now_ns = self._clock.monotonic_ns()
        timeout_s = max(0.001, (min(moments) - now_ns) / _NS_PER_S) if moments else None
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            pass

    # -- acting -------------------------------------------------------------------------------------------------------

    async def _act(self, move: Move) -> Answer:
        match move:
            case Stream():
                return await self._take(self.legs[move.index])
            case Give():
                return await self._take(self.legs[move.index], scores=move.scores, reason=move.reason)
            case Judge():
                return await self._judge(move)
            case Fuse():
                return await self._fuse(move)
            case Join():
                return await self._join(move)
            case Fail():
                raise await self._failure(move)
            case _:
                raise TypeError(f"a strategy cannot {move!r} here")

    def _start(self, leg: _Leg) -> None:
        """Ask a model."""
        if leg.task is not None:
            return
        child = self._exchange.leg(leg.route, is_whole=self._is_whole(leg.index))
        if self._deadline_ns is not None:
            mine = child.deadline_ns
            child.deadline_ns = self._deadline_ns if mine is None else min(mine, self._deadline_ns)
        self._begin(leg, child)

    def _begin(self, leg: _Leg, child: Exchange) -> "asyncio.Task[Answer]":
        leg.exchange = child
        leg.started_ns = self._clock.monotonic_ns()
        leg.task = asyncio.get_running_loop().create_task(self._following(child))
        leg.task.add_done_callback(partial(self._ended, leg))
        return leg.task

    def _is_whole(self, index: int) -> bool:
        live = getattr(self._strategy, "live_legs", ())
        return self._strategy.needs_whole and index not in live

    def _ended(self, leg: _Leg, task: "asyncio.Task[Answer]") -> None:
        leg.ended_ns = self._clock.monotonic_ns()
        leg.end(task)
        self._exchange.progress = self._progress()
        self._changed.set()

    def _progress(self) -> str:
        ended = sum(leg.ended_ns is not None for leg in self.legs)
        return f"{ended} of {len(self.legs)} models have answered"

    async def _take(self, leg: _Leg, *, scores: Sequence[float | None] = (), reason: str | None = None) -> Answer:
        """Give the client what a leg has brought, or brings; the others are cut off.

        What was relayed, or is live, is given as it comes. Any other answer is said now, when all is known of the rest.
        """
        answer, child = leg.answer, leg.exchange
        if answer is None or child is None:
            raise TypeError("only a leg with an answer can be given")
        leg.has_won = True
        self._adopt(child)
        await self.aclose()
        self._tell(scores, reason=reason)
        return answer if leg.completion is None or leg.is_relayed else self._say(leg.completion)

    async def _join(self, move: Join) -> Answer:
        """Give the client all answers: as choices where its dialect has any, else one after the other."""
        legs = [self.legs[index] for index in move.indexes]
        for leg in legs:
            leg.has_won = True
        await self.aclose()
        first = legs[0]
        if first.exchange is not None:
            self._adopt(first.exchange)
        self._tell((), reason=None)
        operation = self._exchange.operation
        if operation.has_candidates and first.completion is not None:
            return self._say(first.completion)
        return self._say(_joined(legs, has_choices=operation.has_choices))

    async def _judge(self, move: Judge) -> Answer:
        """Ask the judge, then do what the strategy makes of it."""
        await self._cut_others(*(self.legs[index] for index in move.indexes))
        judge, judgement = self._fanout.judge, None
        if judge is not None:
            order, answers = self._shuffled(move.indexes), self._texts(move.indexes)
            request = judge_request(
                self._task(),
                judge=judge.name,
                rubric=self._fanout.spec.rubric,
                answers=answers,
                order=order,
                token=secrets.token_hex(8),
            )
            child = self._asking(judge, request, answers=answers, is_whole=True)
            child.output_cap = None  # What the client's answer may have is not what a verdict needs.
            last = await self._ask(judge, child, most_s=_JUDGE_S)
            judgement = None if last.completion is None else read_verdict(text_of(last.completion), order)
        return await self._act(self._strategy.verdict(self._states(), judgement))

    def _texts(self, indexes: Sequence[int]) -> dict[int, str]:
        """Return what legs have answered, each no longer than what was reserved for saying it again."""
        found = {index: self.legs[index].completion for index in indexes}
        most = self._fanout.shown_bytes
        return {
            index: shown(completion).encode(errors="replace")[:most].decode(errors="ignore")
            for index, completion in found.items()
            if completion is not None
        }

    @staticmethod
    def _shuffled(indexes: Sequence[int]) -> list[int]:
        """Return legs in an order of chance, so that none is better for its place."""
        order = list(indexes)
        secrets.SystemRandom().shuffle(order)
        return order

    def _asking(
        self, route: Route, request: ChatRequest, *, answers: Mapping[int, str], is_whole: bool = False
    ) -> Exchange:
        """Return the call of a model with a request of our own, which holds the answers beside what the client said."""
        child = self._exchange.leg(route, is_whole=is_whole, canonical=request)
        prompt = self._exchange.measured()
        said_bytes = sum(len(answer.encode()) for answer in answers.values())
        child.prompt = prompt._replace(text_bytes=prompt.text_bytes + said_bytes)
        return child

    async def _ask(self, route: Route, child: Exchange, *, most_s: float | None) -> _Leg:
        """Ask a model last; what it has brought, if anything, is in what is returned.

        It may take as long as the legs may, else `most_s`, and never so long that there is no time left to give another
        answer in place of its own.
        """
        leg = self._last = _Leg(len(self.legs), route)
        bounds = [most_s if self._fanout.spec.deadline_s is None else self._fanout.spec.deadline_s]
        if child.deadline_ns is not None:
            bounds.append((child.deadline_ns - self._clock.monotonic_ns()) / _NS_PER_S * _LAST_SHARE)
        within_s = min((bound for bound in bounds if bound is not None), default=None)
        task = self._begin(leg, child)
        await asyncio.wait({task}, timeout=within_s)
        if not task.done():
            await self._cut([leg], reason=LATE)
        return leg

    async def _fuse(self, move: Fuse) -> Answer:
        """Let the fuser write the answer, live if the client wants a stream."""
        await self._cut_others(*(self.legs[index] for index in move.indexes))
        fuser = self._fanout.fuser
        if fuser is not None:
            answers = self._texts(move.indexes)
            request = fuse_request(
                self._task(),
                fuser=fuser.name,
                rubric=self._fanout.spec.rubric,
                answers=answers,
                order=self._shuffled(move.indexes),
                token=secrets.token_hex(8),
            )
            last = await self._ask(fuser, self._asking(fuser, request, answers=answers), most_s=None)
            if last.answer is not None and (last.completion is None or not is_empty(last.completion)):
                return await self._take(last)
        return await self._act(self._strategy.verdict(self._states(), None))

    async def _failure(self, move: Fail) -> GatewayError:
        """Return what the client is told: what the legs agree on, or that there is no answer to give."""
        await self.aclose()
        self._report()
        failures = [leg.failure for leg in self.legs if leg.failure is not None]
        if move.code == "all_legs_failed" and len({type(failure) for failure in failures}) == 1:
            return failures[0]
        if move.code == "deadline":
            return UpstreamTimedOut(move.message, code=move.code)
        return UpstreamFailed(move.message, code=move.code)

    # -- saying -------------------------------------------------------------------------------------------------------

    def _task(self) -> ChatRequest:
        """Return the request that the legs answer, in canonical form."""
        exchange = self._exchange
        parse = exchange.operation.parse
        if parse is None:
            raise TypeError("only conversations are fanned out")
        request = parse(apply_edits(exchange.document, exchange.edits), exchange.asked)
        if not isinstance(request, ChatRequest):
            raise TypeError("only conversations are fanned out")
        return request

    def _adopt(self, child: Exchange) -> None:
        exchange, served = self._exchange, child.served
        exchange.route, exchange.winner = child.route, child
        if served is not None:
            exchange.served, exchange.say_failure = served, child.say_failure
            exchange.dropped, exchange.issued = child.dropped, child.issued

    def _tell(self, scores: Sequence[float | None], *, reason: str | None) -> None:
        """Note what became of every leg, for a client that asks for it."""
        exchange = self._exchange
        exchange.fan_reason = reason
        self._report()
        if self._fanout.spec.return_candidates or self._fanout.spec.strategy == "compare":
            exchange.candidates[:] = [
                Candidate(leg.route.name, leg.completion, scores[leg.index] if leg.index < len(scores) else None)
                for leg in self.legs
                if leg.completion is not None
            ]

    def _report(self) -> None:
        self._exchange.leg_reports[:] = [
            LegReport(leg.index, leg.route.name, leg.outcome) for leg in self.legs if leg.task is not None
        ]

    def _say(self, completion: Completion) -> Answer:
        """Return a whole answer in the client's dialect, as a stream if it wants one."""
        exchange, served = self._exchange, self._exchange.served
        answered = Answered(
            provider=served.provider if served is not None else "",
            model=exchange.route.name,
            upstream_model=served.upstream_model if served is not None else "",
            created_ms=0,
            completion=completion,
        )
        if served is not None:
            served.completion = completion
        # It is said by this exchange itself, so that what is kept of it is this one's.
        exchange.winner = None
        return say(exchange, answered)

    # -- ending -------------------------------------------------------------------------------------------------------

    @property
    def _asked(self) -> list[_Leg]:
        """Whoever has been asked."""
        every = self.legs if self._last is None else [*self.legs, self._last]
        return [leg for leg in every if leg.task is not None]

    async def _cut_others(self, *kept: _Leg) -> None:
        """Cut off every leg but those."""
        is_late = self._deadline_ns is not None and self._clock.monotonic_ns() >= self._deadline_ns
        await self._cut([leg for leg in self._asked if leg not in kept], reason=LATE if is_late else LOST)

    async def aclose(self) -> None:
        """Cut off whatever still runs, but for what the client gets."""
        await self._cut_others(*(leg for leg in self._asked if leg.has_won))

    async def abandon(self) -> None:
        """Cut off all, since nobody gets anything; what a provider bills in any case may be read to its end."""
        for leg in self._asked:
            if leg.exchange is not None and self._exchange.is_expired:
                leg.exchange.expire()
        await self._cut(self._asked, reason=None)

    def records(self) -> list[LegRecord]:
        """Return what a trace shows of each call."""
        last = "fuser" if self._fanout.judge is None else "judge"
        return [
            LegRecord(
                leg.exchange.span_id,
                leg.index,
                leg.route.name,
                last if leg is self._last else leg.outcome,
                leg.started_ns,
                leg.ended_ns,
                None if leg.failure is None else leg.failure.code,
            )
            for leg in self._asked
            if leg.exchange is not None and leg.started_ns is not None
        ]

    def assign(self) -> None:
        """Say in the ledger what part each call had; a live answer has won although it still runs."""
        for leg in self.legs:
            if leg.exchange is not None:
                leg.exchange.assign(leg.outcome)
        if self._last is not None and self._last.exchange is not None:
            self._last.exchange.assign("fuser" if self._fanout.judge is None else "judge")

    async def _cut(self, legs: Sequence[_Leg], *, reason: str | None) -> None:
        """Cut legs off, for a reason that the ledger is told; an answer that is whole is there all the same."""
        for leg in legs:
            if not leg.is_cut and (leg.ended_ns is None or leg.is_live):
                leg.cut()
        tasks = [leg.task for leg in legs if leg.task is not None and leg.ended_ns is None]
        if tasks:
            await asyncio.wait(tasks)
        # Those that were cut before too: whoever cut them may have been cut off himself.
        for child in [leg.exchange for leg in legs if leg.exchange is not None]:
            if reason is None:
                self._exchange.unheard += child.unheard
                child.unheard = []
            else:
                await cut_all(child)
            for attempt in child.own_attempts or ():
                if attempt.outcome == "cancelled" and attempt.error_code is None:
                    attempt.error_code = reason


def _joined(legs: Sequence[_Leg], *, has_choices: bool) -> Completion:
    """Return all answers as one."""
    found = [(leg.route.name, leg.completion) for leg in legs if leg.completion is not None]
    first = found[0][1]
    if has_choices:
        choices = [
            msgspec.structs.replace(completion.choices[0], index=index) for index, (_, completion) in enumerate(found)
        ]
    else:
        text = "\n\n".join(f"## {name}\n\n{text_of(completion)}" for name, completion in found)
        choices = [Choice(index=0, content=[TextPart(text=text)], finish_reason="stop")]
    usages = [completion.usage for _, completion in found if completion.usage is not None]
    return msgspec.structs.replace(first, choices=choices, usage=_sum(usages) if usages else None)


def _sum(usages: Sequence[Usage]) -> Usage:
    """Return what several answers used together."""
    counts = {name: sum(getattr(usage, name) for usage in usages) for name in _COUNTS}
    return Usage(**counts, estimated=any(usage.estimated for usage in usages))
