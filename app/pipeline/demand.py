"""What a request may use and cost, told before it goes on. Law: pure; a refusal names the field at fault."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from app.domain.prices import Price, PriceBook, bound, bound_parts
from app.fanout.judging import MOST_OUTPUT_TOKENS as JUDGE_TOKENS
from app.kernel.errors import InvalidRequest, ModelNotPriced
from app.kernel.money import format_usd, round_up
from app.limits.estimate import Demand, Estimator, guess_tokens
from app.limits.plan import Plan
from app.pipeline.exchange import Exchange
from app.pipeline.fanout import MOST_SHOWN_BYTES, Fanout
from app.pipeline.hosted import find_hosted_tool
from app.routing.table import Route, RouteTarget
from app.stores.accounts import Money, money_of

DEFAULT_OUTPUT_CAP = 4_096
"""The output, in tokens, that is allowed for where neither the client nor anybody else says how much."""
MIN_OUTPUT_TOKENS = 16
_BYTES_PER_TOKEN = 6
"""More than nearly all tokens have: what is longer is cut where a judge or a fuser is shown it."""
_AROUND_BYTES = 4_096
"""More than what stands around the answers, and around each, where somebody is asked about them."""
_MEDIA_IMAGES = 10
"""How many pictures a request may ask for that does not say how many; no vendor makes more at once."""


class Demands:
    """Tells what requests ask for."""

    def __init__(self, prices: PriceBook, *, estimator: Estimator) -> None:
        self._prices = prices
        self._estimator = estimator

    @staticmethod
    def cap_of(exchange: Exchange, plan: Plan) -> int:
        """Return the output that is allowed for, in tokens of each answer, before any budget has its say."""
        if not exchange.operation.generates:
            return 0
        cap = asked_cap(exchange) or DEFAULT_OUTPUT_CAP
        for other in (plan.policy.output_cap, exchange.output_cap):
            if other is not None and other < cap:
                cap = other
        return cap

    def of(self, exchange: Exchange, plan: Plan) -> Demand:
        """Return what a request asks for; raises `InvalidRequest` where a budget could not bound it."""
        asked = asked_cap(exchange)
        operation, label = exchange.operation, exchange.route.label
        tokens_in = self._estimator.input_tokens(label, exchange.measured())
        choices = _choices(exchange)
        cap = self.cap_of(exchange, plan)
        guessed = min(asked or self._estimator.output_tokens(label), cap) * choices
        name = exchange.route.name
        if operation.is_free:
            return Demand(name, tokens_in, 0)
        if not plan.counts_money:
            times = 1 if exchange.fanout is None else len(exchange.fanout.routes)
            return Demand(name, tokens_in * times, guessed * times, choices=choices or 1)
        if exchange.fanout is not None:
            return self._of_all(exchange, exchange.fanout, plan, cap=cap, tokens_in=tokens_in, guessed=guessed)
        self._leave_out_unpriced(exchange)
        prices = self._prices_of(exchange)
        if prices is None:
            return Demand(name, tokens_in, guessed, unpriced=name, choices=choices or 1)
        fixed_nusd, rate_nusd = self._dearest(exchange, prices)
        if operation.generates and plan.budgets and operation.vocabulary.caps and (fixed_nusd or rate_nusd):
            self._refuse_uncapped(exchange)
        return Demand(
            name,
            tokens_in,
            guessed,
            fixed_nusd=fixed_nusd,
            rate_nusd=rate_nusd,
            cap=cap * choices,
            choices=choices or 1,
            likely_nusd=max([round_up(tokens_in * price.rates.input_nusd) for price in prices]),
        )

    def bound_nusd(self, exchange: Exchange, cap: int) -> int | None:
        """Return the most that a request can cost with so many tokens of output in each answer, whoever serves it.

        Nothing if one of those has no price.
        """
        if exchange.operation.is_free:
            return 0
        if exchange.fanout is not None:
            fanout = exchange.fanout = msgspec.structs.replace(exchange.fanout, shown_bytes=shown_bytes(cap))
            parts = self._parts(exchange, fanout) if self._unpriced(exchange, fanout) is None else None
        else:
            prices = self._prices_of(exchange)
            parts = None if prices is None else self._dearest(exchange, prices)
        return None if parts is None else money_of(Money(*parts), cap * _choices(exchange))

    def target_nusd(self, exchange: Exchange, price: Price, cap: int) -> int:
        """Return the most that one call for a request can cost at a price."""
        return money_of(Money(*self._parts_at(exchange, price)), cap * _choices(exchange))

    def _prices_of(self, exchange: Exchange) -> list[Price] | None:
        """Return the prices of all targets that may serve; nothing if one of them has none."""
        prices = []
        for target in exchange.every_target():
            price = self.price_of(exchange, target)
            if price is None:
                return None
            prices.append(price)
        return prices

    def _dearest(self, exchange: Exchange, prices: list[Price]) -> tuple[int, int]:
        """Return what a request costs at most however much comes out, and for each million tokens of output."""
        parts = [self._parts_at(exchange, price) for price in prices]
        fixed_nusd, rate_nusd = parts[0] if len(parts) == 1 else (max(p[0] for p in parts), max(p[1] for p in parts))
        if _is_hedged(exchange):
            fixed_nusd *= 2  # the second call's prompt
            if not exchange.stream:
                rate_nusd *= 2  # the loser is cut off at its first content, but a whole answer comes all at once
        return fixed_nusd, rate_nusd

    @staticmethod
    def _parts_at(exchange: Exchange, price: Price) -> tuple[int, int]:
        if exchange.operation.is_free:
            return 0, 0
        prompt, is_media = exchange.measured(), exchange.operation.is_media
        fixed_nusd, rate_nusd = bound_parts(
            price,
            input_tokens=prompt.tokens_at_most,
            has_media=is_media or bool(prompt.images or prompt.media_bytes),
            images=_asked_images(exchange.document) if is_media else 0,
        )
        return fixed_nusd, rate_nusd if exchange.operation.generates else 0

    def _of_all(
        self, exchange: Exchange, fanout: Fanout, plan: Plan, *, cap: int, tokens_in: int, guessed: int
    ) -> Demand:
        """Return what all models of a fan-out ask for together, and who is asked last about what they have said."""
        name, times = exchange.route.name, len(fanout.routes)
        fanout = exchange.fanout = msgspec.structs.replace(fanout, shown_bytes=shown_bytes(cap))
        unpriced = self._unpriced(exchange, fanout)
        if unpriced is not None:
            return Demand(name, tokens_in * times, guessed * times, unpriced=unpriced)
        fixed_nusd, rate_nusd = self._parts(exchange, fanout)
        if plan.budgets and (fixed_nusd or rate_nusd):
            self._refuse_uncapped(exchange)
        return Demand(
            name,
            tokens_in * times,
            guessed * times,
            fixed_nusd=fixed_nusd,
            rate_nusd=rate_nusd,
            cap=cap,
            likely_nusd=sum(self._likely(exchange, route, tokens_in) for route in fanout.legs),
        )

    def _likely(self, exchange: Exchange, route: Route, tokens_in: int) -> int:
        """Return what the input of one leg costs, guessed."""
        prices = [self.price_of(exchange, target) for target in route.targets]
        return max(round_up(tokens_in * price.rates.input_nusd) for price in prices if price is not None)

    def _unpriced(self, exchange: Exchange, fanout: Fanout) -> str | None:
        """Return the first model of a fan-out that has a target without a price, if any."""
        return next(
            (
                route.name
                for route in fanout.routes
                if any(self.price_of(exchange, target) is None for target in route.targets)
            ),
            None,
        )

    def _parts(self, exchange: Exchange, fanout: Fanout) -> tuple[int, int]:
        """Return what a fan-out costs at most however much comes out, and for each token of every answer.

        Each leg at its dearest target; the judge with all that it may say, the fuser like a leg. All have a price.
        """
        prompt = exchange.measured()
        has_media = bool(prompt.images or prompt.media_bytes)
        told = len(fanout.legs) * (fanout.shown_bytes + _AROUND_BYTES) + _AROUND_BYTES
        told += len((fanout.spec.rubric or "").encode())
        fixed_nusd = rate_nusd = 0
        for route in fanout.routes:
            is_last = route is fanout.last
            most = prompt.tokens_at_most + (told if is_last else 0)
            bounds = [
                bound_parts(price, input_tokens=most, has_media=has_media, images=0)
                for target in route.targets
                if (price := self.price_of(exchange, target)) is not None
            ]
            fixed, rate = max(each[0] for each in bounds), max(each[1] for each in bounds)
            if fanout.judge is not None and is_last:
                fixed, rate = fixed + round_up(rate * JUDGE_TOKENS), 0
            # Each is rounded up by itself.
            fixed_nusd, rate_nusd = fixed_nusd + fixed + 1, rate_nusd + rate
        return fixed_nusd, rate_nusd

    def _leave_out_unpriced(self, exchange: Exchange) -> None:
        """Fall back, where money is counted, to no model of which nobody knows what it costs."""
        if exchange.alternatives:
            exchange.alternatives = {
                name: route
                for name, route in exchange.alternatives.items()
                if all(self.price_of(exchange, target) is not None for target in route.targets)
            }

    @staticmethod
    def _refuse_uncapped(exchange: Exchange) -> None:
        """Refuse a cap that a server may take for none, where a budget must hold."""
        vocabulary, document = exchange.operation.vocabulary, exchange.document
        if odd := vocabulary.odd_cap(document):
            raise InvalidRequest(f"{odd} must be more than 0 where a budget applies", param=odd)
        if rival := vocabulary.rival_cap(document):
            raise InvalidRequest(f"{rival} cannot be sent where a budget applies", param=rival)

    def price_of(self, exchange: Exchange, target: RouteTarget) -> Price | None:
        """Return the price that a target may be charged at: that of the service tier, if the client asks for one."""
        if target.price is not None:
            return target.price
        tier = exchange.document.get("service_tier")
        if isinstance(tier, str) and (
            dearer := self._prices.find_tier(target.vendor, target.target.model, service_tier=tier)
        ):
            return dearer
        return self._prices.find(target.vendor, target.target.model)

    def within_ceiling(self, exchange: Exchange) -> None:
        """Keep a request to what its caller, or the operator of an ensemble, says that it may cost at most."""
        if exchange.operation.is_free:
            return
        most, named_in = exchange.options.max_cost_nusd, exchange.options.label("max_cost")
        if exchange.fanout is not None and exchange.fanout.spec.max_cost_nusd is not None:
            mine = exchange.fanout.spec.max_cost_nusd
            named_in, most = ("fanout.max_cost", mine) if most is None or mine < most else (named_in, most)
        if most is not None:
            self.bound_cost(exchange, most, named_in=named_in)

    def bound_cost(self, exchange: Exchange, most: int, *, named_in: str) -> None:
        """Refuse a request whose dearest candidate could cost more than `most`, or cap its output so that none can."""
        worst_of = self._worst_cost(exchange)
        self._refuse_unbounded(exchange)
        vocabulary = exchange.operation.vocabulary
        choices = vocabulary.asked_choices(exchange.document)
        if exchange.operation.generates and not vocabulary.caps:
            what = exchange.operation.endpoint
            raise InvalidRequest(f"the cost of {what} cannot be bounded beforehand", param=named_in)
        if not exchange.operation.generates:
            worst = worst_of(0)
        else:
            if odd := vocabulary.odd_cap(exchange.document):
                raise InvalidRequest(f"{odd} must be more than 0 where the cost is to be bounded", param=odd)
            if rival := vocabulary.rival_cap(exchange.document):
                raise InvalidRequest(f"{rival} cannot be sent where the cost is to be bounded", param=rival)
            cap = vocabulary.asked_cap(exchange.document)
            if cap is None:
                cap = exchange.output_cap = self._affordable(lambda cap: worst_of(cap * choices), most)
            worst = worst_of(cap * choices)
        if worst > most:
            raise InvalidRequest(
                f"this request may cost up to {format_usd(worst)} USD, more than the allowed {format_usd(most)}",
                code="max_cost_exceeded",
                param=named_in,
            )

    @staticmethod
    def _refuse_unbounded(exchange: Exchange) -> None:
        """Refuse what brings more into the conversation than the body shows."""
        path = exchange.references[0].path if exchange.references else find_hosted_tool(exchange.document)
        if path is not None:
            raise InvalidRequest(f"the cost of what {path} brings along cannot be bounded beforehand", param=path)

    def _worst_cost(self, exchange: Exchange) -> Callable[[int], int]:
        """Return what tells the most that so much output can cost at any target; raises `ModelNotPriced`."""
        prices = []
        if exchange.fanout is not None:
            unpriced = self._unpriced(exchange, exchange.fanout)
            if unpriced is not None:
                raise _unbounded(unpriced)
            parts = self._parts(exchange, exchange.fanout)
            return lambda output_tokens: parts[0] + round_up(parts[1] * output_tokens)
        self._leave_out_unpriced(exchange)
        for target in exchange.every_target():
            price = self.price_of(exchange, target)
            if price is None:
                raise _unbounded(exchange.route.name)
            prices.append(price)
        prompt = exchange.measured()
        tokens_in = guess_tokens(prompt)
        is_media = exchange.operation.is_media
        has_media = is_media or bool(prompt.images or prompt.media_bytes)
        images = _asked_images(exchange.document) if is_media else 0

        def worst(output_tokens: int) -> int:
            return max(
                bound(price, input_tokens=tokens_in, output_tokens=output_tokens, has_media=has_media, images=images)
                for price in prices
            )

        if not _is_hedged(exchange):
            return worst
        is_streamed = exchange.stream
        return lambda output_tokens: worst(output_tokens) + worst(0 if is_streamed else output_tokens)

    @staticmethod
    def _affordable(worst: Callable[[int], int], most: int) -> int:
        """Return the largest output cap, up to the default, whose worst cost is within `most`; at least 16."""
        low, high = MIN_OUTPUT_TOKENS, DEFAULT_OUTPUT_CAP
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if worst(middle) <= most else (low, middle - 1)
        return low


def _unbounded(model: str) -> ModelNotPriced:
    return ModelNotPriced(f"the model {model[:100]!r} has no price, so its cost cannot be bounded")


def shown_bytes(cap: int) -> int:
    """Return how much of an answer of so many tokens a judge or a fuser is shown."""
    return min(MOST_SHOWN_BYTES, cap * _BYTES_PER_TOKEN)


def _is_hedged(exchange: Exchange) -> bool:
    """Whether any of the models that may serve sends a second call when the first is slow."""
    return any(route.hedge is not None for route in (exchange.route, *exchange.alternatives.values()))


def asked_cap(exchange: Exchange) -> int | None:
    """Return the output cap that the client asks for, where there is one to ask for."""
    operation = exchange.operation
    return operation.vocabulary.asked_cap(exchange.document) if operation.generates else None


def _choices(exchange: Exchange) -> int:
    """Return how many answers a request asks for; none where nothing is generated."""
    operation = exchange.operation
    return operation.vocabulary.asked_choices(exchange.document) if operation.generates else 0


def _asked_images(document: Mapping[str, Any]) -> int:
    asked = document.get("n")
    return asked if isinstance(asked, int) and 0 < asked <= _MEDIA_IMAGES else _MEDIA_IMAGES if asked is not None else 1
