"""What one fan-out is asked to do: read from a request's `fanout` object, or from an ensemble of the file.

Law: strict. A field that is unknown, of the wrong kind or missing for the strategy is named.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, get_args

import msgspec

from app.fanout.checks import Check, read_check
from app.fanout.extensions import SCORERS, STRATEGIES, Extensions
from app.kernel.errors import InvalidRequest
from app.kernel.money import parse_usd
from app.settings.policy import COUNTING_STRATEGIES, EnsembleSettings, Normalize, Strategy, waits_for

STRATEGY_NAMES: Final[tuple[str, ...]] = get_args(Strategy)
MOST_LEGS: Final = 8
_MOST_NAME: Final = 256
_MOST_RUBRIC: Final = 16_384
_MOST_S: Final = 86_400
_SHOWN: Final = 64


class FanoutSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A fan-out over `models`, one leg each, in this order.

    `quorum` is how many equal answers decide; for `best_of` and `mixture` how many answers are enough to go on
    with, all if absent. `min_success` is how many must be there for `best_of`, `mixture` and `compare`; the other
    strategies of ours take 1 only, and those of other packages do with it what they like. `normalize` says which
    answers are equal. `after_s` is how long `hedge` waits for each leg, whatever its history. `min_logprob` is the
    least mean log-probability that `cascade` takes. `scorer` names a registered scorer that `best_of` uses instead
    of a judge.
    """

    strategy: str
    models: tuple[str, ...]
    judge: str | None = None
    fuser: str | None = None
    rubric: str | None = None
    check: Check | None = None
    quorum: int | None = None
    min_success: int = 1
    deadline_s: float | None = None
    max_cost_nusd: int | None = None
    return_candidates: bool = False
    normalize: Normalize = "text"
    after_s: float | None = None
    min_logprob: float | None = None
    scorer: str | None = None


def read_fanout(
    given: Any, *, width: int = MOST_LEGS, label: str = "fanout", extensions: Extensions | None = None
) -> FanoutSpec:
    """Return what a request's `fanout` object asks for; a field that is null is absent.

    `width` is how many legs the caller may have. Raises `InvalidRequest` that names the field.
    """
    if not isinstance(given, dict):
        raise InvalidRequest(f"{label} must be an object", param=label)
    fields: dict[str, Any] = {}
    for name, value in given.items():
        path = f"{label}.{name[:_SHOWN]}"
        if name not in _FIELDS:
            raise InvalidRequest(f"{path} is not a field of {label}", code="unknown_parameter", param=path)
        if value is not None:
            fields[name] = _read_field(name, value, path)
    for name in ("models", "strategy"):
        if name not in fields:
            raise _fault(f"{label}.{name}", "is required")
    if "check" in fields:
        fields["check"] = read_check(fields["check"], label=f"{label}.check")
    if "max_cost" in fields:
        fields["max_cost_nusd"] = fields.pop("max_cost")
    return _checked(FanoutSpec(**fields), width=width, label=label, extensions=extensions)


def spec_of(
    ensemble: EnsembleSettings, *, label: str, width: int = MOST_LEGS, extensions: Extensions | None = None
) -> FanoutSpec:
    """Return what an ensemble asks for; `label` is its path in the file, such as `ensembles.careful`.

    Raises `InvalidRequest` that names the field.
    """
    spec = FanoutSpec(
        strategy=ensemble.strategy,
        models=ensemble.members,
        judge=ensemble.judge,
        fuser=ensemble.fuser,
        rubric=ensemble.rubric,
        check=None if ensemble.check is None else read_check(ensemble.check, label=f"{label}.check"),
        quorum=ensemble.quorum,
        min_success=ensemble.min_success,
        deadline_s=ensemble.deadline_s,
        max_cost_nusd=ensemble.max_cost_nusd,
        return_candidates=ensemble.return_candidates,
        normalize=ensemble.normalize,
        after_s=ensemble.after_s,
        min_logprob=ensemble.min_logprob,
        scorer=ensemble.scorer,
    )
    return _checked(spec, width=width, label=label, models="members", extensions=extensions)


def _fault(path: str, want: str) -> InvalidRequest:
    return InvalidRequest(f"{path} {want}", param=path)


def _read_field(name: str, value: Any, path: str) -> Any:
    if name == "max_cost":
        try:
            return parse_usd(value)
        except ValueError as error:
            raise InvalidRequest(f"{path}: {error}", param=path) from None
    is_right, want = _FIELDS[name]
    if not is_right(value):
        raise _fault(path, f"must be {want}")
    return tuple(value) if isinstance(value, list) else value


def _checked(
    spec: FanoutSpec, *, width: int, label: str, extensions: Extensions | None, models: str = "models"
) -> FanoutSpec:
    """Return the spec. Raises `InvalidRequest` where its fields do not agree."""
    legs = len(spec.models)
    if legs > width:
        raise _fault(f"{label}.{models}", f"may name at most {width} models")
    _check_known(spec, label=label, extensions=extensions)
    needed = _NEEDS.get(spec.strategy, ())
    if needed and all(getattr(spec, name) is None for name in needed):
        raise _fault(f"{label}.{needed[0]}", f"is required by the strategy {spec.strategy}")
    for name in ("min_success", "quorum"):
        if (getattr(spec, name) or 0) > legs:
            raise _fault(f"{label}.{name}", f"can never be reached by {legs} models")
    if not waits_for(spec.strategy, min_success=spec.min_success, quorum=spec.quorum):
        used_by = ", ".join(COUNTING_STRATEGIES)
        raise _fault(f"{label}.min_success", f"may be more than 1 with {used_by} only, not with {spec.strategy}")
    return spec


def _check_known(spec: FanoutSpec, *, label: str, extensions: Extensions | None) -> None:
    """Raise `InvalidRequest` for a strategy or a scorer that nobody publishes."""
    if spec.strategy not in STRATEGY_NAMES:
        published = (extensions or Extensions()).names(STRATEGIES)
        _demand(spec.strategy, [*STRATEGY_NAMES, *published], f"{label}.strategy")
    if spec.scorer is not None:
        _demand(spec.scorer, (extensions or Extensions()).names(SCORERS), f"{label}.scorer")


def _demand(name: str, known: Collection[str], path: str) -> None:
    if name not in known:
        raise _fault(path, f"must be one of {', '.join(known)}" if known else "names a scorer, and none is installed")


def _is_text(most: int) -> Callable[[Any], bool]:
    def is_text(value: Any) -> bool:
        return isinstance(value, str) and 0 < len(value) <= most

    return is_text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and 0 < value <= _MOST_S


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text(_MOST_NAME), value))


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_logprob(value: Any) -> bool:
    return _is_number(value) and value <= 0


def _is_normalize(value: Any) -> bool:
    return isinstance(value, str) and value in get_args(Normalize)


_NAME: Final = (_is_text(_MOST_NAME), f"text of at most {_MOST_NAME} characters")
_SECONDS: Final = (_is_seconds, f"a number of seconds, more than 0 and at most {_MOST_S}")
_COUNT: Final = (_is_count, "a whole number, at least 1")
_FIELDS: Final[Mapping[str, tuple[Callable[[Any], bool], str]]] = {
    "strategy": _NAME,
    "models": (_is_names, "a list of model names"),
    "judge": _NAME,
    "fuser": _NAME,
    "rubric": (_is_text(_MOST_RUBRIC), f"text of at most {_MOST_RUBRIC} characters"),
    "check": (_is_object, "an object"),
    "quorum": _COUNT,
    "min_success": _COUNT,
    "deadline_s": _SECONDS,
    "max_cost": (_is_text(_SHOWN), "a decimal string of USD"),
    "return_candidates": (_is_flag, "true or false"),
    "normalize": (_is_normalize, "one of " + ", ".join(get_args(Normalize))),
    "after_s": _SECONDS,
    "min_logprob": (_is_logprob, "a number, at most 0"),
    "scorer": _NAME,
}
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "best_of": ("judge", "scorer"),
    "first_valid": ("check",),
    "mixture": ("fuser",),
    "quorum": ("quorum",),
}
"""What a strategy cannot do without: at least one of these."""
