"""Whether a request may go on: its cost bound, and what it must reserve first. Law: decide, then act."""

from app.domain.prices import Price, PriceBook, bound
from app.kernel.errors import InvalidRequest, ModelNotPriced
from app.kernel.money import format_usd
from app.limits.accounts import Accounts, Hold
from app.pipeline.exchange import Answer, Exchange, Next
from app.pipeline.hosted import find_hosted_tool
from app.pipeline.meter import estimate_tokens
from app.routing.table import RouteTarget

DEFAULT_OUTPUT_CAP = 4_096
"""The output, in tokens, that is allowed for where neither the client nor anybody else says how much."""
MIN_OUTPUT_TOKENS = 16


class Admit:
    """Refuses what would cost too much, and reserves what is limited."""

    def __init__(self, accounts: Accounts, prices: PriceBook) -> None:
        self._accounts = accounts
        self._prices = prices

    async def __call__(self, exchange: Exchange, following: Next) -> Answer:
        """Answer, if the request may go on."""
        most = exchange.options.max_cost_nusd
        if most is not None:
            self._bound_cost(exchange, most)
        if self._accounts.is_limited(exchange.principal.organization_id):
            await self._accounts.reserve(self._hold(exchange))
            exchange.is_reserved = True
        return await following(exchange)

    def _bound_cost(self, exchange: Exchange, most: int) -> None:
        """Refuse a request whose dearest candidate could cost more than `most`, or cap its output so that none can."""
        prices = [self._price(exchange, target) for target in exchange.route.targets]
        self._refuse_unbounded(exchange)
        tokens_in = estimate_tokens(exchange.text_bytes)
        vocabulary = exchange.operation.vocabulary
        choices = vocabulary.asked_choices(exchange.document)
        if exchange.operation.generates and not vocabulary.caps:
            what = exchange.operation.endpoint
            raise InvalidRequest(f"the cost of {what} cannot be bounded beforehand", param="x-gateway-max-cost")
        if not exchange.operation.generates:
            worst = max(bound(price, input_tokens=tokens_in, output_tokens=0) for price in prices)
        else:
            if odd := vocabulary.odd_cap(exchange.document):
                raise InvalidRequest(f"{odd} must be more than 0 where the cost is to be bounded", param=odd)
            if rival := vocabulary.rival_cap(exchange.document):
                raise InvalidRequest(f"{rival} cannot be sent where the cost is to be bounded", param=rival)
            cap = vocabulary.asked_cap(exchange.document)
            if cap is None:
                cap = exchange.output_cap = self._affordable(prices, tokens_in, most, choices)
            worst = max(bound(price, input_tokens=tokens_in, output_tokens=cap * choices) for price in prices)
        if worst > most:
            raise InvalidRequest(
                f"this request may cost up to {format_usd(worst)} USD, more than the allowed {format_usd(most)}",
                code="max_cost_exceeded",
                param="x-gateway-max-cost",
            )

    @staticmethod
    def _refuse_unbounded(exchange: Exchange) -> None:
        """Refuse what brings more into the conversation than the body shows."""
        path = exchange.references[0].path if exchange.references else find_hosted_tool(exchange.document)
        if path is not None:
            raise InvalidRequest(f"the cost of what {path} brings along cannot be bounded beforehand", param=path)

    @staticmethod
    def _affordable(prices: list[Price], tokens_in: int, most: int, choices: int) -> int:
        """Return the largest output cap, up to the default, that `most` pays for with every price; at least 16."""
        low, high = MIN_OUTPUT_TOKENS, DEFAULT_OUTPUT_CAP
        while low < high:
            middle = (low + high + 1) // 2
            worst = max(bound(price, input_tokens=tokens_in, output_tokens=middle * choices) for price in prices)
            low, high = (middle, high) if worst <= most else (low, middle - 1)
        return low

    def _price(self, exchange: Exchange, target: RouteTarget) -> Price:
        price = target.price or self._prices.find(target.vendor, target.target.model)
        if price is None:
            raise ModelNotPriced(f"the model {exchange.route.name!r} has no price, so its cost cannot be bounded")
        return price

    def _hold(self, exchange: Exchange) -> Hold:
        principal, targets = exchange.principal, exchange.route.targets
        prices = [target.price or self._prices.find(target.vendor, target.target.model) for target in targets]
        known = [price for price in prices if price is not None]
        tokens_in = estimate_tokens(exchange.text_bytes)
        vocabulary = exchange.operation.vocabulary
        tokens_out = 0
        if exchange.operation.generates:
            tokens_out = vocabulary.asked_cap(exchange.document) or DEFAULT_OUTPUT_CAP
            tokens_out *= vocabulary.asked_choices(exchange.document)
        costs = [bound(price, input_tokens=tokens_in, output_tokens=tokens_out) for price in known]
        return Hold(
            request_id=exchange.request_uuid,
            organization_id=principal.organization_id,
            team_id=principal.team_id,
            key_id=principal.key_id,
            model=exchange.route.name,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            cost_nusd=max(costs) if len(known) == len(prices) else None,
        )
