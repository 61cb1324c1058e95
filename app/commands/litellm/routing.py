"""Carries what the router does to the models: balance, retries, clocks, fallbacks and aliases.

The settings may stand under `router_settings` or `litellm_settings`; those of the router win, as in LiteLLM.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from app.commands.litellm.groups import clock_of
from app.commands.litellm.reading import Section
from app.commands.litellm.report import Report

_BALANCES = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "latency-based-routing": "latency",
    "cost-based-routing": "cost",
    "usage-based-routing": "least_busy",
    "usage-based-routing-v2": "least_busy",
}
_FALLBACKS = {
    "fallbacks": "any",
    "context_window_fallbacks": "context_length",
    "content_policy_fallbacks": "content_policy",
}
_MAX_RETRIES = 10
_ANY = "*"

Models = dict[str, dict[str, Any]]


def carry_routing(models: Models, *, router: Section, library: Section) -> None:
    """Write into the models what `router_settings` and `litellm_settings` say of routing, and take it from them."""
    _carry_balance(models, router)
    _carry_attempts(models, router=router, library=library)
    _carry_breaker(models, router=router, library=library)
    _carry_fallbacks(models, router=router, library=library)
    _carry_aliases(models, router)


def _carry_balance(models: Models, router: Section) -> None:
    strategy = router.text("routing_strategy")
    if strategy is None:
        return
    balance = _BALANCES.get(strategy)
    where = router.at("routing_strategy")
    if balance is None:
        router.report.lose(where, f"the balance that is nearest to `{strategy}` is yours to choose")
        return
    if strategy.startswith("usage-based"):
        router.report.change(where, "became `least_busy`: what is used is not compared with what a target may take")
    if balance == "weighted":
        return
    for model in models.values():
        if len(model["targets"]) > 1:
            model.setdefault("balance", balance)


def _carry_attempts(models: Models, *, router: Section, library: Section) -> None:
    given = [router.number("num_retries"), library.number("num_retries")]
    retries = next((number for number in given if number is not None), None)
    total = [router.number("timeout"), library.number("request_timeout")]
    total_s = clock_of(next((number for number in total if number is not None), None))
    first_s = clock_of(router.number("stream_timeout"))
    for model in models.values():
        if retries is not None:
            model.setdefault("retries", max(0, min(int(retries), _MAX_RETRIES)))
        clocks = {"total_s": total_s, "first_token_s": first_s}
        given_clocks = {name: value for name, value in clocks.items() if value is not None}
        if given_clocks or "timeouts" in model:
            model["timeouts"] = given_clocks | model.get("timeouts", {})


def _carry_breaker(models: Models, *, router: Section, library: Section) -> None:
    is_off = router.flag("disable_cooldowns") is True or library.flag("disable_cooldowns") is True
    for place in (router, library):
        for key in ("allowed_fails", "cooldown_time"):
            number = place.number(key)
            is_off = is_off or (key == "cooldown_time" and number == 0)
            if number:
                reason = "a target is left alone after five failures in a row or half of twenty, and tried after 5 s"
                place.report.change(place.at(key), reason)
    if is_off:
        for model in models.values():
            model["breaker"] = False


def _carry_fallbacks(models: Models, *, router: Section, library: Section) -> None:
    graph: dict[str, set[str]] = {name: set() for name in models}
    rest: list[tuple[str, str]] = []
    for key, kind in _FALLBACKS.items():
        for place in (router, library):
            for where, name, fallback in _pairs(place, key):
                if name == _ANY:
                    rest.append((where, fallback))
                    continue
                _add(models, graph, place.report, where=where, pair=(name, fallback), kind=kind)
    for place in (router, library):
        rest += [(where, str(name)) for where, name in place.items("default_fallbacks")]
    for where, fallback in rest:
        for name, model in models.items():
            has_own = model.get("fallbacks", {}).get("any") and (name, where) not in rest
            if name != fallback and not has_own:
                _add(models, graph, router.report, where=where, pair=(name, fallback), kind="any")


def _pairs(place: Section, key: str) -> Iterator[tuple[str, str, str]]:
    """Yield the path, the model and each fallback of it: a list of objects, or one object."""
    for where, element in place.items(key):
        if not isinstance(element, dict):
            place.report.lose(where, "is not an object of models and their fallbacks")
            continue
        for name, fallbacks in element.items():
            for fallback in fallbacks if isinstance(fallbacks, list) else [fallbacks]:
                if isinstance(fallback, str):
                    yield where, str(name), fallback
                else:
                    place.report.lose(where, "a fallback is a model's name here, without a body of its own")


def _add(
    models: Models, graph: Mapping[str, set[str]], report: Report, *, where: str, pair: tuple[str, str], kind: str
) -> None:
    """Add a fallback, unless a name is unknown or the models would fall back in a circle."""
    name, fallback = pair
    unknown = next((each for each in pair if each not in models), None)
    if unknown is not None:
        report.lose(where, f"`{name}` to `{fallback}`: there is no model `{unknown}` here")
    elif name == fallback:
        report.lose(where, f"`{name}` cannot fall back to itself; `retries` tries it again")
    elif _leads(graph, fallback, name):
        report.lose(where, f"`{name}` to `{fallback}` would close a circle, for `{fallback}` falls back to `{name}`")
    else:
        graph[name].add(fallback)
        kinds = models[name].setdefault("fallbacks", {})
        if fallback not in kinds.setdefault(kind, []):
            kinds[kind].append(fallback)


def _leads(graph: Mapping[str, set[str]], start: str, goal: str) -> bool:
    """Tell whether a model falls back, by however many steps, to another."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name == goal:
            return True
        if name not in seen:
            seen.add(name)
            waiting += graph[name]
    return False


def _carry_aliases(models: Models, router: Section) -> None:
    """Make a model of each alias: the same targets under another name."""
    aliases = router.section("model_group_alias")
    for alias, meant in aliases.rest():
        name = meant.get("model") if isinstance(meant, dict) else meant
        where = aliases.at(alias)
        if not isinstance(name, str) or name not in models:
            router.report.lose(where, f"there is no model `{name}` here" if isinstance(name, str) else "names no model")
            continue
        if alias in models:
            router.report.lose(where, "a model has this name")
            continue
        if isinstance(meant, dict) and meant.get("hidden"):
            router.report.change(where, "is listed among the models, as every model that a key may use")
        models[alias] = dict(models[name])
