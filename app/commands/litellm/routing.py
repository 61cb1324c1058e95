"""Carries what the router does to the models: balance, retries, clocks, fallbacks and aliases.

The settings may stand under `router_settings` or `litellm_settings`; those of the router win, as in LiteLLM.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from app.commands.litellm.attempts import clock_in, retries_in
from app.commands.litellm.reading import Section

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
_USUAL_RETRIES = 2
"""How many a model has that says nothing."""
_MOST_RETRIES = 10
_ANY = "*"

Models = dict[str, dict[str, Any]]
Later = Mapping[str, tuple[str, ...]]
"""For each name that LiteLLM's clients know, the models of its later orders."""
_Number = TypeVar("_Number", int, float)


def carry_routing(models: Models, *, later: Later, router: Section, library: Section) -> None:
    """Write into the models what `router_settings` and `litellm_settings` say of routing, and take it from them."""
    if not models:
        _lose_what_needs_models(router, library)
    _carry_balance(models, router)
    _carry_attempts(models, router=router, library=library)
    _carry_breaker(models, router=router, library=library)
    _carry_fallbacks(models, later, router=router, library=library)
    _carry_aliases(models, router)


def _lose_what_needs_models(router: Section, library: Section) -> None:
    for place in (router, library):
        for key in ("num_retries", "timeout", "request_timeout", "stream_timeout", "disable_cooldowns"):
            if place.has(key):
                place.report.lose(place.at(key), "is a model's here, and the file has none: write it at each of them")


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
    retries = _winning(retries_in(router, "num_retries"), retries_in(library, "num_retries"), "num_retries", library)
    total_s = _winning(clock_in(router, "timeout"), clock_in(library, "request_timeout"), "request_timeout", library)
    first_s = _winning(
        clock_in(router, "stream_timeout"), clock_in(library, "stream_timeout"), "stream_timeout", library
    )
    clocks = {"total_s": total_s, "first_token_s": first_s}
    given_clocks = {name: value for name, value in clocks.items() if value is not None}
    for name, model in models.items():
        if retries is not None:
            model.setdefault("retries", retries)
        if given_clocks or "timeouts" in model:
            model["timeouts"] = given_clocks | model.get("timeouts", {})
        _reach_all_targets(name, model, router)


def _winning(router: _Number | None, library: _Number | None, key: str, place: Section) -> _Number | None:
    """Return the router's number, else the library's, which is reported where it does not count."""
    if router is not None and library is not None:
        place.report.change(place.at(key), "is passed over: what `router_settings` say wins, as in LiteLLM")
    return library if router is None else router


def _reach_all_targets(name: str, model: dict[str, Any], router: Section) -> None:
    """Let a model whose targets follow each other be tried until it comes to the last one."""
    needed = min(len(model["targets"]) - 1, _MOST_RETRIES)
    if model.get("balance") == "priority" and model.get("retries", _USUAL_RETRIES) < needed:
        model["retries"] = needed
        router.report.change(router.at("num_retries"), f"is {needed} for `{name}`, so that each `order` has its turn")


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


class _Fallback(NamedTuple):
    """What the file says that models fall back to, and where it says so."""

    place: Section
    where: str
    name: str
    kind: str


def _carry_fallbacks(models: Models, later: Later, *, router: Section, library: Section) -> None:
    graph = {name: set(_chosen(model)) for name, model in models.items()}
    of_one = [*_fallbacks(router, library)]
    of_any = [(each, fallback) for each, fallback in of_one if each.name == _ANY]
    for place in (router, library):
        for where, fallback in place.items("default_fallbacks"):
            of_any.append((_Fallback(place, where, _ANY, "any"), str(fallback)))
    own: set[tuple[str, str]] = set()
    for each, fallback in of_one:
        # What is too long for a model, or against its policy, may be so for its later orders first.
        names = (each.name,) if each.kind == "any" else (each.name, *later.get(each.name, ()))
        own |= {(name, each.kind) for name in names if name != _ANY and _add(models, graph, each, (name, fallback))}
    for each, fallback in of_any:
        for name in later:
            if name != fallback and (name, each.kind) not in own:
                _add(models, graph, each, (name, fallback))


def _fallbacks(router: Section, library: Section) -> Iterator[tuple[_Fallback, str]]:
    for key, kind in _FALLBACKS.items():
        for place in (router, library):
            for where, name, fallback in _pairs(place, key):
                yield _Fallback(place, where, name, kind), fallback


def _chosen(model: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a model falls back to by itself: its own later order."""
    yield from model.get("fallbacks", {}).get("any", ())


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
                    place.report.lose(where, f"`{name}`: a fallback is a model's name here, without a body of its own")


def _add(models: Models, graph: Mapping[str, set[str]], said: _Fallback, pair: tuple[str, str]) -> bool:
    """Add a fallback, unless a name is unknown or the models would fall back in a circle; tell whether it was."""
    name, fallback = pair
    unknown = next((each for each in pair if each not in models), None)
    if unknown is not None:
        said.place.report.lose(said.where, f"`{name}` to `{fallback}`: there is no model `{unknown}` here")
    elif name == fallback:
        said.place.report.lose(said.where, f"`{name}` cannot fall back to itself; `retries` tries it again")
    elif _leads(graph, fallback, name):
        said.place.report.lose(
            said.where, f"`{name}` to `{fallback}` would close a circle, for `{fallback}` falls back to `{name}`"
        )
    else:
        graph[name].add(fallback)
        kinds = models[name].setdefault("fallbacks", {})
        if fallback not in kinds.setdefault(said.kind, []):
            kinds[said.kind].append(fallback)
        return True
    return False


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
        where = aliases.at(alias)
        about = Section(meant, where, router.report) if isinstance(meant, dict) else None
        name, is_hidden = (meant, False) if about is None else (about.text("model"), about.flag("hidden"))
        if about is not None:
            about.lose_rest({}, "an alias is another name of a model, and nothing else")
        if not isinstance(name, str) or name not in models:
            router.report.lose(where, f"there is no model `{name}` here" if isinstance(name, str) else "names no model")
            continue
        if alias in models:
            router.report.lose(where, "a model has this name")
            continue
        if is_hidden:
            router.report.change(where, "is listed among the models, as every model that a key may use")
        models[alias] = dict(models[name])
