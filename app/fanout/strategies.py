"""Which strategy a fan-out follows. Law: one object for one request; other packages' strategies are guarded."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from app.fanout.cascading import Cascade
from app.fanout.extensions import SCORERS, STRATEGIES, BrokenExtension, Extensions
from app.fanout.gathering import BestOf, Compare, Mixture
from app.fanout.published import Published
from app.fanout.racing import UNKNOWN_PATIENCE_NS, Hedge, Race
from app.fanout.spec import FanoutSpec
from app.fanout.strategy import Strategy
from app.fanout.voting import FirstValid, Quorum
from app.kernel.errors import InternalError, InvalidRequest

_NS_PER_S: Final = 1_000_000_000


def strategy_of(
    spec: FanoutSpec,
    *,
    patience_ns: Sequence[int | None],
    question: str = "",
    extensions: Extensions | None = None,
) -> Strategy:
    """Return the strategy of one fan-out.

    `patience_ns` is how long each leg usually takes to its first token at the most (the 95th percentile), where that is
    known. `question` is what a registered scorer is told was asked. Raises `InvalidRequest` for a name that nobody
    publishes, and `InternalError` for a package that cannot be loaded.
    """
    made = _BUILT_IN.get(spec.strategy)
    if made is not None:
        return made(_Making(spec, patience_ns, question, extensions or Extensions()))
    make = _loaded(extensions or Extensions(), STRATEGIES, spec.strategy, "strategy")
    try:
        return Published(make(spec), spec=spec)
    except Exception as error:
        raise InternalError(f"the strategy {spec.strategy!r} cannot be made") from error


class _Making(NamedTuple):
    """What strategies are made of."""

    spec: FanoutSpec
    patience_ns: Sequence[int | None]
    question: str
    extensions: Extensions


def _loaded(extensions: Extensions, group: str, name: str, field: str) -> Callable[..., Any]:
    try:
        return extensions.load(group, name)
    except LookupError:
        known = ", ".join(extensions.names(group)) or "none"
        message = f"fanout.{field}: there is no {name!r}; installed: {known}"
        raise InvalidRequest(message, param=f"fanout.{field}") from None
    except BrokenExtension as error:
        raise InternalError(f"the {field} {error}") from error


def _race(making: _Making) -> Strategy:
    del making
    return Race()


def _hedge(making: _Making) -> Strategy:
    spec = making.spec
    if spec.after_s is not None:
        return Hedge([round(spec.after_s * _NS_PER_S)] * len(spec.models))
    known = [*making.patience_ns, *[None] * len(spec.models)]
    return Hedge([known[at] or UNKNOWN_PATIENCE_NS for at in range(len(spec.models))])


def _first_valid(making: _Making) -> Strategy:
    if making.spec.check is None:
        raise _missing("check")
    return FirstValid(making.spec.check)


def _quorum(making: _Making) -> Strategy:
    if making.spec.quorum is None:
        raise _missing("quorum")
    return Quorum(making.spec.quorum, normalize=making.spec.normalize)


def _best_of(making: _Making) -> Strategy:
    spec = making.spec
    scorer = None if spec.scorer is None else _loaded(making.extensions, SCORERS, spec.scorer, "scorer")
    if scorer is None and spec.judge is None:
        raise _missing("judge")
    return BestOf(min_success=spec.min_success, enough=spec.quorum, scorer=scorer, question=making.question)


def _mixture(making: _Making) -> Strategy:
    if making.spec.fuser is None:
        raise _missing("fuser")
    return Mixture(min_success=making.spec.min_success, enough=making.spec.quorum)


def _cascade(making: _Making) -> Strategy:
    spec = making.spec
    return Cascade(legs=len(spec.models), check=spec.check, min_logprob=spec.min_logprob)


def _compare(making: _Making) -> Strategy:
    return Compare(min_success=making.spec.min_success)


def _missing(field: str) -> InvalidRequest:
    return InvalidRequest(f"fanout.{field} is required by this strategy", param=f"fanout.{field}")


_BUILT_IN: Final[Mapping[str, Callable[[_Making], Strategy]]] = {
    "race": _race,
    "hedge": _hedge,
    "first_valid": _first_valid,
    "quorum": _quorum,
    "best_of": _best_of,
    "mixture": _mixture,
    "cascade": _cascade,
    "compare": _compare,
}
