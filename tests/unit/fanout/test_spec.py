"""What a request or an ensemble asks of a fan-out."""

import pytest

from app.fanout.spec import STRATEGY_NAMES, FanoutSpec, read_fanout, spec_of
from app.kernel.errors import InvalidRequest
from app.settings.policy import EnsembleSettings

NEEDED = {
    "best_of": {"judge": "j"},
    "first_valid": {"check": {"regex": "x"}},
    "mixture": {"fuser": "f"},
    "quorum": {"quorum": 2},
}


def test_every_field_is_read():
    given = {
        "strategy": "best_of",
        "models": ["a", "b", "b"],
        "judge": "j",
        "fuser": "f",
        "rubric": "short",
        "check": None,
        "quorum": 2,
        "min_success": 3,
        "deadline_s": 20,
        "max_cost": "0.05",
        "return_candidates": True,
        "normalize": "json",
        "after_s": 0.5,
        "min_logprob": -1,
        "scorer": None,
    }
    assert read_fanout(given) == FanoutSpec(
        strategy="best_of",
        models=("a", "b", "b"),
        judge="j",
        fuser="f",
        rubric="short",
        quorum=2,
        min_success=3,
        deadline_s=20,
        max_cost_nusd=50_000_000,
        return_candidates=True,
        normalize="json",
        after_s=0.5,
        min_logprob=-1,
    )


@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
def test_every_strategy_needs_little(strategy):
    given = {"strategy": strategy, "models": ["a", "b"]}
    assert read_fanout(given | NEEDED.get(strategy, {})).strategy == strategy
    if strategy in NEEDED:
        with pytest.raises(InvalidRequest) as caught:
            read_fanout(given)
        assert caught.value.param == f"fanout.{next(iter(NEEDED[strategy]))}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("strategy", "fastest"),
        ("strategy", 1),
        ("strategy", ""),
        ("models", []),
        ("models", "a"),
        ("models", [1]),
        ("models", [""]),
        ("models", ["a" * 300]),
        ("models", ["a"] * 9),
        ("judge", ["j"]),
        ("fuser", 1),
        ("rubric", "x" * 20_000),
        ("check", "x"),
        ("quorum", 0),
        ("quorum", 1.0),
        ("quorum", True),
        ("quorum", 3),
        ("min_success", 0),
        ("min_success", "1"),
        ("min_success", 3),
        ("deadline_s", 0),
        ("deadline_s", True),
        ("deadline_s", "20"),
        ("deadline_s", 90_000),
        ("max_cost", 0.05),
        ("max_cost", "five"),
        ("return_candidates", 1),
        ("normalize", "words"),
        ("normalize", ["json"]),
        ("after_s", -1),
        ("min_logprob", 0.5),
        ("scorer", "unknown"),
    ],
)
def test_a_field_of_the_wrong_kind_is_named(field, value):
    with pytest.raises(InvalidRequest) as caught:
        read_fanout({"strategy": "race", "models": ["a", "b"], field: value})
    assert caught.value.param == f"fanout.{field}"


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ([], "fanout"),
        ({}, "fanout.models"),
        ({"models": ["a"]}, "fanout.strategy"),
        ({"strategy": "race"}, "fanout.models"),
        ({"strategy": "race", "models": ["a"], "weights": [1]}, "fanout.weights"),
        ({"strategy": "first_valid", "models": ["a"], "check": {"regex": "("}}, "fanout.check.regex"),
        ({"strategy": "first_valid", "models": ["a"], "check": {"rejex": "x"}}, "fanout.check.rejex"),
    ],
)
def test_what_is_missing_or_unknown_is_named(given, param):
    with pytest.raises(InvalidRequest) as caught:
        read_fanout(given)
    assert caught.value.param == param


@pytest.mark.parametrize("strategy", STRATEGY_NAMES)
def test_answers_that_a_strategy_does_not_wait_for_cannot_be_asked_for(strategy):
    given = {"strategy": strategy, "models": ["a", "b"], "min_success": 2} | NEEDED.get(strategy, {})
    assert read_fanout(given | {"min_success": 1}).min_success == 1
    if strategy in {"best_of", "mixture", "compare", "quorum"}:
        assert read_fanout(given).min_success == 2
    else:
        with pytest.raises(InvalidRequest, match=f"not with {strategy}") as caught:
            read_fanout(given)
        assert caught.value.param == "fanout.min_success"


def test_a_quorum_is_as_many_answers():
    given = {"strategy": "quorum", "models": ["a", "b", "c"], "quorum": 2}
    assert read_fanout(given | {"min_success": 2}).min_success == 2
    with pytest.raises(InvalidRequest, match="not with quorum"):
        read_fanout(given | {"min_success": 3})


def test_a_key_may_have_fewer_legs():
    with pytest.raises(InvalidRequest, match="at most 2 models"):
        read_fanout({"strategy": "race", "models": ["a", "b", "c"]}, width=2)


def test_an_ensemble_asks_for_the_same():
    ensemble = EnsembleSettings(strategy="first_valid", members=("a", "b"), check={"regex": "x"}, deadline_s=30.0)
    spec = spec_of(ensemble, label="ensembles.careful")
    assert (spec.models, spec.strategy, spec.deadline_s) == (("a", "b"), "first_valid", 30.0)
    assert spec.check is not None
    unsure = EnsembleSettings(strategy="cascade", members=("a", "b"), min_logprob=-0.5, after_s=2.0, normalize="number")
    spec = spec_of(unsure, label="ensembles.frugal")
    assert (spec.min_logprob, spec.after_s, spec.normalize, spec.quorum) == (-0.5, 2.0, "number", None)


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"members": ("a",) * 9}, "members"), ({"check": {"regex": "("}}, "check.regex"), ({"quorum": 3}, "quorum")],
)
def test_a_fault_of_an_ensemble_has_its_path(fields, param):
    with pytest.raises(InvalidRequest) as caught:
        spec_of(EnsembleSettings(**{"strategy": "race", "members": ("a", "b"), **fields}), label="ensembles.e")
    assert caught.value.param == f"ensembles.e.{param}"
