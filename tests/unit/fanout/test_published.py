"""Strategies and scorers of other packages: found, followed, and kept from doing harm."""

import importlib
import sys
import textwrap

import msgspec
import pytest
from scripted_legs import BEHAVIOURS, Run, answer

from app.fanout.extensions import SCORERS, STRATEGIES, Extensions
from app.fanout.moves import Fail, Fuse, Give, Join, Judge, Stream, Wait
from app.fanout.published import Published
from app.fanout.spec import read_fanout, spec_of
from app.fanout.strategies import strategy_of
from app.kernel.errors import InternalError, InvalidRequest
from app.settings import SettingsError, load

SOURCE = """
    from app.fanout.moves import Give, Wait

    class Last:
        needs_whole = True

        def __init__(self, spec):
            self.count = len(spec.models)

        def next(self, legs, *, now_ns, is_overdue):
            if legs[-1].status == "done":
                return Give(index=self.count - 1)
            return Wait(start=tuple(leg.index for leg in legs if leg.status == "idle"))

        def verdict(self, legs, ranking):
            return Give(index=0)

    def refuse(spec):
        raise ValueError("no")

    def longest(question, answers):
        return [len(question + answer) for answer in answers]
"""


class NoOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An adapter without options."""


@pytest.fixture
def acme(tmp_path, monkeypatch):
    """A package that publishes strategies and scorers."""
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "acme_fanout.py").write_text(textwrap.dedent(SOURCE), encoding="utf-8")
    info = tmp_path / "acme_fanout-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme_fanout\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        f"[{STRATEGIES}]\nlast = acme_fanout:Last\ngone = acme_fanout:Gone\nrefuse = acme_fanout:refuse\n"
        f"[{SCORERS}]\nlongest = acme_fanout:longest\nnumber = acme_fanout:__doc__\n",
        encoding="utf-8",
    )
    importlib.invalidate_caches()
    yield Extensions()
    sys.modules.pop("acme_fanout", None)


def made(extensions, fields, behaviours="fast other slow", **kwargs):
    names = behaviours.split()
    spec = read_fanout({"models": names, **fields}, extensions=extensions)
    strategy = strategy_of(spec, patience_ns=(), question="why? ", extensions=extensions)
    run = Run(strategy, [BEHAVIOURS[name] for name in names], **kwargs)
    run()
    return run


def test_a_published_strategy_is_loaded_when_it_is_named(acme):
    assert acme.names(STRATEGIES) == ["gone", "last", "refuse"]
    assert "acme_fanout" not in sys.modules
    assert made(acme, {"strategy": "last"}).told == ["0 wait+0+1+2", "200 wait", "3000 give 2"]


FILE = """
providers: {p: {adapter: echo}}
models: {m: {targets: [{provider: p, model: echo}]}}
ensembles: {e: {strategy: NAME, members: [m, m]}}
"""


def test_an_ensemble_of_the_file_may_name_a_published_strategy(acme, tmp_path):
    def loaded(name):
        (tmp_path / "gateway.yaml").write_text(FILE.replace("NAME", name), encoding="utf-8")
        return load(tmp_path / "gateway.yaml", environ={}, adapter_options={"echo": NoOptions}.get)

    ensemble = loaded("last").ensembles["e"]
    assert spec_of(ensemble, label="ensembles.e", extensions=acme).strategy == "last"
    with pytest.raises(SettingsError, match="`gone`, `last` or `refuse`"):
        loaded("lost")


def test_an_absent_strategy_is_told_with_those_there_are(acme):
    with pytest.raises(InvalidRequest, match=r"must be one of race, .*, gone, last, refuse") as caught:
        made(acme, {"strategy": "first"})
    assert caught.value.param == "fanout.strategy"


@pytest.mark.parametrize("name", ["gone", "refuse"])
def test_a_package_that_cannot_be_loaded_is_our_fault_and_not_the_caller_s(acme, name):
    with pytest.raises(InternalError, match=name):
        made(acme, {"strategy": name})


def test_a_registered_scorer_judges(acme):
    run = made(acme, {"strategy": "best_of", "scorer": "longest"}, "fast invalid early_error")
    assert run.moves[-1] == Give(index=1, scores=(13.0, 23.0, None), ranking=(1, 0))


def test_an_absent_scorer_is_named(acme):
    with pytest.raises(InvalidRequest, match="longest, number") as caught:
        made(acme, {"strategy": "best_of", "scorer": "shortest"})
    assert caught.value.param == "fanout.scorer"
    with pytest.raises(InternalError, match="cannot be called"):
        made(acme, {"strategy": "best_of", "scorer": "number"})


def fail(question, answers):
    raise OSError("down")


@pytest.mark.parametrize(
    "scorer",
    [
        fail,
        lambda question, answers: None,
        lambda question, answers: [1.0],
        lambda question, answers: [float("nan")] * 3,
        lambda question, answers: ["best", "good", "bad"],
        lambda question, answers: [10**400] * 3,
    ],
)
def test_a_scorer_that_fails_leaves_the_first_in_order(acme, scorer, monkeypatch):
    monkeypatch.setattr(Extensions, "load", lambda self, group, name: scorer)
    assert made(acme, {"strategy": "best_of", "scorer": "longest"}).moves[-1] == Give(index=0, reason="scorer_failed")


class Scripted:
    """A strategy that makes one move again and again once leg 0 has ended."""

    needs_whole = True

    def __init__(self, move, *, verdict=None):
        self.move = move
        self.last = verdict

    def next(self, legs, *, now_ns, is_overdue):
        if legs[0].status in {"done", "failed"}:
            return self.move() if callable(self.move) else self.move
        return Wait(start=tuple(leg.index for leg in legs if leg.status == "idle"))

    def verdict(self, legs, ranking):
        return self.last


def ended(strategy, behaviours="fast hang", **fields):
    names = behaviours.split()
    spec = read_fanout({"models": names, "strategy": "race", **fields})
    run = Run(Published(strategy, spec=spec), [BEHAVIOURS[name] for name in names])
    return run()


def explode():
    raise KeyError("oops")


DEFECTS = [
    explode,
    None,
    "give 0",
    Give(index=1),
    Give(index=2),
    Give(index=-1),
    Stream(index=1),
    Judge(indexes=(0,)),
    Fuse(indexes=(0,)),
    Join(indexes=()),
    Join(indexes=(0, 0)),
    Join(indexes=(0, 1)),
    Wait(start=(0,)),
    Wait(start=(9,)),
]


@pytest.mark.parametrize("move", DEFECTS)
def test_a_defect_ends_a_strategy_s_say(move):
    assert ended(Scripted(move)) == Give(index=0, reason="strategy_failed")


@pytest.mark.parametrize("move", DEFECTS)
def test_a_defect_with_no_answer_is_a_failure(move):
    assert ended(Scripted(move), "early_error hang") == Fail(
        code="strategy_failed", message="The strategy race failed."
    )


@pytest.mark.parametrize("move", [Wait(), Wait(until_ns=0)])
def test_a_wait_that_nothing_ends_is_a_defect(move):
    assert ended(Scripted(move), "fast early_error") == Give(index=0, reason="strategy_failed")
    assert ended(Scripted(Wait()), "fast hang") == Give(index=0, reason="strategy_failed")


@pytest.mark.parametrize("verdict", [None, Wait(), Judge(indexes=(0,)), Fuse(indexes=(0,)), Give(index=1)])
def test_a_verdict_is_the_last_word(verdict):
    strategy = Scripted(Judge(indexes=(0,)), verdict=verdict)
    assert ended(strategy, judge="j") == Give(index=0, reason="strategy_failed")


def test_what_a_strategy_may_do_it_does():
    assert ended(Scripted(Judge(indexes=(0,)), verdict=Give(index=0)), judge="j") == Give(index=0)
    assert ended(Scripted(Fail(code="no_valid_answer", message="no"))).code == "no_valid_answer"
    assert ended(Scripted(Join(indexes=(0,)))) == Join(indexes=(0,))


def test_an_answer_is_shown_to_a_scorer_with_its_calls(acme, monkeypatch):
    seen = []
    monkeypatch.setattr(Extensions, "load", lambda self, group, name: lambda question, answers: seen.extend(answers))
    monkeypatch.setitem(BEHAVIOURS, "calls", BEHAVIOURS["fast"]._replace(completion=answer("", calls=[("find", "{}")])))
    made(acme, {"strategy": "best_of", "scorer": "longest"}, "fast calls")
    assert seen == ['{"n": 1}', "find({})"]
