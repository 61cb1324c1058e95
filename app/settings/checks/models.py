"""Models and ensembles: the names in them exist, lead somewhere, and not in a circle."""

import graphlib
from collections.abc import Collection, Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any, get_args

from app.settings.checks.findings import Findings
from app.settings.document import below
from app.settings.model import EnsembleSettings, ModelSettings, PriceSettings
from app.settings.policy import COUNTING_STRATEGIES, Strategy, waits_for
from app.settings.suggestions import did_you_mean, one_of, shown
from providers.openai.downstream import parse_chat

MAX_NAME = 256
_OWN_FIELDS = frozenset({"model", "stream", "messages"})
_NEEDS = {"mixture": ("fuser",), "quorum": ("quorum",), "best_of": ("judge", "scorer"), "first_valid": ("check",)}
"""What a strategy cannot do without: at least one of these."""
_USED_BY = {
    "judge": {"best_of"},
    "scorer": {"best_of"},
    "rubric": {"best_of", "mixture"},
    "fuser": {"mixture"},
    "quorum": {"quorum", "best_of", "mixture"},
    "check": {"first_valid", "cascade"},
    "after_s": {"hedge"},
    "min_logprob": {"cascade"},
}
_BUILT_IN = get_args(Strategy)
_PUBLISHED = "llm_gateway.strategies"


def check_models(findings: Findings) -> None:
    """Check every model and ensemble."""
    settings = findings.settings
    for name, model in settings.models.items():
        path = below("models", name)
        _check_name(findings, path, name)
        _check_targets(findings, path, model)
        _check_balance(findings, path, model)
        _check_fallbacks(findings, path, name=name, model=model)
        _check_timeouts(findings, path, name=name)
        _check_transform(findings, path, model)
        _check_price(findings, path, model)
    _check_cycles(findings)
    for name, ensemble in settings.ensembles.items():
        path = below("ensembles", name)
        _check_name(findings, path, name)
        _check_ensemble(findings, path, ensemble)
        if name in findings.names["models"]:
            findings.error(path, "a model has the same name", suggestion="rename one of the two")


def _check_name(findings: Findings, path: str, name: str) -> None:
    if not name or len(name) > MAX_NAME or not name.isprintable() or name != name.strip():
        findings.error(path, f"a model's name has 1 to {MAX_NAME} printable characters, without spaces around it")


def _check_targets(findings: Findings, path: str, model: ModelSettings) -> None:
    seen: set[tuple[str, str]] = set()
    providers = findings.names["providers"]
    for index, target in enumerate(model.targets):
        where = f"{below(path, 'targets')}[{index}]"
        if target.provider not in providers:
            findings.error(
                below(where, "provider"),
                f"there is no provider {shown(target.provider)}",
                suggestion=did_you_mean(target.provider, providers, otherwise=_listed("providers", providers)),
            )
        if (target.provider, target.model) in seen:
            findings.error(where, "is the same target as an earlier one", suggestion="give one of them more `weight`")
        seen.add((target.provider, target.model))


def _listed(section: str, names: Collection[str]) -> str:
    return f"`{section}` holds {', '.join(sorted(names)[:10])}" if names else f"`{section}` holds nothing"


def _check_balance(findings: Findings, path: str, model: ModelSettings) -> None:
    weights = [target.weight for target in model.targets]
    if model.balance == "weighted" and weights and not any(weights):
        findings.error(below(path, "targets"), "every weight is 0, so that nothing would be chosen first")
    if len(weights) == 1:
        for field in ("balance", "sticky"):
            if findings.is_set(below(path, field)):
                findings.warn(below(path, field), "has no effect: there is only one target")
    elif model.balance == "priority" and model.sticky == "none":
        _warn_of_weights(findings, path, model)


def _warn_of_weights(findings: Findings, path: str, model: ModelSettings) -> None:
    """Warn of weights that no order asks for; 0, only when the others fail, holds in every one."""
    for index, target in enumerate(model.targets):
        where = f"{below(path, 'targets')}[{index}].weight"
        if target.weight and findings.is_set(where):
            findings.warn(where, f"has no effect with `balance: {model.balance}`", suggestion="set `balance: weighted`")


def _fallbacks(path: str, model: ModelSettings, findings: Findings) -> Iterator[tuple[str, str]]:
    """Yield the path, as written, and the name of every fallback."""
    lists = {
        "any": model.fallbacks.any,
        "context_length": model.fallbacks.context_length,
        "content_policy": model.fallbacks.content_policy,
    }
    where = below(path, "fallbacks")
    is_list = findings.is_set(f"{where}[0]")
    for kind, names in lists.items():
        for index, fallback in enumerate(names):
            yield (f"{where}[{index}]" if is_list else f"{below(where, kind)}[{index}]"), fallback


def _check_fallbacks(findings: Findings, path: str, *, name: str, model: ModelSettings) -> None:
    for where, fallback in _fallbacks(path, model, findings):
        if fallback == name:
            findings.error(where, "a model cannot fall back to itself", suggestion="`retries` tries it again")
        else:
            _check_model_name(findings, where, fallback)


def _check_model_name(findings: Findings, path: str, name: str | None) -> None:
    models = findings.names["models"]
    known = models or findings.known_models
    if name is None or known is None or name in known:
        return
    if name in findings.names["ensembles"]:
        findings.error(path, f"{shown(name)} is an ensemble; a model is wanted here")
        return
    suggestion = did_you_mean(name, known, otherwise=_listed("models", models))
    findings.error(path, f"there is no model {shown(name)}", suggestion=suggestion)


def _check_cycles(findings: Findings) -> None:
    models = findings.settings.models
    edges = {
        name: {fallback for _, fallback in _fallbacks("", model, findings) if fallback in models and fallback != name}
        for name, model in models.items()
    }
    while circle := _circle(edges):
        order = list(models)
        first = min(range(len(circle)), key=lambda index: order.index(circle[index]))
        circle = circle[first:] + circle[:first]
        findings.error(
            below(below("models", circle[0]), "fallbacks"),
            f"fall back in a circle: {' → '.join([*circle, circle[0]])}",
            suggestion="let the last of them fall back to nothing",
        )
        edges[circle[-1]].discard(circle[0])


def _circle(edges: Mapping[str, set[str]]) -> list[str]:
    """Return the names of a circle, each falling back to the next, or nothing."""
    try:
        graphlib.TopologicalSorter(edges).prepare()
    except graphlib.CycleError as error:
        backward: list[str] = error.args[1]
        return backward[:0:-1]
    return []


def _check_timeouts(findings: Findings, path: str, *, name: str) -> None:
    clocks = findings.settings.timeouts_for(model=name)
    for field, value in (("connect_s", clocks.connect_s), ("first_token_s", clocks.first_token_s)):
        where = below(below(path, "timeouts"), field)
        if findings.is_set(where) and value > clocks.total_s:
            findings.warn(where, f"is never reached: the whole call ends after {clocks.total_s:g} s")


def _check_transform(findings: Findings, path: str, model: ModelSettings) -> None:
    transform, where = model.transform, below(path, "transform")
    for kind, fields in (("set", transform.set), ("default", transform.default), ("drop", transform.drop)):
        for field in fields:
            if field in _OWN_FIELDS:
                findings.error(below(where, kind), f"`{field}` is what the gateway itself reads and writes")
    _check_forms(findings, below(where, "set"), transform.set)
    _check_forms(findings, below(where, "default"), transform.default)
    for field in transform.default:
        if field in transform.set:
            findings.warn(below(where, "default"), f"`{field}` has no effect: `set` writes it in any case")
    for field in transform.drop:
        if field in transform.set:
            findings.warn(below(where, "drop"), f"`{field}` has no effect: `set` writes it again")


def _check_forms(findings: Findings, where: str, fields: Mapping[str, Any]) -> None:
    for field, value in fields.items():
        if field not in _OWN_FIELDS and not _is_readable(field, value):
            findings.error(below(where, field), "has a form that chat completions do not have")


def _is_readable(field: str, value: Any) -> bool:
    """Whether a field can be said to providers of every kind, which read it as chat completions say it."""
    try:
        parse_chat({"model": "", "messages": [], field: value})
    except (AttributeError, KeyError, TypeError, ValueError):
        return False
    return True


def _check_price(findings: Findings, path: str, model: ModelSettings) -> None:
    where = below(path, "price")
    if model.price is None:
        _check_priced(findings, path, model)
    elif model.price == PriceSettings():
        findings.error(where, "gives no price", suggestion='such as {input: "0.15", output: "0.60"}')
    elif model.price.input_nusd is None and model.price.image_nusd is None and model.price.audio_input_nusd is None:
        findings.error(below(where, "input"), "is required", suggestion='write "0" if input is free')
    elif model.price.input_nusd and model.price.output_nusd is None:
        findings.warn(where, "has no `output`, so that output is free", suggestion='write output: "0" if that is meant')


def _check_priced(findings: Findings, path: str, model: ModelSettings) -> None:
    settings, is_priced = findings.settings, findings.is_priced
    if settings.budget is None or is_priced is None:
        return
    for target in model.targets:
        provider = settings.providers.get(target.provider)
        if provider is not None and not is_priced(provider.adapter, target.model):
            findings.warn(
                path,
                f"{shown(target.model)} has no known price, so that the budget refuses it with a 402",
                suggestion="give the model a `price`",
            )


def _check_ensemble(findings: Findings, path: str, ensemble: EnsembleSettings) -> None:
    for index, member in enumerate(ensemble.members):
        _check_model_name(findings, f"{below(path, 'members')}[{index}]", member)
    _check_model_name(findings, below(path, "judge"), ensemble.judge)
    _check_model_name(findings, below(path, "fuser"), ensemble.fuser)
    _check_strategy(findings, below(path, "strategy"), ensemble.strategy)
    needed = _NEEDS.get(ensemble.strategy, ())
    if needed and all(getattr(ensemble, field) is None for field in needed):
        findings.error(below(path, needed[0]), f"is required by the strategy `{ensemble.strategy}`")
    for field, strategies in _USED_BY.items():
        if ensemble.strategy not in _BUILT_IN:
            break
        if getattr(ensemble, field) is not None and ensemble.strategy not in strategies:
            findings.warn(below(path, field), f"has no effect with the strategy `{ensemble.strategy}`")
    _check_counts(findings, path, ensemble)


def _check_strategy(findings: Findings, path: str, name: str) -> None:
    if name in _BUILT_IN:
        return
    known = [*sorted(_BUILT_IN), *sorted(point.name for point in entry_points(group=_PUBLISHED))]
    if name not in known:
        findings.error(path, f"must be {one_of(known)}, not {shown(name)}", suggestion=did_you_mean(name, known))


def _check_counts(findings: Findings, path: str, ensemble: EnsembleSettings) -> None:
    count, width = len(ensemble.members), findings.settings.limits.fanout_width
    if count > width:
        findings.error(below(path, "members"), f"has {count} members; `limits.fanout_width` allows {width}")
    for field, wanted in (("min_success", ensemble.min_success), ("quorum", ensemble.quorum)):
        if wanted is not None and wanted > count:
            findings.error(below(path, field), f"can never be reached by {count} members")
    strategy, counting = ensemble.strategy, one_of(COUNTING_STRATEGIES)
    if not waits_for(strategy, min_success=ensemble.min_success, quorum=ensemble.quorum):
        findings.error(below(path, "min_success"), f"may be more than 1 with {counting} only, not with `{strategy}`")
