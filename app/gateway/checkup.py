"""Looks at everything that can be unwell. Law: only reads; what other processes know is what they told or counted."""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from app.gateway.core import Core
from app.gateway.vitals import InstallationHealth, LaneHealth, LedgerHealth, ProviderHealth, StoreHealth
from app.observability.metrics import LEDGER_LAG, LEDGER_QUEUE, STORE_UP
from app.routing.health import Lane, LaneName
from app.settings.model import ProviderSettings, Settings
from app.stores.errors import StoreUnavailable

_KINDS = frozenset({"gateway", "admin", "all"})
_NS_PER_S = 1_000_000_000


class Checkup:
    """Tells how the installation is. One for each process, over what it holds."""

    def __init__(self, core: Core, *, makes_calls: bool) -> None:
        """Make one; a process that makes no calls knows of lanes what the others tell it, and nothing of their pace."""
        self._core = core
        self._makes_calls = makes_calls

    async def __call__(self) -> InstallationHealth:
        """Return how all is now."""
        providers = self._providers(self._core.served)
        stores = self._stores()
        return InstallationHealth(
            status=_summary([*(each.status for each in providers), *("ok" if each.up else "down" for each in stores)]),
            providers=providers,
            stores=stores,
            ledger=await self._ledger(),
        )

    # -- providers ----------------------------------------------------------------------------------------------------

    def _providers(self, settings: Settings) -> list[ProviderHealth]:
        now_ns = self._core.clock.monotonic_ns()
        lanes = {name: Lane(name) for name in _configured(settings)}
        lanes |= {lane.name: lane for lane in self._core.health if lane.name.provider in settings.providers}
        users = _users(settings)
        found: dict[str, list[LaneHealth]] = {name: [] for name in settings.providers}
        for name, lane in sorted(lanes.items()):
            found[name.provider].append(self._lane(lane, users.get((name.provider, name.model), []), now_ns))
        return [_provider(name, given, found[name]) for name, given in settings.providers.items()]

    def _lane(self, lane: Lane, users: list[str], now_ns: int) -> LaneHealth:
        state = lane.breaker.state(now_ns)
        cooled_s = round(lane.cooled_s(now_ns), 3)
        locked_out_s = round(max(0, lane.locked_out_until_ns - now_ns) / _NS_PER_S, 3)
        is_out = state == "open" or bool(cooled_s or locked_out_s)
        ttft_s = lane.first.expected_s(now_ns)
        return LaneHealth(
            model=lane.name.model,
            credential=lane.name.credential + 1,
            models=users,
            status="down" if is_out else "degraded" if state == "half_open" else "ok",
            breaker=state,
            retry_s=None if state == "closed" else round(max(0, lane.breaker.open_until_ns - now_ns) / _NS_PER_S, 3),
            cooled_s=cooled_s,
            locked_out_s=locked_out_s,
            in_flight=lane.inflight if self._makes_calls else None,
            ttft_s=None if ttft_s is None else round(ttft_s, 6),
            samples=lane.first.count if self._makes_calls else None,
        )

    # -- stores and ledger --------------------------------------------------------------------------------------------

    def _stores(self) -> list[StoreHealth]:
        """Return the stores; one that a single process cannot reach is not up."""
        seen = self._core.metrics.values(STORE_UP, kinds=_KINDS)
        database = self._core.settings.database.scheme.partition("+")[0]
        return [
            StoreHealth(name="state", kind=self._core.stores.kind, up=bool(seen.get(("state",), 1.0))),
            StoreHealth(name="database", kind=database, up=bool(seen.get(("database",), 1.0))),
        ]

    async def _ledger(self) -> LedgerHealth:
        """Return the worst lag of any process, and the depth that the store says, or else was last said."""
        values: Callable[..., Mapping[tuple[str, ...], float]] = self._core.metrics.values
        lag_s = values(LEDGER_LAG, kinds=_KINDS).get(())
        try:
            depth = await self._core.stores.usage.depth()
        except StoreUnavailable:
            counted = values(LEDGER_QUEUE, kinds=_KINDS).get(())
            return LedgerHealth(lag_s=lag_s, queue_depth=None if counted is None else int(counted))
        return LedgerHealth(lag_s=lag_s, queue_depth=depth)


def _provider(name: str, given: ProviderSettings, lanes: list[LaneHealth]) -> ProviderHealth:
    return ProviderHealth(
        name=name,
        adapter=given.adapter or name,
        status=_summary(lane.status for lane in lanes),
        credentials=len(given.credentials),
        lanes=lanes,
    )


def _configured(settings: Settings) -> Iterable[LaneName]:
    """Yield the lanes of the file's targets, one for each credential of their providers."""
    for model in settings.models.values():
        for target in model.targets:
            credentials = settings.providers[target.provider].credentials
            for number in range(max(1, len(credentials))):
                yield LaneName(target.provider, target.model, number)


def _users(settings: Settings) -> dict[tuple[str, str], list[str]]:
    """Return the names of the file's models by the targets that they have."""
    found: dict[tuple[str, str], list[str]] = {}
    for name, model in settings.models.items():
        for target in dict.fromkeys((each.provider, each.model) for each in model.targets):
            found.setdefault(target, []).append(name)
    return found


def _summary(parts: Iterable[Literal["ok", "degraded", "down"]]) -> Literal["ok", "degraded", "down"]:
    """Return how a whole is: down if all of its parts are, ok if all of them are, or if it has none."""
    states = set(parts)
    if states <= {"ok"}:
        return "ok"
    return "down" if states == {"down"} else "degraded"
