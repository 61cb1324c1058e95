"""The layer of models that answer together: runs the legs, and does what the strategy decides.

Law: decide, then act (`app.fanout` decides). Every leg is an exchange of its own over the same attempts, so that all of
them are in the ledger; whoever is not needed is cut off at its socket, and nothing outlives the request.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence

from app.cache.answers import Answered
from app.fanout.answers import is_empty, shown, text_of
from app.fanout.extensions import Extensions
from app.fanout.fusing import fuse_request
from app.fanout.judging import judge_request, read_verdict
from app.fanout.moves import Fail, Fuse, Give, Join, Judge, Move, Stream, Wait
from app.fanout.strategies import strategy_of
from app.fanout.strategy import asks_whole
from app.kernel.clock import Clock
from app.kernel.errors import GatewayError, InvalidRequest, UpstreamFailed, UpstreamTimedOut
from app.pipeline.answer import Answer
from app.pipeline.exchange import Exchange
from app.pipeline.fanout import Candidate, Fanout
from app.pipeline.hits import say
from app.pipeline.joining import joined
from app.pipeline.leg import Leg
from app.pipeline.legs import Legs
from app.pipeline.ring import Next
from app.routing.health import Health
from app.routing.table import Route
from app.routing.transform import apply_edits
from providers.types import ChatRequest, Completion, TextPart

_NS_PER_S = 1_000_000_000
_LEAST_SAMPLES = 20
_JUDGE_S = 60.0
"""How long a judge may take, where nobody says how long the legs may."""

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
        check_references(exchange)
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
            await run.legs.abandon()
            raise
        finally:
            run.legs.assign()
            if exchange.trace is not None and exchange.trace.is_sampled:
                exchange.trace.legs += run.legs.records()
            for leg in run.legs.every:
                if leg.task is not None:
                    self._counted(fanout.spec.strategy, leg.route.label, leg.outcome)

    def _patience_ns(self, route: Route, *, is_streamed: bool) -> int | None:
        """Return how long a leg is usually without content at most; nothing while that is not known."""
        target = route.targets[0]
        lane = self._health.lane(target.provider, target.lane_model)
        p95_s = (lane.first if is_streamed else lane.whole).p95_s(least=_LEAST_SAMPLES)
        return None if p95_s is None else int(p95_s * _NS_PER_S)


def check_references(exchange: Exchange) -> None:
    """Raise `InvalidRequest` for a fan-out that refers to what only one of those asked could have."""
    if exchange.references:
        path = exchange.references[0].path
        raise InvalidRequest(f"{path} refers to what one provider keeps: a fan-out asks several", param=path)


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
        self.legs = Legs(exchange, fanout, following=following, clock=clock)
        self._exchange = exchange
        self._fanout = fanout
        self._clock = clock
        self._strategy = strategy_of(
            fanout.spec, patience_ns=patience_ns, question=self._question(), extensions=extensions
        )

    def _question(self) -> str:
        """Return what a registered scorer is told was asked."""
        if self._fanout.spec.scorer is None:
            return ""
        last = self._task().messages[-1:]
        return "\n".join(part.text for message in last for part in message.content if isinstance(part, TextPart))

    # -- deciding -----------------------------------------------------------------------------------------------------

    async def answer(self) -> Answer:
        """Return the one answer, when nothing else runs any more; raises a `GatewayError` where there is none."""
        legs = self.legs
        try:
            while True:
                states, is_overdue = legs.states(), legs.is_overdue
                move = self._strategy.next(states, now_ns=self._clock.monotonic_ns(), is_overdue=is_overdue)
                if not isinstance(move, Wait):
                    return await self._act(move)
                for index in move.start:
                    legs.start(legs.every[index], is_whole=asks_whole(self._strategy, index))
                await legs.wait(move.until_ns)
        finally:
            self._exchange.upstream_ns += self._clock.monotonic_ns() - legs.began_ns

    # -- acting -------------------------------------------------------------------------------------------------------

    async def _act(self, move: Move) -> Answer:
        match move:
            case Stream():
                return await self._take(self.legs.every[move.index])
            case Give():
                return await self._take(self.legs.every[move.index], scores=move.scores, reason=move.reason)
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

    async def _take(self, leg: Leg, *, scores: Sequence[float | None] = (), reason: str | None = None) -> Answer:
        """Give the client what a leg has brought, or brings; the others are cut off.

        What was relayed, or is live, is given as it comes. Any other answer is said now, when all is known of the rest.
        """
        answer, child = leg.answer, leg.exchange
        if answer is None or child is None:
            raise TypeError("only a leg with an answer can be given")
        leg.has_won = True
        self._adopt(child)
        await self.legs.aclose()
        self._tell(scores, reason=reason)
        return answer if leg.completion is None or leg.is_relayed else self._say(leg.completion)

    async def _join(self, move: Join) -> Answer:
        """Give the client all answers: as choices where its dialect has any, else one after the other."""
        legs = [self.legs.every[index] for index in move.indexes]
        for leg in legs:
            leg.has_won = True
        await self.legs.aclose()
        first = legs[0]
        if first.exchange is not None:
            self._adopt(first.exchange)
        self._tell((), reason=None)
        operation = self._exchange.operation
        if operation.has_candidates and first.completion is not None:
            return self._say(first.completion)
        return self._say(joined(legs, has_choices=operation.has_choices))

    async def _judge(self, move: Judge) -> Answer:
        """Ask the judge, then do what the strategy makes of it."""
        await self.legs.cut_others(*(self.legs.every[index] for index in move.indexes))
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
            last = await self.legs.ask_last(judge, child, most_s=_JUDGE_S)
            judgement = None if last.completion is None else read_verdict(text_of(last.completion), order)
        return await self._act(self._strategy.verdict(self.legs.states(), judgement))

    def _texts(self, indexes: Sequence[int]) -> dict[int, str]:
        """Return what legs have answered, each no longer than what was reserved for saying it again."""
        found = {index: self.legs.every[index].completion for index in indexes}
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

    async def _fuse(self, move: Fuse) -> Answer:
        """Let the fuser write the answer, live if the client wants a stream."""
        await self.legs.cut_others(*(self.legs.every[index] for index in move.indexes))
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
            last = await self.legs.ask_last(fuser, self._asking(fuser, request, answers=answers), most_s=None)
            if last.answer is not None and (last.completion is None or not is_empty(last.completion)):
                return await self._take(last)
        return await self._act(self._strategy.verdict(self.legs.states(), None))

    async def _failure(self, move: Fail) -> GatewayError:
        """Return what the client is told: what the legs agree on, or that there is no answer to give."""
        await self.legs.aclose()
        self.legs.report()
        failures = [leg.failure for leg in self.legs.every if leg.failure is not None]
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
        self.legs.report()
        if self._fanout.spec.return_candidates or self._fanout.spec.strategy == "compare":
            exchange.candidates[:] = [
                Candidate(leg.route.name, leg.completion, scores[leg.index] if leg.index < len(scores) else None)
                for leg in self.legs.every
                if leg.completion is not None
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
