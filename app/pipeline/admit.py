"""Whether a request may go on, and what it must reserve first. Law: decide, then act."""

import functools

from app.domain.usage.codec import encode_events
from app.kernel.clock import Clock
from app.limits.accounts import Accounts, Grant
from app.limits.denials import Denial, LimitReached
from app.limits.estimate import Demand
from app.limits.headers import Headers
from app.limits.holds import Holds
from app.limits.orphans import Seed
from app.limits.plan import Plan
from app.limits.policies import Policies
from app.pipeline.answer import Answer
from app.pipeline.demand import Demands, asked_cap
from app.pipeline.events import seed_of, so_far
from app.pipeline.exchange import Exchange
from app.pipeline.lines import Lines
from app.pipeline.notes import LayerStep, Refusal, stopped
from app.pipeline.ring import Next


class Admit:
    """Refuses what would cost too much, and reserves what is limited."""

    def __init__(
        self,
        accounts: Accounts,
        demands: Demands,
        *,
        policies: Policies,
        lines: Lines,
        holds: Holds,
        clock: Clock,
    ) -> None:
        self._accounts = accounts
        self._demands = demands
        self._policies = policies
        self._lines = lines
        self._holds = holds
        self._clock = clock

    async def __call__(self, exchange: Exchange, following: Next) -> Answer:
        """Answer, if the request may go on."""
        try:
            self._demands.within_ceiling(exchange)
            plan = self._policies.plan(exchange.principal, *exchange.asked_models)
            demand = None if plan.is_empty else self._demands.of(exchange, plan)
        except BaseException as error:
            self._refuse(exchange, error, began_ns=self._clock.monotonic_ns())
            raise
        if demand is not None:
            await self._reserve(exchange, plan, demand=demand)
        elif plan.policy.output_cap is not None:
            cap_output(exchange, plan.policy.output_cap, asked=asked_cap(exchange))
        return await following(exchange)

    async def admit_hit(self, exchange: Exchange) -> None:
        """Count a request of which nothing is bought: its limits of requests hold, those of tokens and money do not."""
        plan = self._policies.plan(exchange.principal, *exchange.asked_models).of_hits
        if plan.is_empty or exchange.grant is not None:
            return
        seed = seed_of(exchange, plan.policy.scopes, input_tokens=0, cost_nusd=0)
        await self._take(exchange, plan, Demand(exchange.route.name, 0, 0), seed=seed)

    async def told(self, exchange: Exchange) -> Headers:
        """Return what is left of its limits to a request that is answered without a reservation."""
        return await self._accounts.told(self._policies.plan(exchange.principal, *exchange.asked_models))

    def cap_of(self, exchange: Exchange) -> int | None:
        """Return how much output binds a request, whatever is left of its budgets; nothing for as much as it asks."""
        plan = self._policies.plan(exchange.principal, *exchange.asked_models)
        is_bound = plan.budgets or plan.policy.output_cap is not None or _has_ceiling(exchange)
        return self._demands.cap_of(exchange, plan) if is_bound else None

    async def take_back(self, exchange: Exchange) -> None:
        """Undo `admit_hit`, for a request that is to be admitted in full after all."""
        grant, exchange.grant, exchange.limit_headers = exchange.grant, None, ()
        if grant is not None:
            exchange.given_back += 1
            self._holds.remove(grant)
            await self._accounts.void(grant)
            self._lines.ended(grant.plan)

    async def _reserve(self, exchange: Exchange, plan: Plan, *, demand: Demand) -> None:
        """Take what the request may use of all that binds it, and lower its output to what that pays for."""
        asked = asked_cap(exchange)
        likely_nusd = demand.likely_nusd if demand.is_priced else None
        seed = seed_of(exchange, plan.policy.scopes, input_tokens=demand.input_tokens, cost_nusd=likely_nusd)
        grant = await self._take(exchange, plan, demand, seed=seed)
        cap = plan.policy.output_cap
        if grant.budgets and demand.cap:
            granted = grant.granted.cap // demand.choices
            cap = granted if cap is None else min(cap, granted)
        if cap is not None:
            cap_output(exchange, cap, asked=asked)

    async def _take(self, exchange: Exchange, plan: Plan, demand: Demand, *, seed: Seed) -> Grant:
        """Reserve what a request asks for, and hold it until the request is settled."""
        began_ns = self._clock.monotonic_ns()
        try:
            ask = functools.partial(self._accounts.reserve, plan, demand, seed=seed, given_back=exchange.given_back)
            grant = await self._lines.reserve(exchange.visit, plan, ask)
        except BaseException as error:
            self._refuse(exchange, error, began_ns=began_ns)
            if isinstance(error, LimitReached):
                self._accounts.count(error)
            if isinstance(error, Denial):
                exchange.notes.refusal = Refusal(error.denied, plan, error.message)
            raise
        exchange.notes.steps.append(LayerStep("limits", "passed", began_ns, self._clock.monotonic_ns()))
        exchange.grant = grant
        exchange.limit_headers = grant.headers
        self._holds.add(grant, lambda: self._checkpoint(exchange))
        return grant

    def _refuse(self, exchange: Exchange, error: BaseException, *, began_ns: int) -> None:
        """Note that the request goes no further."""
        ended_ns = self._clock.monotonic_ns()
        exchange.notes.steps.append(stopped("limits", error, began_ns=began_ns, ended_ns=ended_ns))

    def _checkpoint(self, exchange: Exchange) -> bytes:
        """Return the events of a request as they would be if this process died now; none before its first attempt."""
        if not exchange.attempts:
            return b""
        now_ns = self._clock.monotonic_ns()
        at_ms = exchange.grant.granted.at_ms if exchange.grant is not None else self._accounts.time.at_ms(now_ns)
        return encode_events(so_far(exchange, at_ms=at_ms, now_ns=now_ns))


def cap_output(exchange: Exchange, cap: int, *, asked: int | None) -> None:
    """Let the provider answer with at most so many tokens; a lower cap of the client's, `asked`, stays."""
    if not exchange.operation.generates or not exchange.operation.vocabulary.caps:
        return
    if exchange.output_cap is not None:
        cap = min(cap, exchange.output_cap)
    if asked is None or asked > cap:
        exchange.output_cap = cap


def _has_ceiling(exchange: Exchange) -> bool:
    """Whether the caller, or the operator of an ensemble, has said what it may cost at most."""
    fanout = exchange.fanout
    return exchange.options.max_cost_nusd is not None or (fanout is not None and fanout.spec.max_cost_nusd is not None)
