"""One model of several that answer a request: its call, what that has brought, and what became of it.

Law: its answer is read where it can be, and content all the same where nobody can read it.
"""

import asyncio
import contextlib
import logging

from app.domain.usage.schemas import LegRole
from app.fanout.states import LegState, Status
from app.kernel.errors import GatewayError, InternalError, NotFound, UpstreamRefused
from app.pipeline.answer import Answer
from app.pipeline.bodies import UNREADABLE, RelayedBody
from app.pipeline.exchange import Exchange
from app.routing.table import Route
from providers.types import Completion

_LOG = logging.getLogger("gateway.fanout")


class Leg:
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

    def end(self, task: asyncio.Task[Answer]) -> None:
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
        """Read an answer that is whole, or has ended with no more than a refusal; what nobody can read is content."""
        exchange = self.exchange
        if exchange is None or exchange.served is None:
            return
        self.completion, reader = exchange.served.completion, exchange.operation.reader
        if answer.live is not None:
            self.is_relayed = isinstance(answer.live, RelayedBody)
        elif self.completion is None:
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
        return self.answer is not None and self.answer.live is not None and self.completion is None

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
