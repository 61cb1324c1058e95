"""The cache of one worker: what each principal may have of it, where it looks, and what compares questions."""

import asyncio
from functools import partial
from uuid import UUID

from app.cache.answers import Sealer
from app.cache.embedding import Embedder, StaticEmbedder
from app.cache.embedding.onnx import OnnxEmbedder
from app.cache.guards import Evidence, differ, features_of
from app.cache.likes import Likes
from app.cache.nearest import Partitions
from app.cache.semantic import Semantic
from app.cache.shelf import Shelf
from app.cache.statistics import Statistics
from app.cache.wishes import CachePolicy, Wish, nearest, wish_of
from app.domain.keys.principal import Principal
from app.domain.keys.secrets import MasterSecrets
from app.domain.prices import PriceBook
from app.domain.tenants.policies import CacheRules
from app.gateway.core import Core
from app.gateway.embedding import RemoteEmbedder, TargetOf
from app.gateway.tally import Tally
from app.kernel.errors import InternalError
from app.observability.metrics import CACHE_SHADOW, TOKENS
from app.pipeline.exchange import Exchange
from app.pipeline.foresight import Binding, Scope
from app.routing.table import RouteTarget
from app.settings.model import Settings
from app.settings.policy import CacheSettings
from providers.types import Usage

_MAX_KEPT = 100_000
_MIB = 1 << 20
_STATIC, _ONNX = "static", "onnx"


class Wishes:
    """What the cache is to do for each request, by the settings in force. One for each worker."""

    def __init__(self, settings: Settings) -> None:
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Let new settings bind from the next request on."""
        self._file = _policy_of(settings.cache)
        self._of_file = Binding(self._file, "config")
        self._made: dict[UUID, tuple[Principal, CachePolicy]] = {}

    def __call__(self, exchange: Exchange) -> Wish | None:
        """Return what is to be done for a request."""
        options = exchange.options
        policy = self.policy(exchange.principal)
        if policy.mode == "off" and options.cache is None:
            return None
        return wish_of(
            policy,
            asked=options.cache,
            ttl_s=options.cache_ttl_s,
            least_similarity=options.cache_threshold,
            control=options.cache_control,
        )

    def policy(self, principal: Principal) -> CachePolicy:
        """Return the setting that binds a principal."""
        if not principal.cache:
            return self._file
        known = self._made.get(principal.key_id)
        if known is not None and known[0] is principal:
            return known[1]
        policy = nearest([*map(_policy_of, principal.cache), self._file])
        if len(self._made) >= _MAX_KEPT:
            del self._made[next(iter(self._made))]
        self._made[principal.key_id] = (principal, policy)
        return policy

    def binding(self, principal: Principal) -> Binding:
        """Return the setting that binds a principal, and what it is set on."""
        if not principal.cache:
            return self._of_file
        policies = [*map(_policy_of, principal.cache), self._file]
        policy = nearest(policies)
        scopes: list[Scope] = [*principal.cache_scopes, "config"]
        return Binding(policy, scopes[policies.index(policy)])


def sealer_of(settings: Settings) -> Sealer:
    """Return what seals answers under the master secret. Raises `InternalError` where there is none."""
    if settings.master_secret is None:
        raise InternalError("the master secret is missing")
    keys = MasterSecrets(settings.master_secret, settings.old_master_secret).derive(purpose="cached answers 1")
    return Sealer(keys.current, old_key=keys.old)


def _policy_of(rules: CacheRules | CacheSettings) -> CachePolicy:
    return CachePolicy(mode=rules.mode, ttl_s=rules.ttl_s, threshold=rules.threshold, scope=rules.scope)


class Caching:
    """The parts of one worker's cache. Embedders are made when they are first needed, and not on the event loop."""

    def __init__(self, core: Core, *, tally: Tally, prices: PriceBook, target_of: TargetOf) -> None:
        settings = core.settings
        self.wishes = Wishes(settings)
        self.shelf = Shelf(
            core.cache,
            sealer=sealer_of(settings),
            clock=core.clock,
            spawn=core.tasks.spawn,
            maker=core.stores.signals.address if core.is_cache_shared else "",
            most_bytes=settings.cache.max_mb * _MIB,
        )
        self.statistics = Statistics(core.cache, spawn=core.tasks.spawn)
        self.likes = Likes(
            self.shelf,
            semantic=self._semantic,
            judge=self._static,
            statistics=self.statistics,
            compared=self._count_compared,
            clock=core.clock,
            spawn=core.tasks.spawn,
        )
        self._core = core
        self._tally = tally
        self._prices = prices
        self._target_of = target_of
        self._made_static: asyncio.Future[StaticEmbedder] | None = None
        self._onnx: OnnxEmbedder | None = None
        self._made: tuple[str, Semantic] | None = None
        self.replace(settings)

    def replace(self, settings: Settings) -> None:
        """Let new settings bind from the next request on. Raises `ExtraMissing` for an embedder that is not there."""
        self._name = settings.cache.embedder
        if self._name == _ONNX and self._onnx is None:
            self._onnx = OnnxEmbedder()
        self.likes.target = settings.cache.target_false_hits
        self.wishes.replace(settings)

    @property
    def asks_provider(self) -> bool:
        """Whether questions are compared by a provider's model."""
        return self._name not in {_STATIC, _ONNX}

    def close(self) -> None:
        """Hand over what has been counted, and let the embedder's thread end."""
        self.statistics.flush()
        if self._onnx is not None:
            self._onnx.close()

    async def _semantic(self) -> Semantic:
        """Return what finds like questions, by the embedder that the settings name."""
        name = self._name
        if self._made is not None and self._made[0] == name:
            return self._made[1]
        embedder = await self._embedder(name)
        # The guards' lists of words are read at their first judgement: 40 ms that are not the event loop's.
        await asyncio.to_thread(differ, "what is read now", "is there later")
        made = Semantic(
            self.shelf,
            embedder=embedder,
            partitions=Partitions(),
            spawn=self._core.tasks.spawn,
            differ=partial(differ, evidence=Evidence(await self._static())),
            read=features_of,
        )
        self._made = (name, made)
        return made

    async def _embedder(self, name: str) -> Embedder:
        if name == _ONNX and self._onnx is not None:
            return self._onnx
        if name == _STATIC:
            return await self._static()
        return RemoteEmbedder(name, target_of=self._target_of, prices=self._prices, used=self._count_used)

    async def _static(self) -> StaticEmbedder:
        if self._made_static is None:
            # Opening the table takes about 10 ms.
            self._made_static = asyncio.ensure_future(asyncio.to_thread(StaticEmbedder))
        return await asyncio.shield(self._made_static)

    def _count_compared(self, agrees: bool) -> None:  # noqa: FBT001 - the one thing that is told
        self._core.metrics.number(CACHE_SHADOW, "agree" if agrees else "differ").add()

    def _count_used(self, target: RouteTarget, usage: Usage, cost_nusd: int) -> None:
        """Count what comparing questions costs: it is the operator's, and in nobody's ledger."""
        self._core.metrics.number(TOKENS, target.name, "input").add(usage.prompt_tokens)
        self._tally.count_cost(cost_nusd, model=target.name, provider=target.provider)
